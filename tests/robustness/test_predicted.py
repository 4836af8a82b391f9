"""Margins of predictions, against those of a linear model, which are known."""

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from monai_ima.robustness import (
    ClosestErrors,
    Protocol,
    changed_answers,
    closest_errors,
    percentiles_among,
)

WEIGHTS = torch.tensor([[1.0, -2.0, 0.5, 0.25], [-1.0, 0.5, 1.5, 0.0], [0.0, 1.0, -1.0, 2.0]])


def model(inputs):
    return inputs.flatten(1) @ WEIGHTS.T


def known_margins(inputs, norm):
    """|logit difference| over the dual norm of the weights' difference, of the nearest class."""
    logits = model(inputs).double()
    answers = logits.argmax(dim=1)
    dual = {"linf": 1, "l2": 2}[norm]
    distances = [
        [
            math.inf
            if other == answer
            else float(
                (row[answer] - row[other]) / (WEIGHTS[answer] - WEIGHTS[other]).double().norm(dual)
            )
            for other in range(3)
        ]
        for row, answer in zip(logits, answers.tolist(), strict=True)
    ]
    return torch.tensor(distances).double().min(dim=1).values


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_margin_is_the_distance_to_the_nearest_other_answer_whatever_is_true(norm):
    inputs = 0.3 + 0.4 * torch.rand(7, 1, 2, 2)
    found = changed_answers(model, inputs)[norm]

    answers = model(inputs).argmax(dim=1)
    # no bound is met on the way, or the margin would be larger
    assert torch.allclose(found.margins, known_margins(inputs, norm), rtol=0.02, atol=1e-4)
    assert torch.equal(found.probabilities, model(inputs).softmax(dim=1))
    assert (found.changed_probabilities.argmax(dim=1) != answers).all()
    assert torch.equal(model(found.inputs).softmax(dim=1), found.changed_probabilities)


def test_it_is_the_margin_of_closest_errors_where_the_answer_is_right():
    inputs = torch.rand(5, 1, 2, 2)
    answers = model(inputs).argmax(dim=1)
    levels = [0.0, *(2.0**-halvings for halvings in range(10, -1, -1))]
    errors = closest_errors(model, inputs, answers, eps=levels, norm="linf")
    found = changed_answers(model, inputs, norms=["linf"])["linf"]
    assert torch.equal(found.margins, errors.margins)


def test_what_one_norm_finds_counts_in_the_other():
    inputs = torch.full((2, 1, 2, 2), 0.5)

    def found(attack_of_linf, attack_of_l2):
        points = {"linf": inputs + attack_of_linf, "l2": inputs + attack_of_l2}

        @dataclass(frozen=True)
        class Given(Protocol):
            name: ClassVar[str] = "given"
            version: ClassVar[int] = 1
            description = "points that are given"
            steps: int = 1

            def search(self, task):
                point = points[task.norm.name][: len(task.labels)]
                return ClosestErrors(point, task.norm.length(point - task.inputs).double())

        def flat(inputs):  # another answer wherever the input is not the clean one
            away = (inputs - 0.5).flatten(1).abs().amax(dim=1) > 1e-3
            return torch.stack([~away, away], dim=1).float()

        return changed_answers(flat, inputs, protocol=Given())

    # in L2, one value by 0.1 is nearer than all four by 0.25, and in Linf, too
    one = torch.tensor([0.1, 0, 0, 0]).view(1, 1, 2, 2)
    both = found(attack_of_linf=0.25, attack_of_l2=one)
    assert torch.equal(both["linf"].inputs, both["l2"].inputs)
    for norm in ("linf", "l2"):
        assert (both[norm].margins <= 0.1).all()


def test_margin_of_a_constant_answer_is_infinite():
    def constant(inputs):
        return 0 * inputs.flatten(1)[:, :3] + torch.tensor([1.0, 0.0, 0.0])

    found = changed_answers(constant, torch.rand(3, 1, 2, 2), protocol="blackbox")["l2"]
    assert found.margins.isinf().all()
    assert torch.equal(found.probabilities, found.changed_probabilities)


def test_percentile_is_the_share_that_is_smaller_and_half_of_the_equal():
    others = torch.tensor([0.1, 0.2, 0.2, 0.4, math.inf])
    margins = torch.tensor([0.05, 0.1, 0.15, 0.2, 0.3, 0.5, math.inf])
    expected = torch.tensor([0, 10, 20, 40, 60, 80, 90]).double()
    assert torch.allclose(percentiles_among(margins, others), expected)
