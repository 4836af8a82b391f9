"""Projected gradient descent with a radius per sample."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

from monai_ima.attacks.base import (
    Bounds,
    Classify,
    Model,
    check_radius,
    check_values,
    checked_index,
    fitting_inputs,
    fitting_radius,
)
from monai_ima.attacks.draws import SampleDraws, drawn_seed
from monai_ima.attacks.forms import search
from monai_ima.attacks.norms import Norm, get_norm, per_sample
from monai_ima.attacks.result import AttackResult
from monai_ima.attacks.rows import Rows
from monai_ima.counts import checked_count
from monai_ima.losses import soft_margin, soft_margin_slope

Until: TypeAlias = Literal["crossing", "end"]


class Ascent(NamedTuple):
    """Where each sample's iterates were when its ascent ended.

    ``current`` is the iterate where it ended, the first misclassified one where it was to end there;
    ``previous`` is the iterate before it, the clean sample itself where there is none or it was not asked
    for; ``crossed`` tells whether any iterate was misclassified.
    """

    previous: Tensor
    current: Tensor
    crossed: Tensor


def pgd(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    norm: Norm | str,
    steps: int = 20,
    step_size: float | Tensor | None = None,
    random_start: bool = True,
    until: Until = "crossing",
    bounds: Bounds | None = (0.0, 1.0),
    loss: Callable[[Tensor, Tensor], Tensor] = soft_margin,
    index: Tensor | None = None,
    generator: torch.Generator | None = None,
    where: Tensor | None = None,
) -> AttackResult:
    """Search the ball around each sample for a misclassified point, by projected gradient ascent.

    By default a sample is done with its first misclassified iterate, the start and the last one
    among them, and needs no further gradient: the others go on as a smaller batch.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``; a module is attacked in eval mode
            and left exactly as found.
        inputs: ``(N, *)`` clean samples, any number of trailing dimensions.
        labels: ``(N,)`` true class indices.
        eps: radius of the ball, a number or ``(N,)``, in units of ``inputs``.
        norm: ``"linf"``, ``"l2"`` or a :class:`Norm`.
        steps: number of gradient steps; ``steps + 1`` iterates are looked at.
        step_size: length of a step, a number or ``(N,)``, in units of ``inputs``; by default
            ``4 * eps / steps``, the authors' choice.
        random_start: start at a point drawn uniformly from the ball, instead of at the sample.
        until: ``"crossing"``, a sample stops at its first misclassified iterate, or ``"end"``,
            every sample takes all steps, as far up as it gets.
        bounds: range of valid inputs, kept by every iterate, or ``None``.
        loss: what is climbed, logits and labels to ``(N,)`` values. The soft margin has
            cross-entropy's direction without its vanishing gradient.
        index: ``(N,)`` numbers of the samples, on which the random starts depend; by default their
            places in the batch.
        generator: source of the random starts' seed; torch's global one on the CPU by default.
        where: ``(N,)`` bool, the samples to attack; the others are handed back as they are.

    Returns:
        For each sample the iterate where it stopped; ``success`` where any was misclassified.

    Raises:
        TypeError, ValueError: if an argument does not fit; the message says what was expected.

    Source:
        Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018.
    """
    if until not in get_args(Until):
        raise ValueError(f"expected until to be one of {get_args(Until)}, got {until!r}")
    geometry = get_norm(norm)
    inputs, labels = fitting_inputs(inputs, labels, bounds)
    function = partial(
        _pgd,
        norm=geometry,
        steps=steps,
        random_start=random_start,
        until=until,
        bounds=bounds,
        loss=loss,
    )
    known = ascent_arguments(
        inputs, eps, step_size, index, steps=steps, random_start=random_start, generator=generator
    )
    return search(model, geometry, function, inputs, labels, *known, where=where)


def _pgd(
    classify: Classify, rows: Rows, inputs: Tensor, *known: Tensor, norm: Norm, **settings: Any
) -> AttackResult:
    ascent = ascend(classify, rows, inputs, *known, norm=norm, **settings)
    return AttackResult(ascent.current, ascent.crossed, norm.length(ascent.current - inputs))


def ascent_arguments(
    inputs: Tensor,
    eps: float | Tensor,
    step_size: float | Tensor | None,
    index: Tensor | None,
    *,
    steps: int,
    random_start: bool,
    generator: torch.Generator | None,
) -> tuple[Tensor, ...]:
    """Radius and length of a step ``(N,)``, number ``(N,)`` of each sample, and the starts' seed ``()``.

    Arguments as in :func:`pgd`.
    """
    checked_count("steps", steps, at_least=1)
    radius = fitting_radius("eps", eps, inputs)
    step = 4 * radius / steps if step_size is None else step_size
    step = fitting_radius("step_size", step, inputs)
    seed = drawn_seed(generator) if random_start else 0
    if not isinstance(seed, Tensor):
        seed = torch.full((), seed, device=inputs.device)
    return radius, step, checked_index(index, inputs), seed


def ascend(
    classify: Classify,
    rows: Rows,
    inputs: Tensor,
    labels: Tensor,
    eps: Tensor,
    step: Tensor,
    index: Tensor,
    seed: Tensor,
    start: Tensor | None = None,
    *,
    norm: Norm,
    steps: int,
    random_start: bool,
    bounds: Bounds | None,
    loss: Callable[[Tensor, Tensor], Tensor],
    until: Until = "crossing",
    keep_previous: bool = False,
) -> Ascent:
    """Climb ``loss`` inside each sample's ball, by default until its first misclassified iterate.

    Arguments as in :func:`pgd`, but the model, which is as :func:`attacking` yields it, the rows to
    work on, what :func:`ascent_arguments` says of each sample, ``start`` ``(N, *)``, iterates of an
    ascent that goes on, instead of the samples, and ``keep_previous``, whether :class:`Ascent` is to have
    the iterates before the last ones.
    """
    check_values(inputs, bounds)
    check_radius("eps", eps)
    check_radius("step_size", step)
    current = inputs.clone()
    previous = inputs.clone() if keep_previous else inputs
    crossed = torch.zeros_like(labels, dtype=torch.bool)
    start = inputs if start is None else start
    if random_start:
        start = clipped(inputs + norm.uniform(inputs, eps, SampleDraws(seed, index)), bounds)
    iterate, clean, targets, eps, step = map(rows.read, (start, inputs, labels, eps, step))
    for iteration in range(steps + 1):
        more_steps = iteration < steps
        leaf = iterate.detach().requires_grad_(more_steps)
        logits = rows.finite(classify(leaf))
        if iteration == 0:
            targets = rows.fitting(targets, logits)
        correct = logits.argmax(dim=1) == targets
        rows.write(current, iterate)
        if until == "end":
            rows.mark(crossed, ~correct)
        going_on = correct if until == "crossing" else torch.ones_like(correct)
        if not more_steps or not rows.any(going_on):
            rows.keep(going_on)
            break
        gradient = loss_gradient(loss, logits, targets, leaf)
        iterate, gradient, clean, targets, eps, step = rows.keep(
            going_on, iterate, gradient, clean, targets, eps, step
        )
        if keep_previous:
            rows.write(previous, iterate)
        iterate = advanced(iterate, gradient, clean, step=step, eps=eps, norm=norm, bounds=bounds)
    return Ascent(previous, current, rows.done(labels) if until == "crossing" else crossed)


def loss_gradient(
    loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor, leaf: Tensor
) -> Tensor:
    """Gradient of each sample's loss with respect to its input, where its value is not asked for."""
    if loss is soft_margin:
        return input_gradient(logits, leaf, soft_margin_slope(logits.detach(), labels))
    return input_gradient(loss(logits, labels), leaf)


def input_gradient(values: Tensor, leaf: Tensor, slope: Tensor | None = None) -> Tensor:
    """Gradient of each sample's value ``(N,)`` with respect to its input.

    Args:
        values: of each sample, or of each several ``(N, C)``.
        leaf: ``(N, *)`` inputs.
        slope: ``(N, C)``, by how much of each of several the value grows.

    Raises:
        ValueError: if the values do not depend on the inputs by differentiable operations.
    """
    gradient = None
    if values.requires_grad:
        slope = torch.ones_like(values) if slope is None else slope
        (gradient,) = torch.autograd.grad(values, leaf, slope, allow_unused=True)
    if gradient is None:
        raise ValueError(
            "expected logits that depend on the inputs by differentiable operations, got some "
            "without a gradient; gradient attacks cannot tell how robust such a model is, a black "
            "box can: evaluate it under the protocol 'blackbox'"
        )
    return gradient


def advanced(
    iterate: Tensor,
    gradient: Tensor,
    clean: Tensor,
    *,
    step: Tensor,
    eps: Tensor,
    norm: Norm,
    bounds: Bounds | None,
) -> Tensor:
    """One step of PGD: along the gradient, back into the ball around ``clean``, into the bounds."""
    climbed = iterate + per_sample(step, iterate) * norm.direction(gradient)
    return clipped(clean + norm.project(climbed - clean, eps), bounds)


def clipped(inputs: Tensor, bounds: Bounds | None) -> Tensor:
    """The nearest valid inputs."""
    return inputs if bounds is None else inputs.clamp(*bounds)
