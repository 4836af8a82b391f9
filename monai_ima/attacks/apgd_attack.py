"""APGD: projected gradient ascent with momentum, whose step sizes look after themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from monai_ima.attacks.apgd_ascent import Climbers, climb
from monai_ima.attacks.base import (
    Bounds,
    Classify,
    Model,
    checked_index,
    checked_inputs,
    checked_radius,
)
from monai_ima.attacks.draws import SampleDraws, drawn_seed
from monai_ima.attacks.forms import clean_pass, search
from monai_ima.attacks.norms import Norm, get_norm
from monai_ima.attacks.pgd_attack import clipped
from monai_ima.attacks.result import AttackResult
from monai_ima.attacks.rows import Rows
from monai_ima.counts import checked_count
from monai_ima.losses import logit_scale, soft_margin, targeted_dlr


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
    index: Tensor | None = None,
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
        index: ``(N,)`` numbers of the samples, on which the random starts depend; by default their
            places in the batch.
        generator: source of the random starts' seed; torch's global one on the CPU by default.

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
        index=index,
        generator=generator,
        loss=_untargeted,
        aims=_nowhere,
        rounds=restarts,
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
    index: Tensor | None = None,
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
        index: ``(N,)`` numbers of the samples, on which the random starts depend; by default their
            places in the batch.
        generator: source of the random starts' seed; torch's global one on the CPU by default.

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

    return _in_rounds(
        model,
        inputs,
        labels,
        start=None,
        eps=eps,
        norm=norm,
        steps=steps,
        bounds=bounds,
        index=index,
        generator=generator,
        loss=targeted_dlr,
        aims=_likeliest,
        rounds=targets,
    )


def _untargeted(logits: Tensor, labels: Tensor, _: Tensor) -> Tensor:
    return soft_margin(logits, labels)


def _nowhere(_: Tensor, labels: Tensor, rounds: int) -> Tensor:
    return labels.expand(rounds, -1)


def _likeliest(logits: Tensor, labels: Tensor, rounds: int) -> Tensor:
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.topk(min(rounds, logits.shape[1] - 1), dim=1).indices.T


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
    index: Tensor | None,
    generator: torch.Generator | None,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    aims: Callable[[Tensor, Tensor, int], Tensor],
    rounds: int,
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
    function = partial(
        _climb_again,
        norm=geometry,
        steps=steps,
        bounds=bounds,
        loss=loss,
        aims=aims,
        rounds=rounds,
    )
    seed = torch.as_tensor(drawn_seed(generator) if start is None else 0, device=inputs.device)
    starts = () if start is None else (start,)
    known = radius, checked_index(index, inputs), seed, *starts
    return search(model, geometry, function, inputs, labels, *known)


def _climb_again(
    classify: Classify,
    rows: Rows,
    inputs: Tensor,
    labels: Tensor,
    eps: Tensor,
    index: Tensor,
    seed: Tensor,
    start: Tensor | None = None,
    *,
    norm: Norm,
    bounds: Bounds | None,
    aims: Callable[[Tensor, Tensor, int], Tensor],
    rounds: int,
    **settings: Any,
) -> AttackResult:
    found = inputs.clone()
    correct, labels, logits = clean_pass(classify, rows, inputs, labels)
    crossed, scale = ~correct, logit_scale(logits)
    for number, aim in enumerate(aims(logits, labels, rounds)):
        left = rows.of(~crossed)
        if not left.any():
            break
        batch = (inputs, labels, aim, scale, eps, index)
        clean, own, aim_left, scale_left, eps_left, index_left = map(left.read, batch)
        if start is None:
            delta = norm.uniform(clean, eps_left, SampleDraws(seed, index_left, number))
            begin = clipped(clean + delta, bounds)
        else:
            begin = left.read(start)
        climbers = Climbers.starting(begin, clean, own, aim_left, scale_left, eps_left)
        climb(classify, left, climbers, found, crossed, norm=norm, bounds=bounds, **settings)
    return AttackResult(found, crossed, norm.length(found - inputs))
