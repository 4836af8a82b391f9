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
SEEDS = {"ecg": 9, "fashion_mnist": 9, "oct_64": 9, "oct_224": 8, "hippocampus": 27}


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("plans", script.plans(RESULTS)),
        ("areas", script.areas(RESULTS)),
        ("unseen", script.areas(script.unseen(RESULTS))),
    ],
)
def test_tables_of_the_page_are_those_of_the_result_files(name, table):
    page = (ROOT / "docs" / "results" / "plan.md").read_text()
    (text,) = re.findall(rf"<!-- {name} -->\n((?:.+\n)+)", page)
    assert text.strip() == table


@pytest.mark.parametrize("data", script.TASKS)
def test_proposals_follow_from_the_margins_that_were_measured(data):
    for plan in RESULTS[data]["plans"].values():
        margins = plan["plain_network"]["margins"]
        epochs = plan["plain_network"]["epochs"]
        proposed = propose(
            torch.tensor([math.inf if m is None else m for m in margins], dtype=torch.float64),
            largest=math.inf,
            margin_interval=2,
            fewest_epochs=epochs,
        )
        assert plan["proposal"] == {
            "noise_levels": list(proposed.noise_levels),
            "eps_max": proposed.eps_max,
            "delta": proposed.delta,
            "max_epochs": proposed.max_epochs,
        }


@pytest.mark.parametrize("data", script.TASKS)
def test_every_factor_has_been_trained_with_every_seed(data):
    content = RESULTS[data]
    runs = [(run["seed"], run["factor"]) for run in content["runs"]]
    seeds = SEEDS[data]
    assert sorted(runs) == [(seed, factor) for seed in range(seeds) for factor in script.FACTORS]
    assert list(content["plans"]) == [str(seed) for seed in range(seeds)]
    assert all(len(areas) == seeds for areas in script.by_factor(content).values())
    for run in content["runs"]:
        proposed = content["plans"][str(run["seed"])]["proposal"]["eps_max"]
        assert run["eps_max"] == pytest.approx(run["factor"] * proposed)


def test_areas_are_means_of_the_accuracy_over_the_levels():
    content = {
        "plans": {
            "0": {"proposal": {"eps_max": 0.4, "noise_levels": [0, 0.05, 0.1]}},
            "1": {"proposal": {"eps_max": 0.8, "noise_levels": [0, 0.1, 0.2]}},
        },
        "runs": [
            {"seed": seed, "factor": factor, "margins": margins}
            for factor in script.FACTORS
            for seed, margins in ((0, [0, 0.06, 0.2, None]), (1, [0, 0, 0, 0.1 * factor]))
        ],
    }
    found = script.by_factor(content)
    # 3/4 of the samples at 0, 3/4 at 0.05, 2/4 at 0.1; and 1/4 at 0 and at 0.1, none at 0.2
    assert found[2] == pytest.approx([0.6875, 0.1875])
    del content["runs"][0]
    assert all(len(areas) == 1 for areas in script.by_factor(content).values())


def test_trials_choose_by_validation_samples():
    content = {
        "plans": {
            str(seed): {
                "proposal": {"eps_max": 0.4, "noise_levels": [0, 0.1]},
                "samples": {"validation": 100},
            }
            for seed in range(2)
        },
        "runs": [
            {
                "seed": seed,
                "factor": factor,
                "validation_area": validation[factor],
                "margins": [0.0] * (4 - right) + [None] * right,
            }
            for seed, validation in enumerate(
                [
                    {0.25: 0.9, 0.5: 0.9, 1: 0.80, 2: 0.77, 4: 0.75},
                    {0.25: 0.9, 0.5: 0.9, 1: 0.80, 2: 0.75, 4: 0.75},
                ]
            )
            for factor, right in zip(script.FACTORS, (0, 1, 2, 3, 4), strict=True)
        ],
    }
    assert script.by_trials(content, 400) == pytest.approx([0.75, 0.5])  # of twice, and of once
    assert script.by_trials(content, 25) == pytest.approx([1, 1])  # that many cannot tell


def test_seeds_of_which_a_run_is_missing_are_left_out():
    runs = [
        {"seed": seed, "factor": factor, "margins": [None], "validation_area": factor / 4}
        for seed in (3, 4, 5)
        for factor in script.FACTORS
        if (seed, factor) != (4, 2)
    ]
    plan = {"proposal": {"noise_levels": [0, 0.1]}, "samples": {"validation": 1}}
    content = {"plans": dict.fromkeys("345", plan), "runs": runs}
    assert script.complete_seeds(content) == [3, 5]
    assert script.by_trials(content, 1) == [1, 1]


def test_seeds_by_which_the_rule_was_decided_have_no_part_in_the_second_table():
    content = {"plans": {}, "runs": [{"seed": seed} for seed in (0, 5, 6, 21)]}
    found = script.unseen({"ecg": content, "hippocampus": content})
    assert [run["seed"] for run in found["ecg"]["runs"]] == [6, 21]
    assert [run["seed"] for run in found["hippocampus"]["runs"]] == [21]


def test_what_the_proposal_lacks_has_an_interval_over_the_seeds():
    best, middle, low, high = script.loss({0.5: [0.2, 0.2], 2: [0.5, 0.5]}, [0.45, 0.42])
    assert best == 2
    assert middle == pytest.approx(0.13)  # of 10 % and 16 %
    assert (high - low) / 2 == pytest.approx(12.706 * 0.03, rel=1e-3)
    assert script.loss({1: [0.5], 2: [0.4]}, [0.5])[:2] == (1, 0)
