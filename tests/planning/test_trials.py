"""Trainings with several radii: what is compared, and what is chosen."""

import math
from types import SimpleNamespace

import pytest
import torch
from bundle_run import ROOT

from monai_ima.errors import RejectedError
from monai_ima.handlers import MarginUpdateHandler
from monai_ima.planning import Proposal, TrainingParts, make_plan, planner, trials
from monai_ima.planning.trials import (
    BestEpoch,
    Trial,
    largest_not_worse,
    of_size,
    settled,
    try_radii,
)

MOONS = ROOT / "bundles" / "moons_ima" / "train.json"
SMALL = {"training_samples": 60, "shape": "moons", "max_epochs": 4}
PROPOSAL = Proposal((0.0, 0.2, 0.4), 1.6, 0.8, 4, 0.2, 0.5)


def test_all_but_the_radius_is_the_same_and_the_same_again():
    parts = TrainingParts([MOONS], **SMALL)
    asked = {"samples": 50, "seed": 3}

    found = try_radii(parts, PROPOSAL, **asked)

    assert [each.eps_max for each in found] == [1.6, 3.2, 6.4]
    assert [each.delta for each in found] == [each.eps_max / 4 for each in found]
    assert {(each.level, each.samples) for each in found} == {(0.2, 50)}
    objective = parts["objective"]
    assert float(objective.margins.eps_max) == 6.4
    assert found[-1].margin == pytest.approx(float(objective.margins.margins.mean()))
    assert try_radii(TrainingParts([MOONS], **SMALL), PROPOSAL, **asked) == found


@pytest.mark.parametrize(
    ("areas", "error", "radius"),
    [
        ((0.6, 0.8, 0.7), 0.02, 2),
        ((0.6, 0.8, 0.77), 0.04, 4),
        ((0.79, 0.8, 0.7), 0.02, 2),
        ((0.8, 0.77, 0.7), 0.02, 1),
        ((0.8, 0.7, 0.79), 0.02, 4),  # even where one between is worse
        ((1.0, 1.0, 0.99), 0.0, 2),  # none of them errs: nothing is known of the spread
    ],
)
def test_the_largest_within_one_standard_error_of_the_best_is_taken(areas, error, radius):
    by_radius = dict(zip((1.0, 2.0, 4.0), areas, strict=True))
    assert largest_not_worse(by_radius, error) == radius
    turned = dict(reversed(by_radius.items()))
    assert largest_not_worse(turned, error) == radius


def test_validation_samples_choose():
    found = [
        Trial(0.8, 0.4, 4, 0.68, 0.3, 0.2, 100, 0.6),
        Trial(1.6, 0.8, 4, 0.7, 0.04, 0.2, 100, 1.2),  # the best, whose error counts
        Trial(3.2, 1.6, 2, 0.65, 0.3, 0.2, 100, 2.0),
    ]
    margins = torch.tensor([0.0, 0.1, 0.5, 0.9, math.inf])

    chosen = settled(PROPOSAL, found, margins)

    assert (chosen.eps_max, chosen.delta, chosen.nearer) == (1.6, 0.8, 0.5)
    assert (chosen.noise_levels, chosen.max_epochs) == (PROPOSAL.noise_levels, 4)


def test_a_plan_says_by_what_it_was_chosen(monkeypatch):
    monkeypatch.setattr(
        trials,
        "trial",
        lambda *_, eps_max, delta, **__: Trial(
            eps_max, delta, 4, min(eps_max, 0.9), 0.047, 0.1, 40, 3 * delta
        ),
    )
    parts = TrainingParts([MOONS], **{**SMALL, "max_epochs": 30})

    plan = make_plan(parts, samples=40, trials=True)

    plain = make_plan(parts, samples=40)
    assert plan.proposal.eps_max == pytest.approx(4 * plain.proposal.eps_max, rel=0.01)
    assert plan.proposal.delta == pytest.approx(4 * plain.proposal.delta, rel=0.01)
    assert plan.proposal.noise_levels == plain.proposal.noise_levels
    words = " ".join(plan.text().split())
    assert plan.proposal.nearer > 0.5
    assert "nearer than delta" not in words
    assert "in the end of that training the mean margin was 3 times as large" in words
    assert "the largest of 3 within one standard error (0.047) of the best" in words
    assert [each["eps_max"] for each in plan.to_dict()["trials"]] == [
        each.eps_max for each in plan.trials
    ]
    assert plain.to_dict()["trials"] == []


def test_no_trial_warns_of_its_delta_since_what_comes_of_it_is_seen(monkeypatch):
    made = []

    def handler(*given, **settings):
        made.append(MarginUpdateHandler(*given, **settings))
        return made[-1]

    monkeypatch.setattr(trials, "MarginUpdateHandler", handler)
    parts = TrainingParts([MOONS], **SMALL)
    try_radii(parts, PROPOSAL, samples=20, seed=0, say=lambda _: None)
    assert [each.warns for each in made] == [False] * 3


def test_a_radius_that_is_given_is_not_tried():
    with pytest.raises(RejectedError, match="got --eps_max beside --trials"):
        make_plan(TrainingParts([MOONS], **SMALL, eps_max=0.5), trials=True)


def test_more_validation_samples_are_looked_at_where_they_compare(monkeypatch):
    asked = []

    def pilot(*_, samples, **__):
        asked.append(samples)
        raise RejectedError("enough is known")

    monkeypatch.setattr(planner, "run_pilot", pilot)
    for settings in ({}, {"trials": True}, {"trials": True, "samples": 20}):
        with pytest.raises(RejectedError, match="enough"):
            make_plan(TrainingParts([MOONS], **SMALL), **settings)
    assert asked == [128, 400, 20]


def test_margins_grow_to_the_radius_in_the_epochs_of_the_proposal():
    assert of_size(PROPOSAL, 0.8, margin_interval=1) == {"eps_max": 0.8, "delta": 0.2}
    assert of_size(PROPOSAL, 0.8, margin_interval=9) == {"eps_max": 0.8, "delta": 0.8}


def test_the_best_epoch_is_kept_with_its_weights(monkeypatch):
    network = torch.nn.Linear(1, 1)
    parts = {
        "network": network,
        "norm": "linf",
        "attack_steps": 1,
        "bounds": [0, 1],
        "evaluation_batch_size": 8,
        "best_by": "balanced_accuracy",
    }
    margins = {2: [0.0, 0.2], 4: [0.1, 0.2], 5: [0.2, 0.2], 6: [0.0, 0.0]}
    epoch = 0

    def found(*_, **__):
        return SimpleNamespace(margins=torch.tensor(margins[epoch]))

    monkeypatch.setattr(trials, "closest_errors", found)
    best = BestEpoch(parts, None, torch.tensor([0, 1]), level=0.15, first=2)
    for epoch in range(1, 7):
        network.bias.data.fill_(epoch)
        best(SimpleNamespace(state=SimpleNamespace(epoch=epoch, max_epochs=6)))
    # at 4 both are correct and one is robust; 5, where both are, is not looked at
    assert (best.epoch, best.area) == (4, 0.75)
    assert best.weights["bias"].item() == 4


def test_the_last_epoch_is_looked_at(monkeypatch):
    network = torch.nn.Linear(1, 1)
    parts = {"network": network, "norm": "linf", "attack_steps": 1, "bounds": [0, 1]}
    parts |= {"evaluation_batch_size": 8, "best_by": "accuracy"}
    monkeypatch.setattr(
        trials, "closest_errors", lambda *_, **__: SimpleNamespace(margins=torch.ones(2))
    )
    best = BestEpoch(parts, None, torch.tensor([0, 1]), level=0.1, first=0)
    best(SimpleNamespace(state=SimpleNamespace(epoch=1, max_epochs=1)))
    assert (best.epoch, best.area) == (1, 1.0)


@pytest.mark.parametrize(("best_by", "area"), [("balanced_accuracy", 0.5), ("accuracy", 0.8)])
def test_classes_count_alike_unless_the_bundle_counts_samples_alike(monkeypatch, best_by, area):
    """A network that calls everybody normal, in a set where four of five are."""
    parts = {"network": torch.nn.Linear(1, 1), "norm": "linf", "attack_steps": 1, "bounds": [0, 1]}
    parts |= {"evaluation_batch_size": 8, "best_by": best_by}
    margins = torch.tensor([1.0, 1, 1, 1, 0])
    monkeypatch.setattr(trials, "closest_errors", lambda *_, **__: SimpleNamespace(margins=margins))
    best = BestEpoch(parts, None, torch.tensor([0, 0, 0, 0, 1]), level=0.1, first=0)
    best(SimpleNamespace(state=SimpleNamespace(epoch=1, max_epochs=1)))
    assert best.area == pytest.approx(area)


def test_no_radius_is_beyond_the_data():
    found = try_radii(TrainingParts([MOONS], **SMALL), PROPOSAL, samples=20, largest=3.0, seed=0)
    assert [each.eps_max for each in found] == [1.6, 3.0]
    assert all(0 < each.error < 0.2 for each in found)
