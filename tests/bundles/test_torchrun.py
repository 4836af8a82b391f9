"""Whole commands that several processes make at once, as ``torchrun`` starts them."""

import os
import re
import subprocess
import sys

import pytest
from bundle_run import ROOT, bundle_words, run_bundle

MOONS = ROOT / "bundles" / "moons_ima"
COMMANDS = {"train": ["train.json"], "evaluate": ["train.json", "evaluate.json"]}
# What of an earlier run is moved or read by the next command.
EARLIER = ("checkpoint.pt", "model.pt", "robustness.json", "events.out.tfevents.1", "plane/1.png")


@pytest.fixture
def ranks(tmp_path):
    """Give how ranks run the configs with settings in an earlier folder and in a fresh one."""

    def are_rejected_and_write_nothing(run):
        for path in (tmp_path / "earlier" / each for each in EARLIER):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{path.name} of the earlier run")
        before = tree(tmp_path)
        for folder in ("earlier", "fresh"):
            ended = run(output_dir=tmp_path / folder, max_epochs=1)
            assert ended.returncode != 0
            yield ended.stderr.rstrip()
            assert tree(tmp_path) == before

    return are_rejected_and_write_nothing


def tree(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("name", COMMANDS)
def test_no_rank_touches_the_folder_of_an_earlier_run_or_makes_a_new_one(
    ranks, monkeypatch, name, rank
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    configs = [MOONS / file for file in COMMANDS[name]]
    for stderr in ranks(lambda **settings: run_bundle(*configs, **settings)):
        assert stderr.splitlines()[-1].startswith(
            f"Stopped: RuntimeError: expected one process, got WORLD_SIZE=2 (this is rank {rank})"
        )


def torchrun(*configs, **settings):
    words = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
    return subprocess.run(
        [sys.executable, *words, "monai.bundle", *bundle_words(*configs, **settings)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        check=False,
    )


@pytest.mark.slow
def test_torchrun_itself(ranks):
    for stderr in ranks(lambda **settings: torchrun(MOONS / "train.json", **settings)):
        stopped = (
            r"^Stopped: RuntimeError: expected one process, got WORLD_SIZE=2 \(this is rank (\d)"
        )
        said = re.findall(stopped, stderr, re.MULTILINE)
        # torchrun may stop the other one while it still imports
        cut_off = stderr.count("closing signal SIGTERM")
        assert said
        assert set(said) <= {"0", "1"}
        assert len(said) + cut_off >= 2


@pytest.mark.slow
def test_with_the_file_of_several_processes_they_make_one_run_together(tmp_path):
    configs = MOONS / "train.json", ROOT / "bundles" / "scale" / "multi_gpu_train.json"
    small = {"max_epochs": 1, "training_samples": 62, "margin_steps": 2, "eval_steps": 2}
    ended = torchrun(*configs, **small, device="cpu", output_dir=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("checkpoint.pt  everything that --resume true needs") == 1
    assert ended.stdout.count("epoch 1/1  train_loss_clean") == 1
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1
    assert (tmp_path / "margins.gif").exists()
