"""A run knows itself: what it writes, and what evaluations and resumes make of it."""

import hashlib
import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser, ConfigWorkflow
from PIL import Image
from same import same

from monai_ima.data import load_datalist, load_plane, write_synthetic_oct
from monai_ima.errors import RejectedError
from monai_ima.evaluate_run import evaluate_run
from monai_ima.handlers.run_record import read_record
from monai_ima.networks.sealed_file import writing_run

ROOT = Path(__file__).resolve().parents[2]
OCT = ROOT / "bundles" / "oct_ima"
NETWORK = {"_target_": "monai_ima.networks.small_cnn", "in_channels": 1, "num_classes": 4}
MOONS = ROOT / "bundles" / "moons_ima"
ANY = ROOT / "bundles" / "robustness_evaluation" / "evaluate.json"
PATIENT = r"^[^-]+-(?P<patient>[^-]+)-"
QUICK = {"attack_steps": 1, "margin_steps": 1, "eval_steps": 1, "protocol": "screen"}
POINTS = QUICK | {
    "training_samples": 20,
    "batch_size": 5,
    "margin_interval": 1,
    "plane": None,
    "max_epochs": 3,
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def as_a_command(monkeypatch):
    monkeypatch.chdir(ROOT)


def workflow(*configs, **settings):
    started = ConfigWorkflow([str(path) for path in configs], logging_file=False, **settings)
    started.initialize()
    return started


def run(*configs, **settings):
    workflow(*configs, **settings).run()


def refused(*configs, **settings):
    """What is said of settings, when a workflow starts or runs."""
    with pytest.raises(Exception) as error:  # noqa: PT011  MONAI's, of which the cause is looked at
        run(*configs, **settings)
    cause = error.value
    while cause.__cause__ is not None and not isinstance(cause, ValueError):
        cause = cause.__cause__
    assert isinstance(cause, ValueError), cause
    return str(cause)


def tree(folder):
    """All files but the lock, which this process has until it ends."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder): path.read_bytes() for path in files}


def load(path):
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "oct"
    return write_synthetic_oct(folder, patients_per_class=3, images_per_patient=2, seed=0)


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    """A run of the OCT bundle, and the settings that a user gave."""
    folder = tmp_path_factory.mktemp("run") / "oct"
    settings = QUICK | {
        "dataset_dir": str(images),
        "output_dir": str(folder),
        "image_size": [32, 32],
        "max_epochs": 1,
        "seed": 3,
        "device": "cpu",
    }
    run(OCT / "train.json", **settings)
    return folder, settings


# --- what a run writes ----------------------------------------------------------------------------


def test_a_run_says_with_what_it_trains_and_on_what(trained, images):
    folder, _ = trained
    record = read_record(folder)
    data = load_datalist(
        images, num_classes=4, patient_pattern=PATIENT, fractions=[0.7, 0.15, 0.15], seed=3
    )

    assert record.classes == ["CNV", "DME", "DRUSEN", "NORMAL"]
    for name in ("training", "validation", "test"):
        items, section = getattr(data, name), record.sections[name]
        assert section.ids == [item["id"] for item in items]
        assert section.patients == [item["patient"] for item in items]
        assert section.contents == [
            hashlib.blake2b(Path(item["image"]).read_bytes(), digest_size=8).hexdigest()
            for item in items
        ]
    assert record.is_split_by_patient
    assert record.versions["torch"] == str(torch.__version__)
    assert (record.settings["seed"], record.settings["image_size"]) == (3, [32, 32])
    assert record.settings["delta"] == 0.02
    assert record.parts["network_def"] == {
        "_target_": "monai_ima.networks.small_cnn",
        "in_channels": 1,
        "num_classes": 4,
    }
    assert record.parts["optimizer"]["lr"] == 0.004
    assert record.parts["objective"]["margins"]["num_samples"] == len(data.training)
    assert record.parts["preprocessing"]["transforms"][2]["spatial_size"] == [32, 32]
    assert record.parts["bounds"] == [0, 1]


def test_its_config_is_the_effective_one_as_monai_reads_it(trained):
    folder, settings = trained
    own = ConfigParser.load_config_file(folder / "config.json")
    bundle = ConfigParser.load_config_file(OCT / "train.json")

    assert {name: own[name] for name in settings} == settings
    kept = bundle.keys() - settings.keys()
    assert {name: own[name] for name in kept} == {name: bundle[name] for name in kept}
    assert own["imports"] == ["$import monai_ima", "$import torch"]
    assert own["delta"] == "$@eps_max * min(1, @margin_interval / @max_epochs)"
    for name in ("logging.conf", "metadata.json"):
        assert (folder / name).read_bytes() == (OCT / name).read_bytes()


def test_a_run_is_evaluated_from_any_folder_with_nothing_but_its_config(
    trained, tmp_path, monkeypatch
):
    folder, settings = trained
    quick = {"check_samples": 0, "noise_draws": 1, "auroc_steps": 1}
    quick |= {"evaluation_levels": {"linf": [0.01]}, "eval_steps": 1, "protocol": "screen"}
    other = {"evaluation_dir": str(tmp_path / "given")}
    run(OCT / "train.json", OCT / "evaluate.json", **settings | quick | other)
    monkeypatch.chdir(tmp_path)
    run(folder / "config.json", OCT / "evaluate.json", **quick)

    for name in ("robustness.json", "samples.csv"):
        own = (folder / "evaluation" / name).read_bytes()
        assert own == (tmp_path / "given" / name).read_bytes()
    assert json.loads((folder / "evaluation" / "robustness.json").read_text())["n"] == len(
        read_record(folder).sections["test"].ids
    )


def test_a_new_run_moves_the_record_aside(tmp_path):
    for seed in (0, 1):
        run(MOONS / "train.json", **POINTS | {"max_epochs": 1}, seed=seed, output_dir=str(tmp_path))
    assert read_record(tmp_path / "previous-1").settings["seed"] == 0
    assert read_record(tmp_path).settings["seed"] == 1
    assert (tmp_path / "previous-1" / "config.json").exists()


def test_levels_beyond_the_bounds_are_refused_before_anything_is_touched(trained, images):
    folder, settings = trained
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    said = refused(OCT / "train.json", **settings | {"noise_levels": [0, 0.5, 2]})
    assert "got the level 2 (linf) where 1 reaches every valid input" in said
    far = {"norm": "l2", "eps_max": 0.5, "noise_levels": [0, 1, 33]}  # 32 crosses 32 x 32 pixels
    assert "got the level 33 where a noise of 32 (l2)" in refused(
        OCT / "train.json", **settings | far
    )
    assert {path: path.read_bytes() for path in folder.glob("*.*")} == before


# --- evaluation -----------------------------------------------------------------------------------


OWN = "take those of the run: python -m monai.bundle run --config_file \"['{}/config.json','bundles/oct_ima/evaluate.json']\""
OTHERS = {
    "size": ({"image_size": [48, 48]}, "image_size#0 32, got 48; image_size#1 32, got 48"),
    "crop": ({"crop": False}, "crop True, got False"),
    "resizing": (
        {"preprocessing#transforms#2#mode": "nearest"},
        "preprocessing#transforms#2#mode 'area', got 'nearest'",
    ),
    "network": (
        {"network_def#_target_": "monai_ima.networks.resnet18_in"},
        "network_def#_target_ 'monai_ima.networks.small_cnn', got 'monai_ima.networks.resnet18_in'",
    ),
    "bounds": ({"bounds": [0, 0.9]}, "bounds#1 1.0, got 0.9"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_an_evaluation_with_other_settings_is_refused_naming_both(trained, case):
    folder, settings = trained
    change, message = OTHERS[case]
    said = refused(OCT / "train.json", OCT / "evaluate.json", **settings | change)
    assert f"expected what the network was trained with, {message}" in said
    assert OWN.format(folder) in said


def test_another_order_of_the_classes_is_refused(trained, images):
    folder, settings = trained
    said = refused(
        ANY,
        **{name: settings[name] for name in ("dataset_dir", "image_size", "device")},
        network_def=NETWORK,
        checkpoint=str(folder / "model.pt"),
        classes=["DME", "CNV", "DRUSEN", "NORMAL"],
    )
    assert "classes#0 'CNV', got 'DME'; classes#1 'DME', got 'CNV'" in said
    assert f"['{folder}/config.json','bundles/oct_ima/evaluate.json']" in said


def test_another_split_with_training_samples_in_its_test_set_is_refused(trained):
    folder, settings = trained
    training = set(read_record(folder).sections["training"].ids)
    said = refused(OCT / "train.json", OCT / "evaluate.json", **settings | {"seed": 4})
    assert "expected no training sample of this model, got " in said
    assert said.split(" got ")[1].split(",")[0] in training
    assert OWN.format(folder) in said
    assert not (folder / "evaluation" / "seed").exists()


@pytest.mark.parametrize("section", ["training", "validation"])
def test_its_own_sections_are_evaluated_on_purpose(trained, section):
    workflow(OCT / "train.json", OCT / "evaluate.json", **trained[1], section=section)


@pytest.fixture
def outside(trained, images, tmp_path):
    """Another data set than the run's, with one new image a class, and how it is evaluated."""
    folder, settings = trained
    for place, name in enumerate(("CNV", "DME", "DRUSEN", "NORMAL")):
        (tmp_path / "data" / name).mkdir(parents=True)
        image = Image.effect_noise((32, 32), 20 + place)
        image.save(tmp_path / "data" / name / f"{name}-new{place}-1.png")
    taken = {name: settings[name] for name in ("image_size", "device")}
    return tmp_path / "data", taken | {
        "dataset_dir": str(tmp_path / "data"),
        "output_dir": str(tmp_path / "evaluation"),
        "network_def": NETWORK,
        "checkpoint": str(folder / "model.pt"),
        "patient_pattern": PATIENT,
    }


def test_other_samples_are_evaluated(outside):
    workflow(ANY, **outside[1])


@pytest.mark.parametrize("section", ["training", "validation"])
def test_one_training_image_under_another_name_is_refused_by_name(
    trained, images, outside, section
):
    data, settings = outside
    id_ = read_record(trained[0]).sections[section].ids[0]
    shutil.copy(images / id_, data / "DME" / "copy-of-it.png")
    for more in ({}, {"other_data": True}):
        said = refused(ANY, **settings | more | {"patient_pattern": None})
        assert f"expected no {section} sample of this model, got DME/copy-of-it.png, whose" in said
        assert f"whose content is that of {id_}; take those of the run" in said
    assert not (data.parent / "evaluation").exists()


def test_the_name_or_the_patient_of_a_training_image_is_refused_unless_the_data_is_other(
    trained, outside
):
    data, settings = outside
    id_ = read_record(trained[0]).sections["training"].ids[0]
    _, patient, _ = Path(id_).name.split("-")
    new = next((data / "CNV").iterdir())
    for name, message in (
        (id_, f"got {id_}, which is one"),
        (
            f"CNV/CNV-{patient}-99.png",
            f"no patient of the training samples of this model, got 1, like {patient}",
        ),
    ):
        copy = shutil.copy(new, data / name)
        said = refused(ANY, **settings)
        assert message in said
        assert "add --other_data true" in said
        workflow(ANY, **settings, other_data=True)
        Path(copy).unlink()


def test_weights_beside_no_record_are_evaluated_and_the_log_says_so(trained, outside, caplog):
    weights = shutil.copy(trained[0] / "model.pt", outside[0].parent / "model.pt")
    caplog.set_level(logging.INFO)
    workflow(ANY, **outside[1] | {"checkpoint": str(weights)})
    assert f"nothing is known of what {weights} was trained on" in caplog.text


@pytest.mark.parametrize("name", ["model.pt", "model_best.pt", "kept_weights/epoch_0003.pt"])
def test_weights_of_another_run_in_its_folder_are_refused_naming_both(points, tmp_path, name):
    folders = [tmp_path / "run", tmp_path / "other"]
    for seed, folder in enumerate(folders):
        shutil.copytree(points, folder)
        settings = POINTS | {"seed": seed, "output_dir": str(folder), "keep_interval": 1}
        run(MOONS / "train.json", **settings)
    own, other = (read_record(folder).run for folder in folders)
    shutil.copy(folders[1] / name, folders[0] / name)
    for folder in folders:
        checkpoint = {"checkpoint": str(folder / name)}
        evaluated = [folder / "config.json", MOONS / "evaluate.json"]
        if folder == folders[1]:
            workflow(*evaluated, **checkpoint)
            continue
        said = refused(*evaluated, **checkpoint)
        assert f"{folder / name} to be of the run beside it, {own[:12]} ({folder}/run.json)" in said
        assert f"got weights of another run, {other[:12]}; evaluate them in the folder" in said
        assert not (folder / "evaluation").exists()


def test_weights_that_do_not_say_of_which_run_they_are_are_evaluated_with_a_warning(
    points, tmp_path, caplog
):
    folder = shutil.copytree(points, tmp_path / "run")
    evaluated = [folder / "config.json", MOONS / "evaluate.json"]
    place = {"output_dir": str(folder)}
    workflow(*evaluated, **place)
    assert "does not say" not in caplog.text
    torch.save(load(folder / "model.pt"), folder / "model.pt")
    workflow(*evaluated, **place)
    assert f"{folder}/model.pt does not say which run has written it: it is " in caplog.text


def test_a_damaged_record_is_no_missing_one(trained, outside):
    folder = outside[0].parent
    weights = shutil.copy(trained[0] / "model.pt", folder / "model.pt")
    text = (trained[0] / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"seed": 3', '"seed": 4'))
    said = refused(ANY, **outside[1] | {"checkpoint": str(weights)})
    assert "run.json to be what a run has written of itself, got a file that was changed" in said


def test_a_data_set_that_holds_an_image_twice_can_be_evaluated_with_a_warning(
    images, tmp_path, caplog
):
    folder = shutil.copytree(images, tmp_path / "oct")
    settings = {"dataset_dir": str(folder), "output_dir": str(tmp_path / "run")}
    settings |= QUICK | {"image_size": [32, 32], "max_epochs": 1, "device": "cpu"}
    data = load_datalist(
        folder, num_classes=4, patient_pattern=PATIENT, fractions=[0.7, 0.15, 0.15], seed=0
    )
    shutil.copy(data.training[0]["image"], data.test[0]["image"])
    run(OCT / "train.json", **settings)
    workflow(OCT / "train.json", OCT / "evaluate.json", **settings)
    twins = f"like {data.test[0]['id']} that of {data.training[0]['id']}: the data set holds them"
    assert "1 test samples have the content of samples" in caplog.text
    assert twins in caplog.text


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b'{"seed": 0}', b'{"bundle_root": 5}'])
def test_a_damaged_config_of_a_run_is_named(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    message = rf"expected {tmp_path}/config.json to be the config that a training has written of"
    with pytest.raises(RejectedError, match=message):
        evaluate_run(tmp_path)


def test_a_setting_within_what_the_config_does_not_have_is_named(points):
    with pytest.raises(RejectedError, match=r"no evaluaton; did you mean --evaluation#chunk_size"):
        evaluate_run(points, **{"evaluaton#chunk_size": 5})


# --- resume ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """A run of the bundle of the plane, of three epochs."""
    folder = tmp_path_factory.mktemp("points") / "run"
    run(MOONS / "train.json", **POINTS, output_dir=str(folder))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network_def#act": "tanh"}, "network_def#act as in {}, 'relu', got 'tanh'"),
        ({"bounds": [-9, 10]}, "objective#bounds#0 as in {}, -10, got -9"),
        ({"optimizer#weight_decay": 0.1}, "optimizer#weight_decay as in {}, None, got 0.1"),
        ({"amp": True}, "amp as in {}, False, got True"),
        ({"train#trainer#amp": True}, "amp as in {}, False, got True, and train#trainer#amp, None"),
        ({"delta": 0.01}, "objective#margins#delta as in {}, 0.09999999999999999, got 0.01"),
    ],
    ids=str,
)
def test_a_resume_with_other_settings_is_refused_naming_both(points, tmp_path, change, message):
    folder = shutil.copytree(points, tmp_path / "run")
    before = tree(folder)
    settings = POINTS | {"output_dir": str(folder), "resume": True, "max_epochs": 4}
    said = refused(MOONS / "train.json", **settings | change)
    assert f"expected the same {message.format(folder / 'checkpoint.pt')}" in said
    assert tree(folder) == before


def test_a_resume_with_other_pixels_under_the_same_names_is_refused(trained, images, tmp_path):
    data = shutil.copytree(images, tmp_path / "oct")
    folder = shutil.copytree(trained[0], tmp_path / "run")
    id_ = read_record(folder).sections["training"].ids[5]
    with Image.open(data / id_) as image:
        image.point(lambda value: 255 - value).save(data / id_)
    settings = trained[1] | {"dataset_dir": str(data), "output_dir": str(folder)}
    said = refused(OCT / "train.json", **settings | {"max_epochs": 2}, resume=True, delta=0.02)
    assert "expected the same content of the data#training as in " in said
    assert "validation" not in said


def test_a_run_made_longer_is_the_one_that_was_longer_from_the_start(points, tmp_path, caplog):
    longer = shutil.copytree(points, tmp_path / "longer")
    run(MOONS / "train.json", **POINTS | {"max_epochs": 6}, output_dir=str(longer), resume=True)
    assert "delta stays 0.0999" in caplog.text
    assert "delta = 0.0499" in caplog.text
    delta = 0.3 * min(1, 1 / 3)
    straight = tmp_path / "straight"
    run(MOONS / "train.json", **POINTS | {"max_epochs": 6}, output_dir=str(straight), delta=delta)

    assert same(*(load(folder / "checkpoint.pt") for folder in (straight, longer)))
    assert load(longer / "checkpoint.pt")["epoch"] == 6
    for name in ("model.pt", "model_best.pt"):
        assert (straight / name).read_bytes() == (longer / name).read_bytes()
    of = {read_record(folder).run for folder in (points, straight, longer)}
    assert {writing_run(longer / "model.pt")} == of
    workflow(longer / "config.json", MOONS / "evaluate.json")
    config = ConfigParser.load_config_file(longer / "config.json")
    assert (config["max_epochs"], config["delta"]) == (6, delta)
    assert read_record(longer).settings["delta"] == delta
    assert read_record(longer).settings == read_record(straight).settings | {
        "output_dir": str(longer)
    }


def test_a_run_with_its_own_delta_is_made_longer_without_giving_it_again(tmp_path):
    settings = POINTS | {"output_dir": str(tmp_path), "max_epochs": 1}
    run(MOONS / "train.json", **settings, delta=0.02)
    run(tmp_path / "config.json", resume=True, max_epochs=2)
    run(MOONS / "train.json", **settings | {"max_epochs": 3}, resume=True)
    checkpoint = load(tmp_path / "checkpoint.pt")
    delta = checkpoint["identity"]["objective"]["margins"]["delta"]
    assert (checkpoint["epoch"], delta) == (3, 0.02)


def test_another_setting_that_depends_on_the_epochs_is_kept_as_well(tmp_path, caplog):
    configs = (MOONS / "train.json", ROOT / "bundles" / "objectives" / "iaat.json")
    run(*configs, **POINTS | {"output_dir": str(tmp_path), "max_epochs": 1})
    longer = POINTS | {"output_dir": str(tmp_path), "max_epochs": 22, "resume": True}
    parser = workflow(*configs, **longer).parser
    assert "iaat_warmup stays 1, that of the run so far; iaat_warmup = 2 goes" in caplog.text
    assert parser.get_parsed_content("objective").warmup == 1


def test_the_schedule_of_a_learning_rate_goes_on(tmp_path):
    override = tmp_path / "schedule.json"
    # of two epochs a step: where it starts anew, an epoch has another rate
    schedule = {"_target_": "torch.optim.lr_scheduler.StepLR", "optimizer": "@optimizer"}
    handler = {"_target_": "LrScheduleHandler", "lr_scheduler": "@schedule", "print_lr": False}
    override.write_text(
        json.dumps(
            {
                "schedule": schedule | {"step_size": 2, "gamma": 0.5},
                "+train::handlers": [handler],
            }
        )
    )
    settings = POINTS | {"delta": 0.1, "learning_rate": 0.01}
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    run(MOONS / "train.json", override, **settings, output_dir=str(straight))
    run(MOONS / "train.json", override, **settings | {"max_epochs": 1}, output_dir=str(broken))
    run(MOONS / "train.json", override, **settings, output_dir=str(broken), resume=True)

    ends = [load(folder / "checkpoint.pt") for folder in (straight, broken)]
    assert same(*ends)
    for end in ends:
        (group,) = end["objects"]["optimizer"]["param_groups"]
        assert group["lr"] == pytest.approx(0.01 * 0.5)
        assert end["handlers"]["LrScheduleHandler.lr_scheduler"]["last_epoch"] == 3
    before = tree(broken)
    said = refused(
        MOONS / "train.json", **settings | {"max_epochs": 4}, output_dir=str(broken), resume=True
    )
    assert "LrScheduleHandler.lr_scheduler, got none; resume with the handlers" in said
    assert tree(broken) == before


def test_the_checkpoint_of_an_older_version_is_resumed_with_a_warning(points, tmp_path, caplog):
    folder = shutil.copytree(points, tmp_path / "run")
    (folder / "run.json").unlink()
    checkpoint = load(folder / "checkpoint.pt")
    old = ("norm", "seed", "batch_size", "training_data")
    checkpoint["identity"] = {name: checkpoint["identity"][name] for name in old}
    del checkpoint["handlers"]
    torch.save(checkpoint, folder / "checkpoint.pt")
    run(MOONS / "train.json", **POINTS | {"max_epochs": 4}, output_dir=str(folder), resume=True)
    assert load(folder / "checkpoint.pt")["epoch"] == 4
    assert "does not say with which method, " in caplog.text


def test_points_have_a_record_too(points):
    record, data = read_record(points), load_plane(noise=0.1, training=20, seed=0)
    assert record.sections["training"].contents[3] == (
        hashlib.blake2b(data.training.inputs[3].numpy().tobytes(), digest_size=8).hexdigest()
    )
    assert record.sections["test"].ids == data.test.ids
    assert record.sections["test"].patients == []
    assert not record.is_split_by_patient
    assert record.parts["bounds"] == [-10, 10]


@pytest.mark.parametrize("bundle", ["ecg", "fashion_mnist", "moons", "oct", "svhn"])
def test_a_cheap_attack_in_training_is_none_of_the_evaluation(bundle):
    """A run's own config has it; what an evaluation attacks with is its own, or asked for."""
    root = OCT.parent / f"{bundle}_ima"
    parser = ConfigParser()
    parser.read_config([str(root / "train.json")])
    parser.update({"protocol": "screen", "eval_steps": 2, "eval_restarts": 1})
    parser.update(json.loads((root / "evaluate.json").read_text()))
    assert parser["protocol"] == "minimum_norm"
    assert parser["eval_steps"] is None
    assert parser["eval_restarts"] is None


@pytest.mark.parametrize("initialized", [False, True])
def test_a_trainer_without_initialize_leaves_an_earlier_run_as_it_was(
    points, tmp_path, initialized
):
    folder = shutil.copytree(points, tmp_path / "run")
    before = tree(folder)
    parser = ConfigParser()
    parser.read_config(str(MOONS / "train.json"))
    parser.update(POINTS | {"output_dir": str(folder), "seed": 1, "max_epochs": 1})
    if initialized:
        parser.get_parsed_content("initialize", instantiate=True)
        parser.get_parsed_content("train#trainer").run()
        assert tree(folder / "previous-1") == before
        assert read_record(folder).settings["seed"] == 1
        return
    with pytest.raises(FileExistsError, match=r"got checkpoint.pt, model.pt, .*, run.json; eval"):
        parser.get_parsed_content("train#trainer").run()
    assert tree(folder) == before


class Removes:
    """A handler that removes a folder when the second epoch starts."""

    def __init__(self, folder):
        self.folder = folder

    def attach(self, engine):
        engine.add_event_handler(Events.EPOCH_STARTED(once=2), self)

    def __call__(self, engine):
        shutil.rmtree(self.folder)


def test_a_run_whose_folder_is_removed_says_so_and_makes_no_half_of_one(tmp_path):
    override = tmp_path / "override.json"
    handler = {"_target_": f"{__name__}.Removes", "folder": "@output_dir"}
    override.write_text(json.dumps({"+train::handlers": [handler]}))
    with pytest.raises(Exception) as error:  # noqa: PT011  MONAI's, of which the cause is looked at
        run(MOONS / "train.json", override, **POINTS, output_dir=str(tmp_path / "run"))
    assert f"expected {tmp_path}/run to be there as long as its run" in str(error.value.__cause__)
    assert not (tmp_path / "run").exists()


class Follows:
    """A handler whose own state no checkpoint can hold, and which needs the folder of the run."""

    def __init__(self, folder):
        self.folder = folder

    def attach(self, engine):
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine):
        raise AssertionError

    def state_dict(self):
        return {"folder": self.folder}

    def load_state_dict(self, state):
        raise AssertionError


@pytest.mark.parametrize(
    "handler",
    [
        {"_target_": "MetricLogger", "loss_transform": "$lambda output: 0.0"},
        {"_target_": "MetricLogger", "evaluator": "@validate::evaluator"},
        {"_target_": f"{__name__}.Follows", "folder": "@run_dir"},
    ],
    ids=["built early", "built with the evaluator", "built with the folder"],
)
def test_a_handler_that_cannot_be_kept_is_refused_with_the_earlier_run_where_it_was(
    points, tmp_path, handler
):
    folder = shutil.copytree(points, tmp_path / "run")
    before = tree(folder)
    override = tmp_path / "override.json"
    override.write_text(json.dumps({"+train::handlers": [handler]}))
    with pytest.raises(Exception) as error:  # noqa: PT011  MONAI's, of which the cause is looked at
        run(MOONS / "train.json", override, **POINTS, output_dir=str(folder))
    cause = error.value.__cause__
    assert isinstance(cause, TypeError)
    name = handler["_target_"].rpartition(".")[2]
    assert f"expected the state of the handler {name} to be tensors and plain values" in str(cause)
    assert tree(folder) == before


def test_a_handler_that_cannot_be_built_in_the_folder_is_refused_with_the_earlier_run_where_it_was(
    points, tmp_path
):
    folder = shutil.copytree(points, tmp_path / "run")
    before = tree(folder)
    override = tmp_path / "override.json"
    handler = {"_target_": "CheckpointSaver", "save_dir": "@run_dir", "save_dict": 5}
    override.write_text(json.dumps({"+train::handlers": [handler]}))
    with pytest.raises(Exception, match="CheckpointSaver"):
        run(MOONS / "train.json", override, **POINTS, output_dir=str(folder))
    assert tree(folder) == before
