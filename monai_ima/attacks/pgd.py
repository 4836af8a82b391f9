"""Projected gradient descent with a radius per sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from monai_ima.attacks.border import (
    Bounds,
    Model,
    attacking,
    checked_count,
    checked_inputs,
    checked_logits,
    checked_radius,
    finite_logits,
)
from monai_ima.attacks.norms import Norm, get_norm, per_sample
from monai_ima.attacks.result import AttackResult
from monai_ima.losses import soft_margin


class Ascent(NamedTuple):
    """Where each sample's iterates stood when its ascent ended.

    ``current`` is the first misclassified iterate where ``crossed``, else the last iterate;
    ``previous`` is the iterate before it, the clean sample itself where there is none.
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
    bounds: Bounds | None = (0.0, 1.0),
    loss: Callable[[Tensor, Tensor], Tensor] = soft_margin,
    generator: torch.Generator | None = None,
) -> AttackResult:
    """Search the ball around each sample for a misclassified point, by projected gradient ascent.

    A sample is done with its first misclassified iterate, the start and the last one among them,
    and needs no further gradient: the others go on as a smaller batch.

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
        bounds: range of valid inputs, kept by every iterate, or ``None``.
        loss: what is climbed, logits and labels to ``(N,)`` values. The soft margin has
            cross-entropy's direction without its vanishing gradient.
        generator: source of the random start; the global one of torch by default.

    Returns:
        For each sample the first misclassified iterate, or the last one where there is none.

    Raises:
        TypeError, ValueError: if an argument does not fit; the message says what was expected.

    Source:
        Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018.
    """
    geometry = get_norm(norm)
    inputs = checked_inputs(inputs, labels, bounds)
    with attacking(model, inputs):
        ascent = ascend(
            model,
            inputs,
            labels,
            eps=eps,
            norm=geometry,
            steps=steps,
            step_size=step_size,
            random_start=random_start,
            bounds=bounds,
            loss=loss,
            generator=generator,
        )
        distance = geometry.length(ascent.current - inputs)
    return AttackResult(ascent.current, ascent.crossed, distance)


def ascend(
    model: Model,
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
) -> Ascent:
    """Climb ``loss`` inside each sample's ball until its first misclassified iterate.

    Arguments as in :func:`pgd`; to be called within :func:`attacking`.
    """
    checked_count("steps", steps, at_least=1)
    radius = checked_radius("eps", eps, inputs)
    step = checked_radius(
        "step_size", 4 * radius / steps if step_size is None else step_size, inputs
    )
    iterate = inputs.clone()
    if random_start:
        iterate = _clip(inputs + norm.uniform(inputs, radius, generator), bounds)
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
        logits = model(leaf)
        if iteration == 0:
            checked_logits(logits, labels)
        if more_steps and not logits.requires_grad:
            raise ValueError(
                "expected logits that depend on the inputs by differentiable operations, got some "
                "without a gradient; gradient attacks cannot tell how robust such a model is"
            )
        finite_logits(logits)
        correct = logits.argmax(dim=1) == targets
        current[active] = iterate
        crossed[active[~correct]] = True
        if not more_steps or not correct.any():
            break
        (gradient,) = torch.autograd.grad(loss(logits, targets).sum(), leaf)
        if not correct.all():
            active, clean, targets = active[correct], clean[correct], targets[correct]
            iterate, gradient = iterate[correct], gradient[correct]
            radius, step = radius[correct], step[correct]
        previous[active] = iterate
        climbed = iterate + per_sample(step, iterate) * norm.direction(gradient)
        iterate = _clip(clean + norm.project(climbed - clean, radius), bounds)
    return Ascent(previous, current, crossed)


def _clip(inputs: Tensor, bounds: Bounds | None) -> Tensor:
    return inputs if bounds is None else inputs.clamp(*bounds)
