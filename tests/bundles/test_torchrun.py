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
