"""How far away the nearest other answer is: margins of predictions, for which no label is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from monai_ima.attacks import Norm, get_norm
from monai_ima.attacks.base import Bounds, Model, attacking
from monai_ima.robustness.closest import closest_errors
from monai_ima.robustness.protocols import Protocol
from monai_ima.robustness.search import ClosestErrors

_HALVINGS = 10  # levels from a thousandth of all that bounds allow


class ChangedAnswers(NamedTuple):
    """The closest point with another answer that was found for each sample.

    Attributes:
        probabilities: ``(N, C)`` at the sample.
        margins: ``(N,)`` float64 distances of the points, in units of the inputs; infinite where
            none was found.
        inputs: ``(N, *)`` the points; the sample where none was found.
        changed_probabilities: ``(N, C)`` at these points.
    """

    probabilities: Tensor
    margins: Tensor
    inputs: Tensor
    changed_probabilities: Tensor


def changed_answers(
    model: Model,
    inputs: Tensor,
    *,
    norms: Sequence[Norm | str] = ("linf", "l2"),
    protocol: Protocol | str = "minimum_norm",
    bounds: Bounds = (0.0, 1.0),
    index: Tensor | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> dict[str, ChangedAnswers]:
    """Find the smallest change of each sample that changes the model's answer, right or wrong.

    It is :func:`closest_errors` with the model's own answers for labels. The levels, which PGD and
    APGD need, double from a thousandth of the largest change that ``bounds`` allow up to that. What
    is found in one norm counts in the others, too, where it is the smaller change.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``; left as found.
        inputs: ``(N, *)`` samples.
        norms: what margins are measured in.
        protocol: attacks that look for the change.
        bounds: range of valid inputs.
        index: ``(N,)`` numbers of the samples, on which random starts depend; by default their
            places.
        seed: seed of all that is random.
        batch_size: samples that are attacked together.

    Returns:
        By the name of the norm.

    Raises:
        TypeError, ValueError: if an argument does not fit; the message says what was expected.
    """
    geometries = [get_norm(norm) for norm in norms]
    probabilities = _probabilities(model, inputs, batch_size)
    answers = probabilities.argmax(dim=1)
    found = []
    for geometry in geometries:
        whole = float(geometry.length(torch.full_like(inputs[:1], bounds[1] - bounds[0])))
        errors = closest_errors(
            model,
            inputs,
            answers,
            eps=[0.0, *(whole * 2.0**-halvings for halvings in range(_HALVINGS, -1, -1))],
            norm=geometry,
            protocol=protocol,
            bounds=bounds,
            index=index,
            seed=seed,
            batch_size=batch_size,
        )
        found.append(errors)
    closest = {geometry.name: _closest(inputs, geometry, found) for geometry in geometries}
    return {
        name: ChangedAnswers(
            probabilities,
            errors.margins,
            errors.inputs,
            _probabilities(model, errors.inputs, batch_size),
        )
        for name, errors in closest.items()
    }


def _closest(inputs: Tensor, norm: Norm, found: Sequence[ClosestErrors]) -> ClosestErrors:
    """For each sample, the nearest in a norm of what was found in all of them."""
    lengths = torch.stack(
        [
            norm.length(errors.inputs - inputs)
            .double()
            .masked_fill(errors.margins.isinf(), torch.inf)
            for errors in found
        ]
    )
    nearest = lengths.min(dim=0)
    points = torch.stack([errors.inputs for errors in found])
    rows = torch.arange(len(inputs), device=inputs.device)
    return ClosestErrors(points[nearest.indices, rows], nearest.values)


def percentiles_among(margins: Tensor, others: Tensor) -> Tensor:
    """Which percentage of other margins is smaller, equal ones counted by half.

    Args:
        margins: ``(N,)``, infinite where no change was found.
        others: ``(M,)`` to compare with, at least one.

    Returns:
        ``(N,)`` float64 from 0, smaller than all, to 100.
    """
    ordered = others.double().sort().values
    margins = margins.double()
    below = torch.searchsorted(ordered, margins, side="left")
    up_to = torch.searchsorted(ordered, margins, side="right")
    return 50 * (below + up_to).double() / len(ordered)


@torch.no_grad()
def _probabilities(model: Model, inputs: Tensor, batch_size: int) -> Tensor:
    with attacking(model, inputs) as classify, torch.no_grad():
        parts = [classify(part).softmax(dim=1) for part in inputs.split(batch_size)]
    return torch.cat(parts)
