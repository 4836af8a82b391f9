"""APGD: projected gradient ascent with momentum, whose step sizes look after themselves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from monai_ima.attacks.base import (
    Bounds,
    Classify,
    Model,
    checked_inputs,
    checked_radius,
    finite_logits,
    search_correct,
)
from monai_ima.attacks.norms import Norm, get_norm, per_sample
from monai_ima.attacks.pgd_attack import advanced, clipped, input_gradient
from monai_ima.attacks.result import AttackResult
from monai_ima.counts import checked_count
from monai_ima.losses import logit_scale, soft_margin, targeted_dlr

_MOMENTUM = 0.75
_RISES = 0.75  # rho: a step size that makes a smaller share of the steps climb is halved


def apgd(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    norm: Norm | str,
    steps: int = 100,
    restarts: int = 1,
    start: Tensor | None = None,
    bounds: Bounds | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> AttackResult:
    """Search the ball around each sample for a misclassified point, by APGD on cross-entropy.

    What is climbed is the soft margin, which has cross-entropy's order and direction, but does not
    underflow, of logits scaled by :func:`~monai_ima.losses.logit_scale`. A sample is done with its
    first misclassified iterate; the others go on as a smaller batch, and to the next restart.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``; a module is attacked in eval mode
            and left exactly as found.
        inputs: ``(N, *)`` clean samples, any number of trailing dimensions. A misclassified one is
            its own adversarial sample.
        labels: ``(N,)`` true class indices.
        eps: radius of the ball, a number or ``(N,)``, in units of ``inputs``.
        norm: ``"linf"``, ``"l2"`` or a :class:`Norm`.
        steps: gradient steps of a restart; ``steps + 1`` iterates are looked at.
        restarts: number of starts, each drawn uniformly from the ball.
        start: ``(N, *)`` points of the balls that the one restart starts at, instead of random ones.
        bounds: range of valid inputs, kept by every iterate, or ``None``.
        generator: source of the random starts; the global one of torch by default.

    Returns:
        For each sample the first misclassified iterate, or the highest one of the last restart where
        there is none.

    Raises:
        TypeError, ValueError: if an argument does not fit; the message says what was expected.

    Source:
        Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
        Parameter-free Attacks, ICML 2020.
    """
    checked_count("restarts", restarts, at_least=1)
    if start is not None and restarts != 1:
        raise ValueError(f"expected restarts 1 where the start is given, got {restarts}")
    return _in_rounds(
        model,
        inputs,
        labels,
        start=start,
        eps=eps,
        norm=norm,
        steps=steps,
        bounds=bounds,
        generator=generator,
        loss=lambda logits, labels, _: soft_margin(logits, labels),
        aims=lambda _, labels: labels.expand(restarts, -1),
    )


def apgd_targeted(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    norm: Norm | str,
    steps: int = 100,
    targets: int = 9,
    bounds: Bounds | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> AttackResult:
    """Search the ball around each sample for a misclassified point, by APGD towards one class each.

    The targeted difference of logits ratio is climbed towards each of the classes that the clean
    sample is most likely to be taken for, in turn, each from a new start; any other class than the
    label is a success on the way. A sample is done with its first misclassified iterate.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``; a module is attacked in eval mode
            and left exactly as found.
        inputs: ``(N, *)`` clean samples, any number of trailing dimensions. A misclassified one is
            its own adversarial sample.
        labels: ``(N,)`` true class indices.
        eps: radius of the ball, a number or ``(N,)``, in units of ``inputs``.
        norm: ``"linf"``, ``"l2"`` or a :class:`Norm`.
        steps: gradient steps towards a class; ``steps + 1`` iterates are looked at.
        targets: number of classes aimed at, of those that there are beside the label.
        bounds: range of valid inputs, kept by every iterate, or ``None``.
        generator: source of the random starts; the global one of torch by default.

    Returns:
        For each sample the first misclassified iterate, or the one closest to the last class where
        there is none.

    Raises:
        TypeError, ValueError: if an argument does not fit; the message says what was expected.

    Source:
        Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
        Parameter-free Attacks, ICML 2020.
    """
    checked_count("targets", targets, at_least=1)

    def aims(logits: Tensor, labels: Tensor) -> Tensor:
        others = logits.scatter(1, labels[:, None], -torch.inf)
        return others.topk(min(targets, logits.shape[1] - 1), dim=1).indices.T

    return _in_rounds(
        model,
        inputs,
        labels,
        start=None,
        eps=eps,
        norm=norm,
        steps=steps,
        bounds=bounds,
        generator=generator,
        loss=targeted_dlr,
        aims=aims,
    )


def _in_rounds(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    start: Tensor | None,
    eps: float | Tensor,
    norm: Norm | str,
    steps: int,
    bounds: Bounds | None,
    generator: torch.Generator | None,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    aims: Callable[[Tensor, Tensor], Tensor],
) -> AttackResult:
    """A round for each of ``aims(logits, labels)``, ``(rounds, N)``, on what is still robust."""
    checked_count("steps", steps, at_least=1)
    geometry = get_norm(norm)
    inputs, labels = checked_inputs(inputs, labels, bounds)
    radius = checked_radius("eps", eps, inputs)
    if start is not None and start.shape != inputs.shape:
        raise ValueError(
            f"expected start of the inputs' shape {tuple(inputs.shape)}, got {tuple(start.shape)}"
        )

    def search(classify: Classify, correct: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        found, labels_left = inputs[correct], labels[correct]
        clean, scale = found.clone(), logit_scale(logits[correct])
        crossed = torch.zeros_like(labels_left, dtype=torch.bool)
        for aim in aims(logits[correct], labels_left):
            left = ~crossed
            if not left.any():
                break
            found[left], crossed[left] = _climb(
                classify,
                clean[left],
                labels_left[left],
                aim[left],
                scale[left],
                start=None if start is None else start[correct][left],
                eps=radius[correct][left],
                norm=geometry,
                steps=steps,
                bounds=bounds,
                generator=generator,
                loss=loss,
            )
        return found, crossed

    return search_correct(model, inputs, labels, geometry, search)


class _Climbers(NamedTuple):
    """What the ascent knows of the samples that are still climbing; each ``(N, ...)``."""

    places: Tensor  # in the batch
    clean: Tensor
    labels: Tensor
    aims: Tensor
    scale: Tensor  # of the logits
    eps: Tensor
    step: Tensor  # its size
    iterate: Tensor
    previous: Tensor
    value: Tensor  # of the loss
    gradient: Tensor
    best_value: Tensor
    best_gradient: Tensor
    rises: Tensor  # steps that climbed since the last checkpoint
    last_best: Tensor  # best value at the last checkpoint
    last_halved: Tensor  # whether the step was halved there


def _climb(
    classify: Classify,
    clean: Tensor,
    labels: Tensor,
    aims: Tensor,
    scale: Tensor,
    *,
    start: Tensor | None,
    eps: Tensor,
    norm: Norm,
    steps: int,
    bounds: Bounds | None,
    generator: torch.Generator | None,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """One ascent: the points found, and which of them are misclassified."""
    windows = checkpoint_windows(steps)
    if start is None:
        start = clipped(clean + norm.uniform(clean, eps, generator), bounds)
    found, crossed = start.clone(), torch.zeros_like(labels, dtype=torch.bool)
    lowest, none = torch.full_like(eps, -torch.inf), torch.zeros_like(start)
    now = _Climbers(
        places=torch.arange(len(clean), device=clean.device),
        clean=clean,
        labels=labels,
        aims=aims,
        scale=scale,
        eps=eps,
        step=2 * eps,
        iterate=start,
        previous=start,
        value=-lowest,  # the start does not count as a rise
        gradient=none,
        best_value=lowest,
        best_gradient=none,
        rises=torch.zeros_like(labels),
        last_best=lowest,
        last_halved=crossed,
    )
    for iteration in range(steps + 1):
        leaf = now.iterate.detach().requires_grad_(iteration < steps)
        logits = finite_logits(classify(leaf))
        values = loss(now.scale[:, None] * logits, now.labels, now.aims)
        correct = logits.argmax(dim=1) == now.labels
        best = values > now.best_value
        kept = best | ~correct
        found[now.places[kept]] = now.iterate[kept]
        crossed[now.places[~correct]] = True
        if iteration == steps or not correct.any():
            break
        gradient = input_gradient(values, leaf)
        values = values.detach()
        now = now._replace(
            value=values,
            gradient=gradient,
            best_value=torch.where(best, values, now.best_value),
            best_gradient=torch.where(per_sample(best, gradient), gradient, now.best_gradient),
            rises=now.rises + (values > now.value),
        )
        if not correct.all():
            now = _Climbers(*(part[correct] for part in now))
        if iteration in windows:
            now = _at_checkpoint(now, found[now.places], windows[iteration])
        now = _moved(now, _MOMENTUM if iteration > 0 else 1.0, norm, bounds)
    return found, crossed


def _moved(now: _Climbers, weight: float, norm: Norm, bounds: Bounds | None) -> _Climbers:
    """A step along the gradient, and what is left of the last one."""
    climbed = advanced(
        now.iterate, now.gradient, now.clean, step=now.step, eps=now.eps, norm=norm, bounds=bounds
    )
    delta = weight * (climbed - now.iterate) + (1 - weight) * (now.iterate - now.previous)
    in_ball = now.clean + norm.project(now.iterate + delta - now.clean, now.eps)
    return now._replace(iterate=clipped(in_ball, bounds), previous=now.iterate)


def _at_checkpoint(now: _Climbers, best: Tensor, window: int) -> _Climbers:
    """Where the last ``window`` steps made no progress, halve the step and go back to the best."""
    seldom_rose = now.rises < _RISES * window
    stuck = ~now.last_halved & (now.best_value == now.last_best)
    halved = seldom_rose | stuck
    return now._replace(
        step=torch.where(halved, now.step / 2, now.step),
        iterate=torch.where(per_sample(halved, best), best, now.iterate),
        value=torch.where(halved, now.best_value, now.value),
        gradient=torch.where(per_sample(halved, best), now.best_gradient, now.gradient),
        rises=torch.zeros_like(now.rises),
        last_best=now.best_value,
        last_halved=halved,
    )


def checkpoint_windows(steps: int) -> dict[int, int]:
    """The iterations at which step sizes are looked at, and how many steps back each looks."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    # 0.22 + 0.19 is a little more than 0.41, which must not make it 42 of 100.
    checkpoints = sorted({math.ceil(round(share * steps, 6)) for share in shares})
    return {end: end - start for start, end in itertools.pairwise(checkpoints)}
