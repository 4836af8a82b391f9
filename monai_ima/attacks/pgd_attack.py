"""Projected gradient descent with a radius per sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

from monai_ima.attacks.base import (
    Bounds,
    Classify,
    Model,
    attacking,
    checked_inputs,
    checked_logits,
    checked_radius,
    finite_logits,
)
from monai_ima.attacks.norms import Norm, get_norm, per_sample
from monai_ima.attacks.result import AttackResult
from monai_ima.counts import checked_count
from monai_ima.losses import soft_margin

Until: TypeAlias = Literal["crossing", "end"]


class Ascent(NamedTuple):
    """Where each sample's iterates were when its ascent ended.

    ``current`` is the iterate where it ended, the first misclassified one where it was to end there;
    ``previous`` is the iterate before it, the clean sample itself where there is none; ``crossed``
    tells whether any iterate was misclassified.
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
    generator: torch.Generator | None = None,
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
        generator: source of the random start; the global one of torch by default.

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
    inputs, labels = checked_inputs(inputs, labels, bounds)
    with attacking(model, inputs) as classify:
        ascent = ascend(
            classify,
            inputs,
            labels,
            eps=eps,
            norm=geometry,
            steps=steps,
            step_size=step_size,
            random_start=random_start,
            until=until,
            bounds=bounds,
            loss=loss,
            generator=generator,
        )
        distance = geometry.length(ascent.current - inputs)
    return AttackResult(ascent.current, ascent.crossed, distance)


def ascend(
    classify: Classify,
    inputs: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    norm: Norm,
    steps: int,
    step_size: float | Tensor | None,
    random_start: bool,
    bounds: Bounds | None,
    loss: Callable[[Tensor, Tensor], Tensor],
    generator: torch.Generator | None,
    until: Until = "crossing",
) -> Ascent:
    """Climb ``loss`` inside each sample's ball, by default until its first misclassified iterate.

    Arguments as in :func:`pgd`, but the model, which is as :func:`attacking` yields it.
    """
    checked_count("steps", steps, at_least=1)
    radius = checked_radius("eps", eps, inputs)
    step = checked_radius(
        "step_size", 4 * radius / steps if step_size is None else step_size, inputs
    )
    iterate = inputs.clone()
    if random_start:
        iterate = clipped(inputs + norm.uniform(inputs, radius, generator), bounds)
    previous, current = inputs.clone(), inputs.clone()
    crossed = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
    # The samples still climbing: their places in the batch, and what the loop needs of each.
    active = torch.arange(len(inputs), device=inputs.device)
    clean, targets = inputs, labels.clone()
    if len(inputs) == 0:  # some layers refuse an empty batch
        return Ascent(previous, current, crossed)

    for iteration in range(steps + 1):
        more_steps = iteration < steps
        leaf = iterate.detach().requires_grad_(more_steps)
        logits = classify(leaf)
        logits = checked_logits(logits, targets) if iteration == 0 else finite_logits(logits)
        correct = logits.argmax(dim=1) == targets
        current[active] = iterate
        crossed[active[~correct]] = True
        going_on = correct if until == "crossing" else torch.ones_like(correct)
        if not more_steps or not going_on.any():
            break
        gradient = input_gradient(loss(logits, targets), leaf)
        if not going_on.all():
            active, clean, targets = active[going_on], clean[going_on], targets[going_on]
            iterate, gradient = iterate[going_on], gradient[going_on]
            radius, step = radius[going_on], step[going_on]
        previous[active] = iterate
        iterate = advanced(
            iterate, gradient, clean, step=step, eps=radius, norm=norm, bounds=bounds
        )
    return Ascent(previous, current, crossed)


def input_gradient(values: Tensor, leaf: Tensor) -> Tensor:
    """Gradient of each sample's value ``(N,)`` with respect to its input.

    Raises:
        ValueError: if the values do not depend on the inputs by differentiable operations.
    """
    gradient = None
    if values.requires_grad:
        (gradient,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True)
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
