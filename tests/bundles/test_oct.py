"""The commands of the README, small."""

import json
import re

import numpy as np
import pytest
import torch
from bundle_run import ROOT, run_bundle, start_bundle
from folders import rows_in
from monai.bundle import ConfigParser, create_workflow
from pages import fences
from PIL import Image
from same import same
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_ima.data import write_synthetic_oct, write_synthetic_volumes

TRAIN = ROOT / "bundles" / "oct_ima" / "train.json"
CE = ROOT / "bundles" / "objectives" / "ce.json"
SMALL = {
    "image_size": [32, 32],
    "max_epochs": 2,
    "attack_steps": 3,
    "margin_steps": 4,
    "margin_interval": 1,
    "robust_interval": 1,
    "eval_steps": 3,
    "device": "cpu",
}
PAPER = TRAIN.with_name("paper.json")
CONFIGS = {"ima": [TRAIN], "ce": [TRAIN, CE], "paper": [TRAIN, PAPER]}

parsing_warns = pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "oct"
    return write_synthetic_oct(folder, patients_per_class=5, images_per_patient=2, seed=0)


def start(folder, images, method="ima", **overrides):
    """A small run, as a user starts it."""
    settings = SMALL | {"dataset_dir": images, "output_dir": folder} | overrides
    return start_bundle(*CONFIGS[method], **settings)


def run(*arguments, **overrides):
    return start(*arguments, **overrides).end()


def stopped(ended):
    """The line at the end of a failed run that says in words what went wrong."""
    assert ended.returncode != 0
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("Stopped: ")]
    return line


@pytest.fixture(scope="module", params=["linf", "l2"])
def finished(request, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / request.param
    ended = run(folder, images, norm=request.param, max_epochs=3, robust_interval=2)
    assert ended.returncode == 0, ended.stderr
    return request.param, folder, ended.stdout


def test_run_leaves_every_file(finished):
    norm, folder, _ = finished
    for name in ("model.pt", "model_best.pt"):
        weights = torch.load(folder / name, weights_only=True)
        assert all(isinstance(value, torch.Tensor) for value in weights.values())
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert checkpoint["epoch"] == 3
    margins = checkpoint["objects"]["objective"]["margins.margins"]
    report = json.loads((folder / "robustness.json").read_text())
    assert len(margins) == report["settings"]["training_samples"]
    assert report["attack"]["norm"] == report["settings"]["norm"] == norm
    assert report["classes"] == ["CNV", "DME", "DRUSEN", "NORMAL"]
    with Image.open(folder / "robustness.png") as figure:
        assert figure.width > 500


def test_csv_has_the_curves_of_the_interval_and_of_the_end(finished):
    norm, folder, _ = finished
    rows = rows_in(folder, "robustness.csv")
    assert list(rows[0]) == ["epoch", "norm", "eps", "accuracy", "low", "high", "n"]
    levels = ["0.0", "0.0025", "0.005", "0.01", "0.015", "0.02"]
    assert [(row["epoch"], row["eps"]) for row in rows] == [
        (epoch, eps) for epoch in ("2", "3") for eps in levels
    ]
    assert {row["norm"] for row in rows} == {norm}
    for row in rows:
        low, accuracy, high = (float(row[name]) for name in ("low", "accuracy", "high"))
        assert 0 <= low <= accuracy <= high <= 1


def test_console_shows_epochs_curve_and_where_all_is(finished):
    _, folder, stdout = finished
    lines = [line for line in stdout.splitlines() if re.search(r"epoch \d/3", line)]
    assert len(lines) == 3
    for name in ("train_loss_clean", "train_loss_noisy", "margin/mean", "val_accuracy"):
        assert all(name in line for line in lines)
    table = stdout[stdout.index("95 % interval") :]
    for text in ("0.005", "area", "model.pt", "checkpoint.pt", f"tensorboard --logdir {folder}"):
        assert text in table


def test_event_file_has_every_tag_with_the_numbers_of_the_csv(finished):
    _, folder, _ = finished
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0}).Reload()
    tags = events.Tags()
    rows = rows_in(folder, "robustness.csv")
    for row in rows:
        found = {
            event.step: event.value
            for event in events.Scalars(f"robust_accuracy/eps_{float(row['eps']):g}")
        }
        assert found[int(row["epoch"])] == pytest.approx(float(row["accuracy"]))
    per_epoch = [
        "train_loss", "train_loss_clean", "train_loss_noisy", "train_accuracy", "val_accuracy",
        "margin/mean", "margin/q05", "margin/q95", "margin/crossed_fraction",
        "margin/at_bound_fraction",
    ]  # fmt: skip
    for tag in per_epoch:
        assert [event.step for event in events.Scalars(tag)] == [1, 2, 3], tag
    assert [event.step for event in events.Scalars("robust_accuracy/auc")] == [2, 3]
    assert [event.step for event in events.Histograms("margin/histogram")] == [1, 2, 3]
    assert {"robustness/curve", "robustness/examples"} <= set(tags["images"])
    (*_, examples) = events.Images("robustness/examples")
    assert examples.width > 800  # of which three pictures take a third each
    assert "custom_scalars__config__" in tags["tensors"]


def test_event_file_and_console_have_the_sensitivity_of_each_class(finished):
    _, folder, stdout = finished
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    report = json.loads((folder / "robustness.json").read_text())
    curve = report["curves"][-1]
    for name, row in zip(report["classes"], curve["per_class"], strict=True):
        for eps, value in zip(curve["eps"], row, strict=True):
            (*_, last) = events.Scalars(f"sensitivity/{name}/eps_{eps:g}")
            assert (last.step, last.value) == (3, pytest.approx(value))
        validated = events.Scalars(f"val_sensitivity/{name}/eps_0")
        assert [event.step for event in validated] == [1, 2, 3]
        (line,) = re.findall(rf"^ +{name}  (.*)$", stdout, re.MULTILINE)
        assert line.split()[: len(row)] == [f"{value:.3f}" for value in row]


@pytest.mark.parametrize(
    ("given", "metric"),
    [({}, "balanced_auc"), ({"best_by": "accuracy"}, "auc")],
)
def test_the_best_epoch_is_by_the_metric_of_the_setting(given, metric):
    config = ConfigParser(ConfigParser.load_config_file(TRAIN))
    config.update(given)
    chosen = config.get_parsed_content("checkpoint::key_metric")
    assert chosen == f"val_robust_accuracy/{metric}"


def test_the_best_epoch_is_the_best_of_those_in_the_events(finished):
    _, folder, _ = finished
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    best = torch.load(folder / "checkpoint.pt", weights_only=True)["best"]
    values = {e.step: e.value for e in events.Scalars("val_robust_accuracy/balanced_auc")}
    assert best["value"] == pytest.approx(max(values.values()))
    assert values[best["epoch"]] == max(values.values())


def test_margins_in_the_events_are_those_of_the_checkpoint(finished):
    _, folder, _ = finished
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    margins = checkpoint["objects"]["objective"]["margins.margins"]
    events = EventAccumulator(str(folder)).Reload()
    assert events.Scalars("margin/mean")[-1].value == pytest.approx(margins.mean().item())


def test_ce_override_trains_without_margins(images, tmp_path):
    ended = run(tmp_path, images, "ce", max_epochs=1)
    assert ended.returncode == 0, ended.stderr
    events = EventAccumulator(str(tmp_path)).Reload().Tags()
    assert "train_loss_clean" in events["scalars"]
    assert not [tag for tag in events["scalars"] if tag.startswith("margin/")]


def test_paper_setting_runs_small(images, tmp_path):
    sizes = {"image_size": [64, 64], "max_epochs": 1, "noise_levels": [0.1], "eval_steps": 1}
    ended = run(tmp_path, images, "paper", **sizes)
    assert ended.returncode == 0, ended.stderr
    settings = json.loads((tmp_path / "robustness.json").read_text())["settings"]
    assert settings["objective"]["beta"] == 0.01
    names = torch.load(tmp_path / "model.pt", weights_only=True)
    assert "network.layer4.1.conv2.weight" in names


def test_images_beyond_the_memory_give_the_same_weights(images, tmp_path):
    """A fifth of them kept in memory, or none, but on the disk, by the file that the page has."""
    page = ROOT / "docs" / "how_to" / "own_data.md"
    (text,) = [fence.text for fence in fences(page) if fence.name == "on_disk.json"]
    on_disk, cache = tmp_path / "on_disk.json", tmp_path / "cache"
    on_disk.write_text(text.replace("data/cache", str(cache)))
    settings = SMALL | {"dataset_dir": images}
    runs = {
        name: start_bundle(*configs, **settings, **given, output_dir=tmp_path / name)
        for name, configs, given in [
            ("memory", [TRAIN], {}),
            ("a fifth", [TRAIN], {"cache_rate": 0.2}),
            ("disk", [TRAIN, on_disk], {}),
        ]
    }
    ended = [started.end() for started in runs.values()]
    assert [each.returncode for each in ended] == [0, 0, 0], ended[-1].stderr

    first, *others = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["objects"] for name in runs
    )
    assert all(same(first, other) for other in others)
    kept = len(list(cache.iterdir()))
    assert kept == len(list(images.rglob("*.png"))) == 40


def test_where_the_images_lie_changes_nothing(images, tmp_path):
    options = {"delta": 0.005, "robust_interval": 0, "noise_levels": [0, 0.01]}
    for name, resident, epochs in (
        ("loaded", False, 2),
        ("resident", True, 2),
        ("broken", True, 1),
    ):
        ended = run(tmp_path / name, images, resident=resident, max_epochs=epochs, **options)
        assert ended.returncode == 0, ended.stderr
    ended = run(tmp_path / "broken", images, resident=True, resume=True, **options)
    assert ended.returncode == 0, ended.stderr
    loaded, *others = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["objects"]
        for name in ("loaded", "resident", "broken")
    )
    assert all(same(loaded, other) for other in others)


def test_images_that_cannot_lie_on_the_device_are_rejected_before_an_earlier_run_is_moved(
    images, tmp_path
):
    (tmp_path / "model.pt").write_text("good")
    flip = "{'_target_': 'RandFlipd', 'keys': 'image'}"
    ended = run(tmp_path, images, resident=True, augmentation=flip)
    assert "set resident to false, or leave augmentation out" in stopped(ended)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


@pytest.mark.slow
def test_resumed_run_equals_an_uninterrupted_one(images, tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    settings = {"max_epochs": 6, "robust_interval": 2}
    assert run(straight, images, **settings).returncode == 0

    started = start(broken, images, **settings)
    started.wait_for(broken / "robustness.csv")
    started.kill()
    reached = torch.load(broken / "checkpoint.pt", weights_only=True)["epoch"]
    assert 1 <= reached < 6

    ended = run(broken, images, **settings, resume=True)
    assert ended.returncode == 0, ended.stderr
    assert f"resumed after epoch {reached}" in ended.stdout
    first, second = (
        torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (straight, broken)
    )
    assert same(first, second)
    for name in ("model.pt", "model_best.pt"):
        assert same(*(torch.load(f / name, weights_only=True) for f in (straight, broken)))
    for name in ("robustness.csv", "robustness.json"):
        assert (straight / name).read_bytes() == (broken / name).read_bytes()


@parsing_warns
def test_augmentation_is_for_training_and_not_for_the_margins(images, tmp_path):
    override = tmp_path / "augmentation.json"
    override.write_text('{"augmentation": {"_target_": "RandFlipd", "keys": "image", "prob": 1.0}}')
    workflow = create_workflow(
        config_file=[str(TRAIN), str(override)],
        workflow_type="train",
        **SMALL | {"dataset_dir": str(images), "output_dir": str(tmp_path)},
    )
    training = workflow.parser.get_parsed_content("train::dataset")
    clean = workflow.parser.get_parsed_content("margin_dataset")
    assert len(training) == len(clean)
    for augmented, plain in zip(training, clean, strict=True):
        assert augmented["index"] == plain["index"]
        assert not torch.equal(augmented["image"], plain["image"])
        assert torch.equal(augmented["image"].flip(1, 2), plain["image"])


def truncated_image(folder):
    path = next((folder / "DME").glob("*.png"))
    path.write_bytes(path.read_bytes()[:3000])
    return path.name


def nan_image(folder):
    import nibabel

    old = next((folder / "CNV").glob("*.png"))
    new = old.with_suffix(".nii")
    nibabel.save(nibabel.Nifti1Image(np.full((40, 40), np.nan, np.float32), np.eye(4)), new)
    old.unlink()
    return new.name


@pytest.mark.parametrize("spoil", [truncated_image, nan_image])
def test_bad_image_is_named_before_training(spoil, tmp_path):
    folder = write_synthetic_oct(tmp_path / "oct", patients_per_class=3, images_per_patient=1)
    name = spoil(folder)
    ended = run(tmp_path / "run", folder)
    assert name in stopped(ended)
    assert not (tmp_path / "run" / "model.pt").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"eps_mx": 0.1}, "got eps_mx; did you mean eps_max?"),
        ({"dataset_dir": "nowhere"}, "nowhere"),
        ({"eps_max": -1}, "expected eps_max to be a number > 0"),
        ({"delta": 0}, "expected delta to be a number > 0"),
        ({"noise_levels": [0.2, 0.1]}, "got [0.2, 0.1]"),
        (
            {"protocol": "paper", "eval_restarts": 0},
            "expected eval_restarts to be a whole number from 1",
        ),
        ({"eps_max": "abc"}, "in input units, got 'abc'"),
        ({"norm": "l7"}, "expected norm to be one of linf, l2, got 'l7'"),
        ({"num_classes": 3}, "classes"),
        ({"output_dir": "README.md/run"}, "choose another with --output_dir"),
        ({"resume": True}, "checkpoint.pt to resume from, found none"),
        ({"resume": "maybe"}, "expected resume to be true or false, got 'maybe'"),
        ({"augmentation": "$@seed + 1"}, "expected augmentation to be a part of the config"),
        ({"augmentation": "$int(@seed) + 1"}, "expected augmentation to be a transform, got 1"),
        ({"optimizer#lr": 1e20}, "lower the learning rate"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_settings_end_in_words(images, tmp_path, overrides, message):
    ended = run(tmp_path / "run", images, **overrides)
    assert message in stopped(ended)


def test_second_run_moves_the_first_aside_and_resume_refuses_other_settings(images, tmp_path):
    assert run(tmp_path, images, max_epochs=1).returncode == 0
    weights = (tmp_path / "model.pt").read_bytes()
    before = sorted(path.name for path in tmp_path.iterdir())
    assert "nowhere" in stopped(run(tmp_path, images, dataset_dir="nowhere"))
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    ended = run(tmp_path, images, max_epochs=2, resume=True, norm="l2")
    assert "expected the same norm" in stopped(ended)
    assert (tmp_path / "model.pt").read_bytes() == weights
    assert run(tmp_path, images, max_epochs=1, seed=1, resume=False).returncode == 0
    assert (tmp_path / "previous-1" / "model.pt").read_bytes() == weights


@pytest.mark.slow
def test_ima_raises_the_curve_at_little_cost_in_clean_accuracy(tmp_path):
    """The claim of the first table of docs/results/oct.md, on its data, with cheaper attacks."""
    images = write_synthetic_oct(tmp_path / "oct", patients_per_class=80, images_per_patient=3)
    common = {"max_epochs": 12, "robust_interval": 0, "protocol": "screen", "eval_steps": 20}
    own = {
        "ce": {"delta": 0.01},
        "ima": {"attack_steps": 4, "margin_steps": 8, "bisections": 5, "margin_interval": 4},
    }
    accuracy = {}
    for method, cheap in own.items():
        folder = tmp_path / method
        settings = common | cheap | {"dataset_dir": images, "output_dir": folder}
        ended = run_bundle(*CONFIGS[method], **settings, device="cpu")
        assert ended.returncode == 0, ended.stderr
        curve = json.loads((folder / "robustness.json").read_text())["curves"][-1]
        accuracy[method] = dict(zip(curve["eps"], curve["accuracy"], strict=True))
    # Measured with this seed: 0.92 and 0.17, without noise 0.99 and 0.98.
    assert accuracy["ima"][0.01] >= accuracy["ce"][0.01] + 0.2
    assert accuracy["ima"][0.0] >= accuracy["ce"][0.0] - 0.05


@pytest.mark.parametrize("bundle", ["oct_ima", "volume_ima"])
def test_balanced_sampling_draws_each_class_equally_often(bundle, tmp_path):
    if bundle == "oct_ima":
        data = write_synthetic_oct(tmp_path / "data", patients_per_class=8, images_per_patient=1)
        few, size = "DRUSEN", [32, 32]
    else:
        data, size = write_synthetic_volumes(tmp_path / "data", patients_per_class=8), [8, 8, 8]
        few = min(path.name for path in data.iterdir() if path.is_dir())
    for image in sorted((data / few).iterdir())[4:]:
        image.unlink()
    config = ConfigParser(ConfigParser.load_config_file(ROOT / "bundles" / bundle / "train.json"))
    config.update({"dataset_dir": str(data), "image_size": size, "sampling": "balanced"})
    loader = config.get_parsed_content("train::dataloader")
    training = config.get_parsed_content("datalist").training
    there = torch.tensor([sample["label"] for sample in training]).bincount()
    assert there.min() < there.max()
    drawn = torch.cat([batch["label"] for batch in loader]).bincount()
    assert drawn.tolist() == [there.max()] * len(there)


def write_overlapping(folder, counts, seed=0):
    """Images of one grey each, a patient's own, whose classes overlap by half."""
    rng = np.random.default_rng(seed)
    for name, (count, grey) in counts.items():
        (folder / name).mkdir(parents=True)
        for patient in range(count):
            level = np.clip(rng.normal(grey, 24), 0, 255).astype(np.uint8)
            Image.fromarray(np.full((16, 16), level)).save(
                folder / name / f"{name}-{patient}-1.png"
            )
    return folder


def test_class_weights_find_the_class_of_few(tmp_path):
    """Without, the class of one in ten is hardly ever the answer."""
    data = write_overlapping(tmp_path / "data", {"healthy": (360, 112), "sick": (40, 144)})
    common = {"dataset_dir": data, "num_classes": 2, "image_size": [8, 8], "device": "cpu"}
    common |= {"max_epochs": 20, "robust_interval": 0, "val_interval": 0, "learning_rate": 0.02}
    common |= {"network_def": "$torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))"}
    common |= {"protocol": "screen", "eval_steps": 1}
    sensitivity = {}
    for weights in ("$None", "balanced"):
        folder = tmp_path / weights
        ended = run_bundle(TRAIN, CE, **common, class_weights=weights, output_dir=folder)
        assert ended.returncode == 0, ended.stderr
        curve = json.loads((folder / "robustness.json").read_text())["curves"][-1]
        sensitivity[weights] = dict(zip(("healthy", "sick"), curve["per_class"], strict=True))
    # Measured with this seed: 0 and 0.83 of the sick, 1 and 0.65 of the healthy.
    assert sensitivity["$None"]["sick"][0] < 0.2
    assert all(clean[0] > 0.5 for clean in sensitivity["balanced"].values())
    record = json.loads((tmp_path / "balanced" / "run.json").read_text())
    training = record["sections"]["training"]["ids"]
    sick = sum("sick" in image for image in training) / len(training)
    expected = [0.5 / (1 - sick), 0.5 / sick]
    assert record["parts"]["objective"]["class_weights"] == pytest.approx(expected)
