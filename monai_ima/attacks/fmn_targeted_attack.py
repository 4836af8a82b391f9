"""Targeted FMN: the nearest misclassified point, by a search towards one class after another."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from monai_ima.attacks.base import (
    Bounds,
    Classify,
    Model,
    checked_inputs,
    checked_radius,
)
from monai_ima.attacks.ddn_attack import annealed, farthest
from monai_ima.attacks.forms import clean_pass, search
from monai_ima.attacks.norms import Norm, get_norm, per_sample
from monai_ima.attacks.pgd_attack import advanced, input_gradient
from monai_ima.attacks.result import AttackResult
from monai_ima.attacks.rows import Rows
from monai_ima.counts import checked_count


def fmn_targeted(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    norm: Norm | str,
    steps: int = 30,
    targets: int = 9,
    known: float | Tensor = torch.inf,
    bounds: Bounds | None = (0.0, 1.0),
) -> AttackResult:
    """Find the nearest misclassified point in Linf or L2, by a search towards one class each.

    An attack without a target follows whichever class is nearest at first, and the nearest boundary
    may be that of another one: in L2 often of the class that the clean sample is least likely to be
    taken for. Here each search climbs the difference of two logits, target less label, from the
    clean sample, and any class but the label counts as found. The ball's radius starts just below
    what is known already, shrinks by a share that falls from 0.3 to 0.02 while the iterate is
    misclassified, below the nearest found, and grows by that share while it is not; the step falls
    from 1.4 of the ball's radius to a 20th of it.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``; a module is attacked in eval mode
            and left exactly as found.
        inputs: ``(N, *)`` clean samples, any number of trailing dimensions.
        labels: ``(N,)`` true class indices.
        norm: ``"linf"``, ``"l2"`` or a :class:`Norm`.
        steps: number of gradients towards each class, for each correctly classified sample.
        targets: number of classes aimed at. Where there are more, those whose boundary is nearest
            in the network linearised at the sample, which costs a gradient for each class.
        known: distance of a misclassified point that is known already, a number or ``(N,)``, in units
            of ``inputs``; only nearer ones are of interest. Infinite where none is known.
        bounds: range of valid inputs, kept by every iterate, or ``None``.

    Returns:
        The nearest misclassified point of each sample that is nearer than ``known``; the clean sample,
        at distance 0 and without ``success``, where there is none.

    Raises:
        TypeError, ValueError: if an argument does not fit; the message says what was expected.

    Source:
        The adaptive ball is that of Pintor et al., Fast Minimum-norm Adversarial Attacks through
        Adaptive Norm Constraints, NeurIPS 2021; one class after another, as in FAB: Croce and Hein,
        Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack, ICML 2020.
    """
    checked_count("steps", steps, at_least=1)
    checked_count("targets", targets, at_least=1)
    geometry = get_norm(norm)
    inputs, labels = checked_inputs(inputs, labels, bounds)
    reach = geometry.length(farthest(inputs, bounds))
    finite = torch.as_tensor(known, dtype=inputs.dtype).clamp(max=torch.finfo(inputs.dtype).max)
    nearest = checked_radius("known", finite, inputs).minimum(reach)

    function = partial(_fmn_targeted, norm=geometry, steps=steps, targets=targets, bounds=bounds)
    return search(model, geometry, function, inputs, labels, nearest)


def _fmn_targeted(
    classify: Classify,
    rows: Rows,
    inputs: Tensor,
    labels: Tensor,
    nearest: Tensor,
    *,
    norm: Norm,
    steps: int,
    targets: int,
    bounds: Bounds | None,
) -> AttackResult:
    found = inputs.clone()
    correct, labels, logits = clean_pass(classify, rows, inputs, labels)
    crossed = ~correct
    rows = rows.of(correct)
    if not rows.any():
        return AttackResult(found, crossed, norm.length(found - inputs))
    clean, own, best, logits = map(rows.read, (inputs, labels, nearest, logits))
    closest, success = clean, torch.zeros_like(own, dtype=torch.bool)
    for target in _targets(classify, clean, own, logits, norm, targets).unbind(dim=1):
        iterate, eps = clean, 0.9 * best
        for step in range(steps + 1):
            last = step == steps
            leaf = iterate.detach().requires_grad_(not last)
            logits = rows.finite(classify(leaf))
            misclassified = logits.argmax(dim=1) != own
            distance = norm.length(iterate - clean)
            nearer = misclassified & (distance < best)
            closest = torch.where(per_sample(nearer, iterate), iterate, closest)
            best, success = torch.where(nearer, distance, best), success | nearer
            if last:
                break
            gradient = input_gradient(_ahead(logits, own, target), leaf)
            change = annealed(0.3, 0.02, step / steps)
            shrunk = (1 - change) * eps.minimum(best)
            eps = torch.where(misclassified, shrunk, (1 + change) * eps)
            iterate = advanced(
                iterate,
                gradient,
                clean,
                step=annealed(1.4, 0.05, step / steps) * eps,
                eps=eps,
                norm=norm,
                bounds=bounds,
            )
    rows.write(found, closest)
    rows.mark(crossed, success)
    return AttackResult(found, crossed, norm.length(found - inputs))


def _ahead(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """How much larger the target's logit is than the label's, ``(N,)``."""
    return (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None]))[:, 0]


def _targets(
    classify: Classify, inputs: Tensor, labels: Tensor, logits: Tensor, norm: Norm, number: int
) -> Tensor:
    """The classes to aim for, ``(N, number)`` or all others, those with the nearest boundary first."""
    others = logits.scatter(1, labels[:, None], -torch.inf)
    ranked = others.argsort(dim=1, descending=True)[:, :-1]
    if ranked.shape[1] <= number:
        return ranked
    distances = []
    for target in ranked.unbind(dim=1):
        leaf = inputs.detach().requires_grad_()
        ahead = _ahead(classify(leaf), labels, target)
        gradient = input_gradient(ahead, leaf)
        slope = (norm.direction(gradient) * gradient).flatten(1).sum(dim=1)
        distances.append(torch.where(slope > 0, -ahead.detach() / slope, torch.inf))
    nearest = torch.stack(distances, dim=1).argsort(dim=1, stable=True)[:, :number]
    return ranked.gather(1, nearest)
