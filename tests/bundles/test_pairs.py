"""Every objective in every bundle, and the bundles of small images: one short epoch through the command."""

import json
import re

import pytest
from bundle_run import ROOT, run_bundle
from monai.bundle import create_workflow

from monai_ima.data import (
    write_synthetic_ecg,
    write_synthetic_fashion,
    write_synthetic_oct,
    write_synthetic_svhn,
    write_synthetic_volumes,
)

OBJECTIVES = ("adv", "ce", "ddn", "iaat", "ima", "mma", "trades")
SMALL = {
    "max_epochs": 1,
    "attack_steps": 2,
    "margin_steps": 2,
    "margin_interval": 1,
    "robust_interval": 0,
    "eval_steps": 1,
    "protocol": "screen",
    "device": "cpu",
}
IMAGES = {"training_samples": 20, "validation_samples": 10, "test_samples": 10}
OWN = {
    "oct_ima": {"image_size": [32, 32], "noise_levels": [0.01]},
    "ecg_ima": {"epoch_size": 64, "evaluation_per_class": 4, "noise_levels": [0.1]},
    "fashion_mnist_ima": IMAGES | {"noise_levels": [0.1]},
    "svhn_ima": IMAGES | {"noise_levels": [0.02]},
    "volume_ima": {"noise_levels": [0.01], "spacing": [2.0, 2.0, 2.0]},
    "moons_ima": {"training_samples": 60, "noise_levels": [0.1], "plane_interval": 1},
}

# The page of the moons tells what is its own.
CONFIGS = [
    path
    for name in ("train.json", "evaluate.json")
    for path in sorted(ROOT.glob(f"bundles/*/{name}"))
    if path.parent.name != "moons_ima"
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return {
        "oct_ima": write_synthetic_oct(folder / "oct", patients_per_class=5, images_per_patient=1),
        "ecg_ima": write_synthetic_ecg(folder / "ecg", patients=12, beats_per_patient=60),
        "fashion_mnist_ima": write_synthetic_fashion(folder / "fashion", training=120, test=60),
        "svhn_ima": write_synthetic_svhn(folder / "svhn", training=120, test=60),
        "volume_ima": write_synthetic_volumes(folder / "volumes", patients_per_class=5),
    }


def settings(bundle, data, folder, **overrides):
    known = {"dataset_dir": str(data[bundle])} if bundle in data else {}
    return SMALL | OWN[bundle] | known | {"output_dir": str(folder)} | overrides


@pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("bundle", OWN)
def test_every_pair_trains_an_epoch(bundle, objective, data, tmp_path):
    configs = [
        ROOT / "bundles" / bundle / "train.json",
        ROOT / "bundles/objectives" / f"{objective}.json",
    ]
    overrides = {"norm": "l2"} if objective == "ddn" else {}
    workflow = create_workflow(
        config_file=[str(config) for config in configs],
        workflow_type="train",
        **settings(bundle, data, tmp_path, **overrides),
    )
    workflow.run()
    report = json.loads((tmp_path / "robustness.json").read_text())
    assert report["settings"]["method"] == objective
    own = report["settings"]["objective"]
    assert (report["settings"]["margin_interval"] is None) == (objective != "ima")
    assert ("margin_steps" in own) == (objective == "ima")
    assert ("beta" in own) == (objective in ("iaat", "ima", "trades"))
    for name in ("delta", "bisections"):
        assert (name in own) == (objective in ("ima", "mma")), name
    assert len(report["curves"][-1]["accuracy"]) == 2
    assert (tmp_path / "model.pt").exists()


@pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")
@pytest.mark.parametrize("bundle", OWN)
def test_monai_finds_its_properties(bundle, data, tmp_path):
    workflow = create_workflow(
        config_file=str(ROOT / "bundles" / bundle / "train.json"),
        workflow_type="train",
        **settings(bundle, data, tmp_path),
    )
    assert workflow.check_properties() == []
    assert workflow.max_epochs == 1


@pytest.mark.parametrize("bundle", ["fashion_mnist_ima", "svhn_ima"])
def test_papers_setting_and_evaluation(bundle, data, tmp_path):
    folder = ROOT / "bundles" / bundle
    flags = settings(bundle, data, tmp_path)
    trained = run_bundle(folder / "train.json", folder / "paper.json", **flags)
    assert trained.returncode == 0, trained.stderr
    assert (
        json.loads((tmp_path / "robustness.json").read_text())["settings"]["objective"]["beta"]
        == 0.5
    )
    cheap = {"check_samples": 0, "noise_draws": 0, "auroc_steps": 0}
    evaluated = run_bundle(folder / "train.json", folder / "evaluate.json", **flags | cheap)
    assert evaluated.returncode == 0, evaluated.stderr
    report = json.loads((tmp_path / "evaluation" / "robustness.json").read_text())
    assert [curve["norm"] for curve in report["curves"]] == ["linf", "l2"]
    assert report["n"] == 10


@pytest.mark.parametrize("bundle", ["fashion_mnist_ima", "svhn_ima"])
def test_missing_files_say_where_they_are_from(bundle, data, tmp_path):
    flags = settings(bundle, data, tmp_path / "run", dataset_dir=tmp_path)
    ended = run_bundle(ROOT / "bundles" / bundle / "train.json", **flags)
    assert ended.returncode != 0
    assert "http" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_setting_is_in_the_page_of_the_bundle(config):
    page = (config.parent / "docs" / "README.md").read_text()
    names = re.findall(r'^  "(\w+)": [^{]', config.read_text(), re.MULTILINE)
    own = {"imports", "evaluation_imports", "bundle_root", "method", "network", "initialize", "run"}
    own |= {"resuming", "loss_weights", "margin_dataset", "dataset", "handlers", "samples"}
    assert {name for name in names if f"`{name}`" not in page} <= own
