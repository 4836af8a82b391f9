"""The page about plans says what the result files say, and these hang together."""

import importlib.util
import math
import re
from pathlib import Path

import pytest
import torch

from monai_ima.planning import propose

ROOT = Path(__file__).resolve().parents[1]
spec = importlib.util.spec_from_file_location("plan_grid", ROOT / "scripts" / "plan_grid.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
RESULTS = script.read()


@pytest.mark.parametrize("table", ["plans", "areas"])
def test_tables_of_the_page_are_those_of_the_result_files(table):
    page = (ROOT / "docs" / "results" / "plan.md").read_text()
    (text,) = re.findall(rf"<!-- {table} -->\n((?:.+\n)+)", page)
    assert text.strip() == getattr(script, table)(RESULTS)


@pytest.mark.parametrize("data", script.TASKS)
def test_proposals_follow_from_the_margins_that_were_measured(data):
    plan = RESULTS[data]["plan"]
    margins = [math.inf if value is None else value for value in plan["plain_network"]["margins"]]
    epochs = plan["given"]["max_epochs"]
    proposed = propose(
        torch.tensor(margins, dtype=torch.float64),
        largest=math.inf,
        margin_interval=plan["given"]["margin_interval"],
        fewest_epochs=epochs,
        max_epochs=epochs,
    )
    assert plan["proposal"] == {
        "noise_levels": list(proposed.noise_levels),
        "eps_max": proposed.eps_max,
        "delta": proposed.delta,
        "max_epochs": epochs,
    }


@pytest.mark.parametrize("data", script.TASKS)
def test_every_factor_has_been_trained_with_every_seed(data):
    content = RESULTS[data]
    runs = [(run["seed"], run["eps_max"]) for run in content["runs"]]
    seeds = {seed for seed, _ in runs}
    assert len(seeds) == (2 if data == "oct_224" else 3)
    assert len(runs) == len(set(runs)) == len(script.FACTORS) * len(seeds)
    assert all(len(areas) == len(seeds) for areas in script.by_factor(content).values())


def test_areas_are_means_of_the_accuracy_over_the_levels():
    content = {
        "plan": {"proposal": {"eps_max": 0.4, "noise_levels": [0, 0.05, 0.1]}},
        "runs": [
            {"seed": seed, "eps_max": factor * 0.4, "robustness": margins}
            for factor in script.FACTORS
            for seed, margins in ((0, [0, 0.06, 0.2, None]), (1, [0, 0, 0, factor]))
        ],
    }
    found = script.by_factor(content)
    # 3/4 of the samples at 0, 3/4 at 0.05, 2/4 at 0.1
    assert found[2] == pytest.approx([0.6875, 0.25])
    del content["runs"][0]
    assert all(len(areas) == 1 for areas in script.by_factor(content).values())


def test_what_the_proposal_lacks_has_an_interval_over_the_seeds():
    best, middle, low, high = script.loss({0.5: [0.2, 0.2], 1: [0.45, 0.42], 2: [0.5, 0.5]})
    assert best == 2
    assert middle == pytest.approx(0.13)  # of 10 % and 16 %
    assert (high - low) / 2 == pytest.approx(12.706 * 0.03, rel=1e-3)
    assert script.loss({1: [0.5], 2: [0.4]})[:2] == (1, 0)
