"""The commands of the ECG bundle, small."""

import json

import pytest
import torch
from bundle_run import ROOT, run_bundle
from folders import rows_in
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_ima.data import load_ecg, write_synthetic_ecg

BUNDLE = ROOT / "bundles" / "ecg_ima"
TRAIN, PAPER, EVALUATE = (BUNDLE / f"{name}.json" for name in ("train", "paper", "evaluate"))
SMALL = {
    "max_epochs": 2,
    "epoch_size": 256,
    "attack_steps": 2,
    "margin_steps": 3,
    "margin_interval": 1,
    "robust_interval": 1,
    "eval_steps": 2,
    "evaluation_per_class": 8,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def beats(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "ecg"
    return write_synthetic_ecg(folder, patients=12, beats_per_patient=60, seed=0)


@pytest.fixture(scope="module")
def finished(beats, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    ended = run_bundle(TRAIN, **SMALL, dataset_dir=beats, output_dir=folder)
    assert ended.returncode == 0, ended.stderr
    return folder, ended.stdout


def test_run_leaves_curves_margins_and_attacked_beats(finished, beats):
    folder, stdout = finished
    report = json.loads((folder / "robustness.json").read_text())
    assert report["classes"] == ["N", "S", "V", "F", "Q"]
    assert [curve["epoch"] for curve in report["curves"]] == [1, 2]
    assert report["settings"]["split"] == "random"
    assert report["settings"]["warning"] in stdout
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    margins = checkpoint["objects"]["objective"]["margins.margins"]
    training = load_ecg(beats, training_per_class=2000, evaluation_per_class=8).training
    assert len(margins) == len(training) == report["settings"]["training_samples"]
    tags = EventAccumulator(str(folder)).Reload().Tags()
    assert {"train_loss_clean", "train_accuracy", "val_accuracy"} <= set(tags["scalars"])
    assert {"robustness/curve", "robustness/examples"} <= set(tags["images"])


def test_every_training_beat_has_its_margin_measured(finished):
    folder, _ = finished
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    margins = checkpoint["objects"]["objective"]["margins.margins"]
    delta = json.loads((folder / "robustness.json").read_text())["settings"]["objective"]["delta"]
    assert delta == 0.15
    assert ((margins >= delta) & (margins <= 0.3)).all()
    assert {delta, 2 * delta} <= set(
        margins.double().mul(1e6).round().div(1e6).tolist()
    )  # set back, and grown


def test_evaluation_reports_both_norms_and_warns(finished, beats):
    folder, _ = finished
    cheap = {"check_samples": 0, "noise_draws": 1, "auroc_steps": 1}
    settings = SMALL | {"noise_levels": [0.01, 0.1]}
    ended = run_bundle(TRAIN, EVALUATE, **settings, **cheap, dataset_dir=beats, output_dir=folder)
    assert ended.returncode == 0, ended.stderr
    report = json.loads((folder / "evaluation" / "robustness.json").read_text())
    assert [curve["norm"] for curve in report["curves"]] == ["linf", "l2"]
    assert "the protocol inter_patient" in report["warning"]
    assert report["warning"] in ended.stdout
    rows = rows_in(folder / "evaluation")
    assert {row["label"] for row in rows} == set("NSVFQ")
    assert all(row["patient"] for row in rows)


def test_papers_setting_takes_every_beat(beats, tmp_path):
    sizes = {"max_epochs": 1, "attack_steps": 1, "margin_steps": 1, "eval_steps": 1}
    sizes |= {"noise_levels": [0.1], "evaluation_per_class": 8, "device": "cpu"}
    ended = run_bundle(TRAIN, PAPER, **sizes, dataset_dir=beats, output_dir=tmp_path)
    assert ended.returncode == 0, ended.stderr
    settings = json.loads((tmp_path / "robustness.json").read_text())["settings"]
    assert settings["training_samples"] == len(load_ecg(beats).training)
    assert settings["eps_max"] == 0.3


@pytest.mark.slow
def test_resumed_run_equals_an_uninterrupted_one(finished, beats, tmp_path):
    straight, _ = finished
    assert (
        run_bundle(
            TRAIN,
            **SMALL | {"max_epochs": 1, "delta": 0.15},
            dataset_dir=beats,
            output_dir=tmp_path,
        ).returncode
        == 0
    )
    ended = run_bundle(
        TRAIN, **SMALL, delta=0.15, dataset_dir=beats, output_dir=tmp_path, resume=True
    )
    assert ended.returncode == 0, ended.stderr
    first, second = (
        torch.load(folder / "checkpoint.pt", weights_only=True)["objects"]["objective"]
        for folder in (straight, tmp_path)
    )
    assert torch.equal(first["margins.margins"], second["margins.margins"])
    first, second = (torch.load(f / "model.pt", weights_only=True) for f in (straight, tmp_path))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_records_are_no_beats(tmp_path):
    ended = run_bundle(TRAIN, **SMALL, dataset_dir=tmp_path, output_dir=tmp_path / "run")
    assert ended.returncode != 0
    assert "monai-ima prepare-ecg" in ended.stderr.splitlines()[-1]
    assert not list((tmp_path / "run").glob("*"))


def test_synthetic_beats_have_no_second_split(beats, tmp_path):
    ended = run_bundle(
        TRAIN, **SMALL, dataset_dir=beats, output_dir=tmp_path, split="inter_patient"
    )
    assert ended.returncode != 0
    assert "use the protocol random" in ended.stderr.splitlines()[-1]
