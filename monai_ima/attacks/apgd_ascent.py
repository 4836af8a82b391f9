"""One ascent of APGD: momentum, and step sizes that look after themselves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from monai_ima.attacks.base import Bounds, Classify
from monai_ima.attacks.norms import Norm, per_sample
from monai_ima.attacks.pgd_attack import advanced, clipped, input_gradient
from monai_ima.attacks.rows import Rows

_MOMENTUM = 0.75
_RISES = 0.75  # rho: a step size that makes a smaller share of the steps climb is halved


class Climbers(NamedTuple):
    """What the ascent knows of the samples that are still climbing; each ``(M, ...)``."""

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

    @classmethod
    def starting(
        cls, start: Tensor, clean: Tensor, labels: Tensor, aims: Tensor, scale: Tensor, eps: Tensor
    ) -> Climbers:
        """Before the first gradient."""
        lowest, none = torch.full_like(eps, -torch.inf), torch.zeros_like(start)
        return cls(
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
            last_halved=torch.zeros_like(labels, dtype=torch.bool),
        )


def climb(
    classify: Classify,
    rows: Rows,
    now: Climbers,
    found: Tensor,
    crossed: Tensor,
    *,
    norm: Norm,
    steps: int,
    bounds: Bounds | None,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> None:
    """One ascent, which writes the points found, and which of them are misclassified."""
    windows = checkpoint_windows(steps)
    rows.write(found, now.iterate)
    for iteration in range(steps + 1):
        leaf = now.iterate.detach().requires_grad_(iteration < steps)
        logits = rows.finite(classify(leaf))
        values = loss(now.scale[:, None] * logits, now.labels, now.aims)
        correct = logits.argmax(dim=1) == now.labels
        best = values > now.best_value
        rows.write(found, now.iterate, where=best | ~correct)
        rows.mark(crossed, ~correct)
        if iteration == steps or not rows.any(correct):
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
        now = Climbers(*rows.keep(correct, *now))
        if iteration in windows:
            now = _at_checkpoint(now, rows.read(found), windows[iteration])
        now = _moved(now, _MOMENTUM if iteration > 0 else 1.0, norm, bounds)


def _moved(now: Climbers, weight: float, norm: Norm, bounds: Bounds | None) -> Climbers:
    """A step along the gradient, and what is left of the last one."""
    climbed = advanced(
        now.iterate, now.gradient, now.clean, step=now.step, eps=now.eps, norm=norm, bounds=bounds
    )
    delta = weight * (climbed - now.iterate) + (1 - weight) * (now.iterate - now.previous)
    in_ball = now.clean + norm.project(now.iterate + delta - now.clean, now.eps)
    return now._replace(iterate=clipped(in_ball, bounds), previous=now.iterate)


def _at_checkpoint(now: Climbers, best: Tensor, window: int) -> Climbers:
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
