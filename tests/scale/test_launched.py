"""Whole bundles run by two processes, as torchrun starts them, and starts them anew."""

import json
import random
import re
import shutil

import pytest
import torch
from bundle_run import ROOT
from launched import KILLED, Launcher
from left import left
from same import same

from monai_ima.handlers.folder_lock import make_and_lock

MOONS = ROOT / "bundles" / "moons_ima"
TRAIN, EVALUATE = MOONS / "train.json", MOONS / "evaluate.json"
SCALE = ROOT / "bundles" / "scale"
TRAIN_TOGETHER, EVALUATE_TOGETHER = (
    SCALE / f"multi_gpu_{name}.json" for name in ("train", "evaluate")
)
TRAINING = {
    "training_samples": 62,  # the last batch has two
    "batch_size": 20,
    "max_epochs": 3,
    "plane_interval": 2,
    "keep_interval": 2,
    "robust_interval": 2,
    "attack_steps": 2,
    "margin_steps": 2,
    "eval_steps": 2,
    "device": "cpu",
}
EVALUATION = TRAINING | {
    "section": "training",
    "protocol": "screen",
    "evaluation_levels": "{'linf': [0.1, 0.2], 'l2': [0.1, 0.3]}",
    "chunk_size": 61,  # the last chunk has one
    "evaluation_batch_size": 20,
    "check_samples": 10,
    "noise_draws": 1,
    "auroc_steps": 1,
}


@pytest.fixture(scope="module")
def launcher(tmp_path_factory):
    with Launcher(ROOT, tmp_path_factory.mktemp("log") / "log") as started:
        yield started


@pytest.fixture(scope="module")
def together(launcher, tmp_path_factory):
    """The folder of a training by two processes, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("together") / "run"
    return folder, launcher.run(TRAIN, TRAIN_TOGETHER, output_dir=folder, **TRAINING)


def test_two_processes_leave_what_one_does(launcher, together, tmp_path):
    launcher.run(TRAIN, output_dir=tmp_path, processes=1, **TRAINING)
    one, two = left(tmp_path), left(together[0])

    assert two.keys() == one.keys()
    for name in ("robustness.csv", "robustness.json", "metadata.json"):
        assert two[name] == one[name]
    mine, its = two["checkpoint.pt"], one["checkpoint.pt"]
    assert same(mine["objects"]["objective"], its["objects"]["objective"])
    torch.testing.assert_close(
        mine["objects"]["network"], its["objects"]["network"], rtol=0, atol=1e-6
    )
    assert same(mine["best"], its["best"])
    assert mine["identity"] == its["identity"]  # so that either goes on with the other's
    assert two["events"].keys() == one["events"].keys()
    for name, events in one["events"].items():
        if name.startswith("scalars"):
            values = [event["value"] for event in events]
            assert [e["value"] for e in two["events"][name]] == pytest.approx(values, abs=1e-6)


def check_killed(launcher, together, folder, kill):
    """Whether a process was killed: not if the run had ended. It ends as one that was left alone."""
    alone, _ = together
    before = launcher.log.read_text().count(KILLED)
    launcher.run(TRAIN, TRAIN_TOGETHER, output_dir=folder, kill=kill, **TRAINING)
    killed, undisturbed = (as_of_any_launch(left(each)) for each in (folder, alone))
    assert killed.keys() == undisturbed.keys()
    assert [n for n in killed if not same(killed[n], undisturbed[n])] == []
    return launcher.log.read_text().count(KILLED) > before


def as_of_any_launch(found):
    """Without what names the folder and the launch."""
    del found["checkpoint.pt"]["launch"], found["config.json"], found["run.json"]
    return found


def test_a_run_goes_on_when_a_process_is_killed_and_ends_as_if_it_were_not(
    launcher, together, tmp_path
):
    # an earlier run, whose checkpoint is not gone on with
    launcher.run(TRAIN, output_dir=tmp_path, processes=1, **TRAINING | {"max_epochs": 1})
    assert check_killed(launcher, together, tmp_path, kill=(1, 7))
    assert (tmp_path / "previous-1" / "checkpoint.pt").exists()
    assert not (tmp_path / "previous-2").exists()
    assert "resumed after epoch 1 from" in launcher.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(10))
def test_a_run_goes_on_when_a_process_is_killed_at_any_moment(launcher, together, tmp_path, moment):
    _, seconds = together
    draw = random.Random(moment)
    rank, delay = draw.randrange(2), draw.uniform(0, 1) * seconds
    while not check_killed(launcher, together, tmp_path / f"{delay}", (rank, delay)):
        delay /= 2


def test_two_processes_evaluate_as_one_does(launcher, together, tmp_path):
    run, _ = together
    settings = EVALUATION | {"output_dir": run}
    one, two = tmp_path / "one", tmp_path / "two"
    launcher.run(TRAIN, EVALUATE, evaluation_dir=one, processes=1, **settings)
    launcher.run(TRAIN, EVALUATE, EVALUATE_TOGETHER, evaluation_dir=two, **settings)

    found, expected = left(two), left(one)
    assert found.keys() == expected.keys()
    assert found["samples.csv"] == expected["samples.csv"]
    for mine, its in zip(*(reported(each)["curves"] for each in (two, one)), strict=True):
        assert {**mine, "forwards": 0, "gradients": 0} == {**its, "forwards": 0, "gradients": 0}
        assert mine["forwards"] == pytest.approx(its["forwards"], rel=0.3)
    assert reported(two)["checks"] == reported(one)["checks"]

    # one process goes on with what two have begun
    shutil.copytree(two, tmp_path / "again")
    launcher.run(TRAIN, EVALUATE, evaluation_dir=tmp_path / "again", processes=1, **settings)
    assert "going on after 62 samples" in launcher.log.read_text()


def reported(folder):
    return json.loads((folder / "robustness.json").read_text())


@pytest.mark.slow
def test_one_process_goes_on_with_what_two_have_begun(launcher, tmp_path):
    launcher.run(TRAIN, TRAIN_TOGETHER, output_dir=tmp_path, **TRAINING | {"max_epochs": 2})
    launcher.run(TRAIN, output_dir=tmp_path, processes=1, resume=True, **TRAINING)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["epoch"] == 3
    assert "resumed after epoch 2 from" in launcher.log.read_text()


@pytest.mark.slow
def test_a_folder_in_use_is_refused_by_every_process(launcher, tmp_path):
    make_and_lock(tmp_path, "output_dir")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RuntimeError, match="ChildFailedError"):
        launcher.run(TRAIN, TRAIN_TOGETHER, output_dir=tmp_path, **TRAINING)
    assert sorted(tmp_path.iterdir()) == before
    refused = re.findall(
        "^FolderInUseError|FolderInUseError: expected no", launcher.log.read_text()
    )
    assert len(refused) >= 2


SMALL = {
    "max_epochs": 1,
    "attack_steps": 2,
    "margin_steps": 2,
    "margin_interval": 1,
    "eval_steps": 2,
    "batch_size": 16,
    "device": "cpu",
}
FEW = {"training_samples": 65, "validation_samples": 20, "test_samples": 20}  # 4 batches and 1
BUNDLES = {
    "oct_ima": ("oct", "patients_per_class=6, images_per_patient=1", {"image_size": [16, 16]}),
    "ecg_ima": ("ecg", "patients=12, beats_per_patient=60", {"epoch_size": 65}),
    "fashion_mnist_ima": ("fashion", "training=300, test=60", FEW),
    "svhn_ima": ("svhn", "training=300, test=60", FEW),
    "moons_ima": ("", "", {"training_samples": 66}),
}
METHODS = ("ce", "adv", "ddn", "iaat", "trades", "mma", "ima")


@pytest.mark.slow
@pytest.mark.parametrize("bundle", BUNDLES)
def test_two_processes_train_every_bundle_by_every_method(launcher, tmp_path, bundle):
    data, size, settings = BUNDLES[bundle]
    if data:
        write = f"$monai_ima.data.write_synthetic_{data}('{tmp_path / data}', {size}, seed=0)"
        settings = settings | {"dataset_dir": write}  # by both at once
    for method in METHODS:
        own = {"norm": "l2", "ddn_steps": 2} if method == "ddn" else {}
        folder = tmp_path / method
        launcher.run(
            ROOT / "bundles" / bundle / "train.json",
            ROOT / "bundles" / "objectives" / f"{method}.json",
            TRAIN_TOGETHER,
            output_dir=folder,
            **SMALL | settings | own,
        )
        assert torch.load(folder / "checkpoint.pt", weights_only=True)["epoch"] == 1
        assert len(reported(folder)["curves"]) == 1
