"""The commands that evaluate a classifier, small."""

import json
import re
import sys

import monai.bundle
import pytest
import torch
from bundle_run import ROOT, run_bundle, start_bundle
from folders import rows_in
from monai.bundle import ConfigParser, create_workflow
from monai.networks.nets import ViT
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from zoo import network_def, write_zoo_bundle

from monai_ima.bundle import say_errors_last
from monai_ima.data import load_datalist, write_synthetic_oct
from monai_ima.handlers.evaluation_progress import Progress

EVALUATE = ROOT / "bundles" / "robustness_evaluation" / "evaluate.json"
OCT = [ROOT / "bundles" / "oct_ima" / name for name in ("train.json", "evaluate.json")]
pytestmark = pytest.mark.filterwarnings("ignore")  # as in the commands
REPORT = ("report.html", "robustness.json", "samples.csv")
SMALL = {
    "device": "cpu",
    "noise_levels": {"linf": [0.002, 0.02]},
    "protocol": "screen",
    "eval_steps": 2,
    "batch_size": 3,
    "chunk_size": 3,
    "check_samples": 0,
    "noise_draws": 0,
    "auroc_steps": 0,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "oct"
    return write_synthetic_oct(folder, patients_per_class=3, images_per_patient=1, seed=0)


@pytest.fixture(scope="module")
def zoo(images, tmp_path_factory):
    return write_zoo_bundle(tmp_path_factory.mktemp("bundle") / "zoo", images)


@pytest.fixture(scope="module")
def of_the_zoo(zoo, images):
    """What a user gives the configuration that stands alone: a network and its weights."""
    return {
        "dataset_dir": str(images),
        "image_size": [32, 32],
        "network_def": network_def(4),
        "checkpoint": str(zoo / "models" / "model.pt"),
    }


def run_here(configs, **settings):
    """Run the configs in this process, which is looked into."""
    monai.bundle.run(
        config_file=[str(config) for config in configs], logging_file=False, **settings
    )


def report_in(folder):
    return json.loads((folder / "robustness.json").read_text())


# --- any classifier -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def straight(of_the_zoo, tmp_path_factory):
    """Of DenseNet121 by its definition and weights, in one go."""
    folder = tmp_path_factory.mktemp("straight")
    ended = run_bundle(EVALUATE, **SMALL | of_the_zoo, output_dir=folder)
    assert ended.returncode == 0, ended.stderr
    return folder, ended.stdout


def test_a_network_and_its_weights(straight, zoo, images):
    folder, stdout = straight
    report, rows = report_in(folder), rows_in(folder)

    assert {path.name for path in folder.iterdir()} >= {*REPORT, "robustness_linf.png"}
    assert report["classes"] == ["CNV", "DME", "DRUSEN", "NORMAL"]
    assert (report["attack"]["protocol"], report["attack"]["steps"]) == ("screen", 2)
    assert report["settings"]["model"] == str(zoo / "models" / "model.pt")
    assert report["settings"]["data"] == str(images)
    (curve,) = report["curves"]
    assert curve["eps"] == [0, 0.002, 0.02]
    assert curve["accuracy"][0] > curve["accuracy"][2]
    assert [row["id"] for row in rows] == sorted(
        str(path.relative_to(images)) for path in images.rglob("*.png")
    )
    correct = sum(row["label"] == row["prediction"] for row in rows)
    assert curve["accuracy"][0] == correct / len(rows) == correct / 12
    for text in (f"{curve['accuracy'][2]:.3f}", "no checks were made", "report.html"):
        assert text in stdout[stdout.index("screen: one 2-step minimum-norm attack") :]
    events = EventAccumulator(str(folder)).Reload()
    assert events.Scalars("robust_accuracy/linf/auc")[0].value == pytest.approx(curve["auc"])


def test_killed_and_started_again_it_is_as_if_it_had_run_through(straight, of_the_zoo, tmp_path):
    settings = SMALL | of_the_zoo | {"output_dir": tmp_path}
    started = start_bundle(EVALUATE, **settings)
    started.wait_for(tmp_path / "progress.records")
    started.kill()
    finished = Progress.read(tmp_path / "progress.records").finished
    assert 3 <= finished < 12
    assert not [name for name in REPORT if (tmp_path / name).exists()]

    ended = run_bundle(EVALUATE, **settings)
    assert ended.returncode == 0, ended.stderr
    assert f"going on after {finished} samples that are finished" in ended.stdout
    for name in REPORT:
        assert (tmp_path / name).read_bytes() == (straight[0] / name).read_bytes()


def test_torchscript_is_its_network(straight, zoo, images, tmp_path, undrawn):
    """Evaluated by its gradients, with nothing but the file."""
    run_here(
        [EVALUATE],
        **SMALL,
        torchscript=str(zoo / "models" / "model.ts"),
        dataset_dir=str(images),
        image_size=[32, 32],
        output_dir=str(tmp_path),
    )
    ours, expected = report_in(tmp_path), report_in(straight[0])
    assert ours["settings"]["model"] == str(zoo / "models" / "model.ts")
    assert ours["curves"][0]["accuracy"] == expected["curves"][0]["accuracy"]
    for row, other in zip(rows_in(tmp_path), rows_in(straight[0]), strict=True):
        assert float(row["margin_linf"] or -1) == pytest.approx(
            float(other["margin_linf"] or -1), rel=1e-3
        )


# --- other bundles --------------------------------------------------------------------------------


def test_over_the_inference_of_a_zoo_bundle(zoo, tmp_path, monkeypatch, undrawn):
    """Its network, data and preprocessing are its own: it knows each of these images."""
    monkeypatch.chdir(zoo)
    run_here(
        ["configs/inference.json", EVALUATE],
        **SMALL,
        checkpoint="models/model.pt",
        output_dir=str(tmp_path),
    )
    (curve,) = report_in(tmp_path)["curves"]
    assert curve["n"] == 12
    assert curve["accuracy"][0] == 1 > curve["accuracy"][2]
    assert not (zoo / "eval").exists()


def test_over_the_evaluation_of_a_zoo_bundle(zoo, tmp_path, monkeypatch, undrawn):
    monkeypatch.chdir(zoo)
    weights = (zoo / "models" / "model.pt").read_bytes()
    run_here(
        ["configs/train.json", "configs/evaluate.json", EVALUATE],
        **SMALL,
        checkpoint="models/model.pt",
        datalist_file="configs/datalist.json",
        output_dir=str(tmp_path),
    )
    (curve,) = report_in(tmp_path)["curves"]
    assert curve["n"] == 6  # of its validation
    assert curve["accuracy"][0] == 1 > curve["accuracy"][2]
    assert (zoo / "models" / "model.pt").read_bytes() == weights


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    settings = {
        "dataset_dir": str(images),
        "output_dir": str(folder),
        "image_size": [32, 32],
        "max_epochs": 1,
        "attack_steps": 1,
        "margin_steps": 1,
        "eval_steps": 1,
        "protocol": "screen",
        "batch_size": 8,
        "device": "cpu",
    }
    run_here(OCT[:1], **settings)
    return folder, {n: settings[n] for n in ("dataset_dir", "output_dir", "image_size", "device")}


def test_over_our_own_training(trained, capsys):
    folder, settings = trained
    before = {path: path.read_bytes() for path in folder.iterdir()}
    run_here(
        OCT,
        **settings,
        evaluation_levels={"linf": [0.01], "l2": [0.2]},
        eval_steps=10,
        check_samples=3,
        noise_draws=2,
        auroc_steps=2,
    )
    report = report_in(folder / "evaluation")
    assert (report["attack"]["protocol"], report["attack"]["steps"]) == ("minimum_norm", 10)
    patient = json.loads(OCT[0].read_text())["patient_pattern"]
    datalist = load_datalist(settings["dataset_dir"], num_classes=4, patient_pattern=patient)
    rows = rows_in(folder / "evaluation")
    assert [row["id"] for row in rows] == [item["id"] for item in datalist.test]
    assert (report["n"], report["patients"]) == (4, 4)
    assert [curve["norm"] for curve in report["curves"]] == ["linf", "l2"]
    assert report["patients"] == len({item["patient"] for item in datalist.test})
    assert report["settings"]["method"] == "ima"
    assert len(report["checks"]) == 14
    failed = [check for check in report["checks"] if check["passed"] is False]
    assert failed == []
    # With three samples, there is nothing to tell but that the model returns logits.
    said = "ONLY 2 of 14 checks were run: none failed, 2 passed, 12 not run"
    assert said in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before} == before  # the run's own files


def test_a_vision_transformer_of_monai_learns_and_is_evaluated_one_by_one(
    images, tmp_path, undrawn
):
    """It returns a tuple."""
    pytest.importorskip("einops", reason="MONAI's ViT needs it")
    settings = {
        "dataset_dir": str(images),
        "output_dir": str(tmp_path),
        "image_size": [16, 16],
        "network_def": {
            "_target_": "ViT", "in_channels": 1, "img_size": [16, 16], "patch_size": [8, 8],
            "hidden_size": 8, "mlp_dim": 8, "num_layers": 1, "num_heads": 1, "spatial_dims": 2,
            "classification": True, "num_classes": 4,
        },
        "device": "cpu",
    }  # fmt: skip
    quick = {"max_epochs": 1, "attack_steps": 1, "margin_steps": 1, "eval_steps": 1}
    run_here(OCT[:1], **settings, **quick)
    assert len(report_in(tmp_path)["curves"]) == 1

    sizes = []
    handle = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: sizes.append(len(inputs[0])) if type(module) is ViT else None
    )
    with handle:
        run_here(
            OCT,
            **settings,
            evaluation_batch_size=1,
            evaluation_levels={"linf": [0.01]},
            eval_steps=2,
            check_samples=0,
            noise_draws=1,
            auroc_steps=1,
        )
    assert set(sizes) == {1}
    report = report_in(tmp_path / "evaluation")
    assert (report["n"], report["attack"]["batch_size"]) == (4, 1)


@pytest.mark.parametrize("bundle", ["oct", "ecg", "fashion_mnist", "svhn", "moons"])
@pytest.mark.parametrize("size", [None, 1])
def test_the_batch_size_of_an_evaluation_is_that_of_its_loader(bundle, size):
    folder = ROOT / "bundles" / f"{bundle}_ima"
    files = [str(folder / name) for name in ("train.json", "evaluate.json")]
    config = ConfigParser.load_config_files(files)
    if size is not None:
        config["evaluation_batch_size"] = size
    parser = ConfigParser(config)
    default = 1000 if bundle == "moons" else 4 * config["batch_size"]
    assert parser.get_parsed_content("evaluation::batch_size") == (size or default)
    assert parser.get_parsed_content("dataloader::batch_size") == (size or default)


def test_monai_finds_the_properties(of_the_zoo, trained):
    for configs, settings in (
        ([EVALUATE], of_the_zoo | {"bundle_root": str(EVALUATE.parent)}),
        (OCT, trained[1]),
    ):
        workflow = create_workflow(
            config_file=[str(config) for config in configs],
            workflow_type="inference",
            logging_file=False,
            **settings,
        )
        assert workflow.check_properties() == []


# --- bad settings ---------------------------------------------------------------------------------


def test_a_mistyped_setting_ends_in_words(of_the_zoo, tmp_path):
    ended = run_bundle(EVALUATE, **of_the_zoo, protocl="strong", output_dir=tmp_path / "run")
    assert ended.returncode != 0
    assert re.match(
        r"Stopped: ValueError: .* got protocl; did you mean protocol\?",
        ended.stderr.splitlines()[-1],
    )
    assert not (tmp_path / "run").exists()


def empty(folder):
    (folder / "empty").mkdir()
    return {"dataset_dir": str(folder / "empty")}


def without(*names):
    return lambda folder: dict.fromkeys(names)


def other(**settings):
    return lambda folder: settings


BAD = {
    "no data": (without("dataset_dir"), r"expected a dataset_dir, got none; add --dataset_dir"),
    "nowhere": (other(dataset_dir="nowhere"), r"folder of the data set, got nowhere: no such fo"),
    "empty": (empty, r"expected one folder of images per class in .*empty"),
    "no network": (without("network_def"), r"expected network and checkpoint, .* got checkpoint"),
    "no model": (without("network_def", "checkpoint"), r"got nothing; an evaluation needs train"),
    "no file": (other(checkpoint="model.pt"), r"checkpoint to be a file, got model.pt: no such"),
    "classes": (
        other(network_def=network_def(5)),
        r"network, got of another shape \(2\): class_layers.out.weight \(5, 1024\) is \(4, 1024\) in",
    ),
    "keys": (
        other(network_def={"_target_": "monai_ima.networks.small_cnn", "num_classes": 4}),
        r"not in the file .*; not in the network \(\d+ of the file's \d+\): features.conv0.weight",
    ),
    "key": (other(checkpoint_key="ema"), r"key \(setting checkpoint_key\) .*, got 'ema'; there is"),
    "prefix": (
        other(checkpoint_prefix="encoder."),
        r"prefix \(setting checkpoint_prefix\) .*, got 'encoder.'; there is 'features.', 'class_la",
    ),
    "more classes": (other(num_classes=3), r"num_classes = 3 classes in .*, got 4: CNV, DME, DRU"),
    "level": (
        other(noise_levels={"linf": [0.1, 1.5]}),
        r"noise_levels within the bounds \[0, 1\], got the level",
    ),
    "levels": (
        other(noise_levels=[0.1, 0.2]),
        r"levels for linf, l2 or both, like .*, got \[0.1, 0.2\]",
    ),
    "protocol": (other(protocol="papre"), r"protocol to be one of .*, got 'papre'"),
    "setting": (
        other(protocol="screen", eval_restarts=2),
        r"eval_restarts to be None with protocol=screen, which has no random starts, got 2",
    ),
    "bounds": (other(bounds=[0.0, 0.5]), r"within bounds \[?\(?0.0, 0.5.*scale the data"),
    "output": (other(output_dir=str(ROOT / "README.md" / "run")), r"another with --output_dir"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_end_in_words(case, of_the_zoo, tmp_path, capsys):
    change, message = BAD[case]
    settings = SMALL | of_the_zoo | {"output_dir": str(tmp_path / "run")} | change(tmp_path)
    given = {name: value for name, value in settings.items() if value is not None}
    with pytest.raises(Exception) as error:  # noqa: PT011  what is read is the last line
        run_here([EVALUATE], **given)
    say_errors_last()
    sys.excepthook(error.type, error.value, error.tb)

    (line,) = [li for li in capsys.readouterr().err.splitlines() if li.startswith("Stopped: ")]
    assert re.search(message, line)
    assert not list((tmp_path / "run").glob("[!.]*"))  # but the lock of a command that still runs
