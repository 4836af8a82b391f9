"""The closest error of each sample, by the attacks of a protocol: one number makes the whole curve."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_ima.attacks import Norm, get_norm, misclassified
from monai_ima.attacks.base import Bounds, Model, checked_inputs
from monai_ima.counts import checked_count
from monai_ima.robustness.behaviour import check_answers, check_errors
from monai_ima.robustness.curve import noise_levels
from monai_ima.robustness.protocols import Protocol, get_protocol
from monai_ima.robustness.search import ClosestErrors, Task, along_the_ray


def closest_errors(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    eps: Sequence[float] | Tensor,
    norm: Norm | str,
    protocol: Protocol | str = "minimum_norm",
    bounds: Bounds | None = (0.0, 1.0),
    index: Tensor | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> ClosestErrors:
    """Find the closest misclassified point of each sample, by the attacks of a protocol.

    A sample is robust at a level where its margin is larger than that level, so that one number a
    sample makes the whole curve, and the curve cannot rise. What the attacks find is followed back
    along the straight line to the clean sample, ten times halved, since a point nearer by may be
    misclassified already: no sample is called robust for which they found an error, at whatever
    level and by whatever step. A model of which that would say nothing, since its answers are
    random or depend on the batch, is rejected, see :func:`check_answers` and :func:`check_errors`.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``; a module is attacked in eval mode
            and left as found.
        inputs: ``(N, *)`` clean samples.
        labels: ``(N,)`` true class indices.
        eps: noise levels, as :func:`noise_levels` takes them, in units of ``inputs``.
        norm: ``"linf"``, ``"l2"`` or a :class:`~monai_ima.attacks.Norm`.
        protocol: ``"minimum_norm"``, ``"paper"``, ``"screen"``, ``"strong"``, ``"blackbox"``, or one
            with settings.
        bounds: range of valid inputs, or ``None``.
        index: ``(N,)`` numbers of the samples; their random starts depend on them. By default
            their places.
        seed: seed of all that is random.
        batch_size: samples that are attacked together.

    Raises:
        TypeError, ValueError: if an argument does not fit; the message says what was expected.
    """
    inputs, labels = checked_inputs(inputs, labels, bounds)
    checked_count("batch_size", batch_size, at_least=1)
    geometry = get_norm(norm)
    levels = noise_levels(eps)
    check_range(levels, geometry, inputs, bounds)
    places = torch.arange(len(inputs), device=inputs.device)
    index = places if index is None else index.to(inputs.device)
    wrong = torch.cat(
        [labels.new_zeros(0).bool()]
        + [misclassified(model, inputs[b], labels[b]) for b in places.split(batch_size) if len(b)]
    )
    check_answers(model, inputs, batch_size=batch_size)
    margins = torch.full((len(inputs),), torch.inf, dtype=torch.float64, device=inputs.device)
    errors = ClosestErrors(inputs.clone(), margins.masked_fill(wrong, 0))
    correct = places[~wrong]
    if len(correct) == 0:
        return errors
    task = Task(
        model,
        inputs[correct],
        labels[correct],
        levels.to(inputs.device),
        geometry,
        bounds,
        index[correct],
        seed,
        batch_size,
    )
    errors.inputs[correct], errors.margins[correct] = along_the_ray(
        task, get_protocol(protocol).search(task)
    )
    found = errors.margins.isfinite() & ~wrong
    check_errors(model, errors.inputs[found], labels[found], batch_size=batch_size)
    return errors


def check_range(levels: Tensor, norm: Norm, inputs: Tensor, bounds: Bounds | None) -> None:
    """Reject levels of which the largest reaches every valid input.

    Args:
        levels: ``(L,)`` increasing.
        norm: of the levels.
        inputs: ``(N, *)``, of which the shape counts.
        bounds: range of valid inputs, or ``None``.

    Raises:
        ValueError: naming the level.
    """
    if bounds is None or len(inputs) == 0:
        return
    whole = float(norm.length(torch.full_like(inputs[:1], bounds[1] - bounds[0])))
    if levels[-1] > whole * (1 + 1e-6):
        raise ValueError(
            f"expected noise levels within the bounds' range, got the level {levels[-1]:g} where a "
            f"noise of {whole:g} ({norm.name}) reaches every valid input; correct levels or bounds"
        )
