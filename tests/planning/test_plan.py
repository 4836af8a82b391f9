"""A plan of a bundle: what was given stays, what was seen is told, what makes no sense is rejected."""

import json
import re
from dataclasses import replace

import pytest
import torch
from bundle_run import ROOT

from monai_ima.errors import RejectedError
from monai_ima.planning import Times, TrainingParts, make_plan, planner, run_pilot
from monai_ima.planning.plan import duration
from monai_ima.planning.quicker import Quicker
from monai_ima.report import Units
from monai_ima.robustness import closest_errors

MOONS = ROOT / "bundles" / "moons_ima" / "train.json"
SMALL = {"training_samples": 100, "max_epochs": 30, "shape": "moons"}


@pytest.fixture(scope="module")
def parts():
    return TrainingParts([MOONS], **SMALL)


@pytest.fixture(scope="module")
def plan(parts):
    return make_plan(parts, samples=40)


def test_margins_are_those_of_the_network_that_was_trained(plan, parts):
    assert plan.pilot.accuracy > 0.8
    again = make_plan(parts, samples=40)
    assert torch.equal(again.pilot.margins, plan.pilot.margins)
    assert again.proposal == plan.proposal
    low, high = parts["bounds"]
    validation = parts["datalist"].validation
    all_of_them = closest_errors(
        parts["network"],
        validation.inputs,
        validation.labels,
        eps=[plan.pilot.largest],
        norm=parts["norm"],
        bounds=(low, high),
    ).margins
    for margin in plan.pilot.margins:  # each is that of a validation sample
        assert float((all_of_them - margin).abs().min()) < 0.02 * float(margin) + 1e-9


def test_the_plain_network_has_the_class_weights_of_the_training(plan):
    parts = TrainingParts([MOONS], **SMALL, class_weights=[1.0, 5.0])
    weighted = make_plan(parts, samples=40)
    assert not torch.equal(weighted.pilot.margins, plan.pilot.margins)


def test_settings_are_the_given_ones_and_the_chosen_ones(plan):
    assert plan.settings | SMALL | {"max_epochs": 30} == plan.settings
    assert set(plan.settings) == {*SMALL, "eps_max", "delta", "noise_levels"}
    assert plan.settings["eps_max"] == pytest.approx(
        4 * plan.settings["noise_levels"][-1], rel=0.01
    )


def test_json_and_text_say_what_was_seen_and_why(plan):
    content = json.loads(json.dumps(plan.to_dict()))
    assert content["proposal"]["eps_max"] == plan.proposal.eps_max
    assert set(content["reasons"]) == set(content["proposal"])
    assert content["samples"]["training"] == 100
    assert len(content["plain_network"]["margins"]) == 40
    said = plan.text()
    for name, reason in plan.reasons.items():
        assert re.search(rf"\n  {name} ", said)
        assert reason.split()[0] in said
    assert "100 training, " in said
    assert "the test samples were not looked at" in " ".join(said.split())
    assert plan.reasons["max_epochs"] == "given"
    assert "it will take about" in said


def test_it_warns_where_margins_cannot_follow(parts):
    few = TrainingParts([MOONS], **{**SMALL, "eps_max": 19.0, "bounds": [-20.0, 20.0]})
    plan = make_plan(few, samples=40)
    assert any("the decision boundary is nearer than delta" in said for said in plan.warnings)
    assert "LOOK  the decision boundary is nearer than delta" in plan.text()


def test_lines_with_long_units_are_wrapped(plan):
    of_range = Units(
        "percent of the image's brightness range (0.5th to 99.5th percentile)", 100.0, 2
    )

    lines = replace(plan, units=of_range).text().splitlines()

    assert max(map(len, lines)) <= 100


def test_times_add_up():
    times = Times(epoch=10, margin_pass=4, validation=1, curve=100)
    kwargs = {"epochs": 7, "margin_interval": 2, "val_interval": 3, "robust_interval": 4}
    assert times.training(**kwargs) == 7 * 10 + 3 * 4 + 2 * 1 + 2 * 100
    assert times.training(**kwargs | {"robust_interval": 0}) == 7 * 10 + 3 * 4 + 2 * 1 + 100


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 second"),
        (80, "80 seconds"),
        (100, "2 minutes"),
        (7200, "2 hours"),
        (10**6, "12 days"),
    ],
)
def test_durations_are_round(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"delta": 0.1}, "got --delta; give --max_epochs instead"),
        ({"epss_max": 0.1}, "did you mean"),
        ({"eps_max": -1}, "expected eps_max to be"),
        ({"max_epochs": 1, "learning_rate": 1e-9}, "expected the plain network to learn something"),
        ({"max_epochs": 1, "learning_rate": 1e-9}, "monai-ima datalist with --fractions"),
        ({"class_weights": [1.0, 1e6]}, "expected the plain network to learn something"),
    ],
)
def test_what_cannot_be_planned_is_rejected(given, said):
    with pytest.raises(RejectedError, match=re.escape(said)):
        make_plan(TrainingParts([MOONS], **SMALL | given), samples=40)


def test_a_network_that_calls_everybody_the_same_has_learned_nothing(parts, monkeypatch):
    labels = torch.tensor([0] * 36 + [1] * 4)

    def pilot(*given, **settings):
        found = run_pilot(*given, **settings)
        return replace(found, margins=(labels == 0).double(), labels=labels)

    monkeypatch.setattr(planner, "run_pilot", pilot)
    with pytest.raises(RejectedError, match=r"90.0% of 40 .* and 50.0% balanced over 2 classes"):
        make_plan(parts, samples=40)


def test_few_samples_are_rejected(parts):
    with pytest.raises(RejectedError, match="at least 10 samples for a median margin, got 9"):
        make_plan(parts, samples=9)


def test_no_folder_of_a_run_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_plan(TrainingParts([MOONS], **SMALL), samples=40)
    assert not list(tmp_path.iterdir())


def test_the_text_says_what_makes_a_long_training_shorter(plan):
    shorter = Quicker({"image_size": [24, 24], "val_interval": 4}, 5400, "which shows less")
    said = replace(plan, seconds=86400.0, quicker=[shorter]).text()
    words = "with --image_size '[24, 24]' --val_interval 4 about 1.5 hours: which shows less"
    assert "it will take about 24 hours on" in said
    assert f"\n  {words}" in said
    content = replace(plan, quicker=[shorter]).to_dict()
    assert content["quicker"][0]["settings"]["val_interval"] == 4
