"""The command of the README, small."""

import json

import pytest
import torch
from bundle_run import ROOT, run_bundle
from monai.bundle import create_workflow
from PIL import Image

from monai_ima.attacks import loop_form
from monai_ima.attacks.forms import fixed_shape

TRAIN = ROOT / "bundles" / "moons_ima" / "train.json"
EVALUATE = TRAIN.with_name("evaluate.json")
RESULTS = ROOT / "results" / "moons"
SMALL = {
    "training_samples": 60,
    "max_epochs": 3,
    "plane_interval": 2,
    "attack_steps": 2,
    "margin_steps": 2,
    "eval_steps": 2,
    "device": "cpu",
}


def run(folder, *configs, **overrides):
    return run_bundle(TRAIN, *configs, **SMALL | {"output_dir": folder} | overrides)


@pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")
@pytest.mark.parametrize("configs", [[TRAIN], [TRAIN, EVALUATE]])
def test_the_form_of_attacks_is_that_of_the_setting(configs, tmp_path):
    if EVALUATE in configs:
        assert run(tmp_path, max_epochs=1).returncode == 0
    with loop_form("auto"):
        for form in ("fixed", "shrinking"):
            settings = SMALL | {"output_dir": str(tmp_path), "loop_form": form}
            create_workflow(config_file=list(map(str, configs)), workflow_type="train", **settings)
            assert fixed_shape(torch.zeros(1)) == (form == "fixed")


def test_run_draws_the_plane_and_is_evaluated(tmp_path):
    trained = run(tmp_path)
    assert trained.returncode == 0, trained.stderr
    with Image.open(tmp_path / "margins.gif") as animation:
        assert animation.n_frames == 3
    assert [path.name[-8:] for path in sorted((tmp_path / "plane").iterdir())] == [
        "0000.png",
        "0002.png",
        "0003.png",
    ]
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert len(checkpoint["objects"]["objective"]["margins.margins"]) == 60
    curve = json.loads((tmp_path / "robustness.json").read_text())["curves"][-1]
    assert curve["n"] == 2000

    small = {"eval_steps": 2, "noise_draws": 1, "check_samples": 0, "auroc_steps": 0}
    evaluated = run(tmp_path, EVALUATE, **small)
    assert evaluated.returncode == 0, evaluated.stderr
    curves = json.loads((tmp_path / "evaluation" / "robustness.json").read_text())["curves"]
    assert [found["norm"] for found in curves] == ["linf", "l2"]
    assert curves[0]["accuracy"][0] == pytest.approx(curve["accuracy"][0], abs=1e-3)


def test_more_than_two_classes_are_no_plane(tmp_path):
    ended = run(tmp_path, shape="suns")
    assert ended.returncode != 0
    assert "expected shape to be one of" in ended.stderr


def test_published_level_is_reached():
    curves = [
        json.loads(path.read_text())["curve"]
        for path in sorted(RESULTS.glob("default_linf_ima_seed*.json"))
    ]
    assert len(curves) == 3
    levels = zip(*(curve["accuracy"] for curve in curves), strict=True)
    at = dict(zip(curves[0]["eps"], (sum(level) / 3 for level in levels), strict=True))
    assert at[0.1] >= 0.99
    assert at[0.2] >= 0.95
