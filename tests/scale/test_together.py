"""Several processes that train together come to what one comes to that is given the same batches."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from together import CASES

SCRIPT = Path(__file__).with_name("together.py")
EMPTY = ("seen", "nearest", "missed")  # counts, and what is forgotten after an epoch
LIMIT = 180  # seconds, after which processes that wait for one another are ended


def trained(processes, folder):
    """What one process has come to, and what each of several has."""
    started = subprocess.Popen(
        [sys.executable, "-W", "ignore", SCRIPT, str(processes), folder],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        assert started.wait(LIMIT) == 0
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        raise
    return [torch.load(folder / f"{name}.pt") for name in ("one", *range(processes))]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return trained(2, tmp_path_factory.mktemp("two"))


def check(case, one, *others):
    for each in others:
        torch.testing.assert_close(each["memory"], one["memory"], rtol=0, atol=0)
        torch.testing.assert_close(each["robust"], one["robust"])
        torch.testing.assert_close(each["weights"], one["weights"], rtol=0, atol=1e-12)
        assert each["validation"] == one["validation"]
        assert each["training"] == pytest.approx(one["training"], abs=1e-6)
    for each in others[1:]:
        torch.testing.assert_close(each, others[0], rtol=0, atol=0)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_processes_come_to_what_one_does(two, case):
    one, *others = (each[str(case)] for each in two)
    check(case, one, *others)
    if case.one_sided:  # and it stays so
        assert one["training"]["accuracy"] == 0.5
    for name, remembered in one["memory"].items():
        assert remembered.unique().numel() > 1 or name in EMPTY  # the test could fail


@pytest.mark.slow
def test_three_processes_come_to_what_one_does(tmp_path):
    three = trained(3, tmp_path)
    for case in CASES:
        one, *others = (each[str(case)] for each in three)
        check(case, one, *others)
