"""How one of several processes ends in an error, and what torchrun says of it."""

import json
import os
import subprocess
import sys

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

PROGRAM = """
from monai_ima.bundle import one_of_several, say_errors_last

one_of_several._PATIENCE = 0
say_errors_last()
raise {error}
"""
GONE = (
    "RuntimeError('[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:31123.')"
)
OWN = "ValueError('expected beta from 0 to 1, got 7')"


def ended(error, **variables):
    """What a process says that ends in an error."""
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(error=error)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables,
    )
    assert found.returncode == 1
    return found.stderr


def test_torchrun_ends_with_what_went_wrong(tmp_path):
    file = tmp_path / "error.json"
    ended(OWN, WORLD_SIZE="2", RANK="1", TORCHELASTIC_ERROR_FILE=str(file))

    failure = ProcessFailure(local_rank=1, pid=7, exitcode=1, error_file=str(file))
    table = str(ChildFailedError("monai.bundle", {1: failure}))
    assert "traceback : Stopped: ValueError: expected beta from 0 to 1, got 7\n===" in table
    assert json.loads(file.read_text())["message"]["message"].startswith("Stopped: ")


def test_a_process_that_lost_another_says_so_in_a_line_and_blames_nobody(tmp_path):
    file = tmp_path / "error.json"
    said = ended(GONE, WORLD_SIZE="2", RANK="1", TORCHELASTIC_ERROR_FILE=str(file))

    assert said.startswith("\nStopped: process 1 has lost another one, which has stopped before: ")
    assert "Connection closed by peer" in said
    assert "Traceback" not in said
    assert not file.exists()


@pytest.mark.parametrize(("error", "size"), [(GONE, "1"), (OWN, "2")])
def test_any_other_error_has_its_traceback(error, size):
    said = ended(error, WORLD_SIZE=size)
    assert "Traceback" in said
    assert "has lost another one" not in said
