"""The small form of the benchmark begins a training, and tells the time of its epochs."""

import json
import sys

import measuring
import paper_runs
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("bundle", ["fashion_mnist_ima", "ecg_ima"])
def test_the_time_of_an_epoch_is_kept(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["paper_runs.py", "--small", "--bundles", bundle])
    paper_runs.main()
    (row,) = json.loads((tmp_path / "paper_runs_small.json").read_text())["rows"]
    assert row["bundle"] == bundle
    assert row["seconds_of_all_steps"] > 0
    assert row["seconds_of_a_validation"] > 0
    assert row["seconds_of_an_epoch"] is None  # each has a pass over the margins
    seconds = row["seconds_of_an_epoch_with_a_pass"]
    assert row["minutes_of_60_epochs"] == pytest.approx(seconds, abs=0.01)
