"""Whole commands that several processes make at once, as ``torchrun`` starts them."""

import os
import re
import subprocess
import sys

import pytest
from bundle_run import ROOT

MOONS = ROOT / "bundles" / "moons_ima"
# What of an earlier run is moved or read by the next command.
EARLIER = ("checkpoint.pt", "model.pt", "robustness.json", "events.out.tfevents.1", "plane/1.png")


def torchrun(config, *flags):
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return subprocess.run(
        [sys.executable, *command, "-m", "monai.bundle", "run", "--config_file", config, *flags],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        check=False,
    )


def tree(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_no_rank_touches_the_folder_of_an_earlier_run_or_makes_a_new_one(tmp_path, name):
    for path in (tmp_path / "earlier" / each for each in EARLIER):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{path.name} of the earlier run")
    before = tree(tmp_path)
    config = [str(MOONS / "train.json"), str(MOONS / "evaluate.json")][: 1 + (name == "evaluate")]
    for folder in ("earlier", "fresh"):
        settings = ["--output_dir", str(tmp_path / folder), "--max_epochs", "1"]
        ended = torchrun(str(config), *settings)
        assert ended.returncode != 0
        stopped = (
            r"^Stopped: RuntimeError: expected one process, got WORLD_SIZE=2 \(this is rank (\d)"
        )
        said = re.findall(stopped, ended.stderr, re.MULTILINE)
        # torchrun may stop the other one while it still imports
        cut_off = ended.stderr.count("closing signal SIGTERM")
        assert said
        assert set(said) <= {"0", "1"}
        assert len(said) + cut_off >= 2
        assert tree(tmp_path) == before


@pytest.mark.slow
def test_with_the_file_of_several_processes_they_make_one_run_together(tmp_path):
    together = ROOT / "bundles" / "scale" / "multi_gpu_train.json"
    config = str([str(MOONS / "train.json"), str(together)])
    small = {"max_epochs": 1, "training_samples": 62, "margin_steps": 2, "eval_steps": 2}
    flags = [text for name, value in small.items() for text in (f"--{name}", str(value))]
    ended = torchrun(config, *flags, "--device", "cpu", "--output_dir", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("checkpoint.pt  everything that --resume true needs") == 1
    assert ended.stdout.count("epoch 1/1  train_loss_clean") == 1
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1
    assert (tmp_path / "margins.gif").exists()
