"""DDN: the nearest misclassified point in L2, by steps that decouple direction and norm."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from monai_ima.attacks.base import (
    Bounds,
    Classify,
    Model,
    check_values,
    fitting_inputs,
)
from monai_ima.attacks.forms import clean_pass, search
from monai_ima.attacks.norms import Norm, get_norm, per_sample
from monai_ima.attacks.pgd_attack import clipped, loss_gradient
from monai_ima.attacks.result import AttackResult
from monai_ima.attacks.rows import Rows
from monai_ima.counts import checked_count
from monai_ima.losses import hard_margin, logit_scale, soft_margin

_L2 = get_norm("l2")


def ddn(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    steps: int = 100,
    gamma: float = 0.05,
    bounds: Bounds | None = (0.0, 1.0),
) -> AttackResult:
    """Find the nearest misclassified point in L2.

    The iterate moves on a sphere around the clean sample that shrinks by ``gamma`` when the iterate
    is misclassified and grows by ``gamma`` when it is not; the nearest misclassified iterate counts.
    There is no quantisation. What differs from the paper makes the result independent of the units
    of the data and of the scale of the logits:

    - Until a misclassified iterate is found the sphere is as large as the linearised network at the
      iterate says, instead of starting at 1, which no data in other units would forgive: margins
      of 0.01 and of 5 are found alike. It grows by ``gamma`` at least, where linearity promises
      too little, and reaches no further than the bounds, where it promises too much.
    - The step falls from one radius of the sphere to a hundredth of it, instead of from 1 to 0.01.
    - The soft margin takes the place of cross-entropy, which has its direction but underflows; the
      logits are scaled by :func:`~monai_ima.losses.logit_scale`.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``; a module is attacked in eval mode
            and left exactly as found.
        inputs: ``(N, *)`` clean samples, any number of trailing dimensions.
        labels: ``(N,)`` true class indices.
        steps: number of gradients for each correctly classified sample; a misclassified one needs
            none, it is its own nearest at distance 0.
        gamma: relative change of the sphere's radius, between 0 and 1.
        bounds: range of valid inputs, kept by every iterate, or ``None``.

    Returns:
        The nearest misclassified iterate of each sample; the clean sample, at distance 0 and without
        ``success``, where there is none.

    Raises:
        TypeError, ValueError: if an argument does not fit; the message says what was expected.

    Source:
        Rony et al., Decoupling Direction and Norm for Efficient Gradient-Based L2 Adversarial Attacks
        and Defenses, CVPR 2019.
    """
    checked_count("steps", steps, at_least=1)
    checked_gamma(gamma)
    inputs, labels = fitting_inputs(inputs, labels, bounds)
    return search(
        model, _L2, partial(_ddn, steps=steps, gamma=gamma, bounds=bounds), inputs, labels
    )


def _ddn(
    classify: Classify,
    rows: Rows,
    inputs: Tensor,
    labels: Tensor,
    *,
    steps: int,
    gamma: float,
    bounds: Bounds | None,
) -> AttackResult:
    check_values(inputs, bounds)
    nearest = Nearest(classify, rows, inputs, labels, _L2, bounds)
    iterate, eps = nearest.clean, torch.zeros_like(nearest.distance)
    for step in range(steps if nearest.rows.any() else 0):
        gradient, misclassified, linear = nearest.look_at(iterate)
        grown = torch.where(nearest.found, (1 + gamma) * eps, linear.maximum((1 + gamma) * eps))
        eps = torch.where(misclassified, (1 - gamma) * eps, grown)
        length = per_sample(eps * annealed(1, 0.01, step / steps), gradient)
        delta = iterate - nearest.clean + length * _L2.direction(gradient)
        on_sphere = per_sample(eps, delta) * _L2.direction(delta)
        iterate = clipped(nearest.clean + on_sphere, bounds)
    return nearest.at_last(iterate)


class Nearest:
    """The nearest misclassified point seen so far, for each correctly classified sample.

    Args:
        classify: inputs ``(N, *)`` to logits ``(N, C)``.
        rows: the samples to work on; of these, the correctly classified ones get a row.
        inputs: ``(N, *)`` samples.
        labels: ``(N,)`` class indices.
        norm: what is near.
        bounds: range of valid inputs, or ``None``.

    Attributes:
        rows: which samples have one.
        clean: ``(M, *)`` samples.
        distance: ``(M,)`` of the nearest point, infinite where there is none.
    """

    def __init__(
        self,
        classify: Classify,
        rows: Rows,
        inputs: Tensor,
        labels: Tensor,
        norm: Norm,
        bounds: Bounds | None,
    ) -> None:
        self.classify, self.norm, self._batch = classify, norm, inputs
        correct, labels, logits = clean_pass(classify, rows, inputs, labels)
        self._misclassified = ~correct
        self.rows = rows.of(correct)
        self.clean, self.labels, logits = map(self.rows.read, (inputs, labels, logits))
        self._inputs = self.clean
        self.distance = torch.full_like(logits[:, 0], torch.inf, dtype=inputs.dtype)
        self._scale = logit_scale(logits)[:, None]
        self._reach = norm.length(farthest(self.clean, bounds))

    @property
    def found(self) -> Tensor:
        """Where there is one, ``(M,)`` bool."""
        return self.distance < torch.inf

    def look_at(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keep the nearer of these points and learn from one gradient where to go.

        Returns:
            ``(M, *)`` gradient of the soft margin, ``(M,)`` which points are misclassified, and
            ``(M,)`` the distance from the clean sample at which a linear network with this gradient
            would have its boundary, between a millionth of what the bounds permit and all of it.
        """
        leaf = points.detach().requires_grad_()
        logits = self.rows.finite(self.classify(leaf))
        scaled = self._scale * logits
        gradient = loss_gradient(soft_margin, scaled, self.labels, leaf)
        misclassified = self._keep(points, logits)
        slope = (self.norm.direction(gradient) * gradient).flatten(1).sum(dim=1)
        ahead = -hard_margin(scaled.detach(), self.labels).to(slope) / slope
        linear = self.norm.length(points - self.clean) + torch.where(slope > 0, ahead, torch.inf)
        # Not zero, from which no growth leads away, where two classes are exactly level.
        return gradient, misclassified, linear.clamp(1e-6 * self._reach, self._reach)

    @torch.no_grad()
    def at_last(self, points: Tensor) -> AttackResult:
        """Keep the nearer of these points as well, without a gradient, and hand all back.

        Returns:
            Of the whole batch the nearest points, the clean samples where there is none. A
            misclassified sample is its own.
        """
        found, success = self._batch.clone(), self._misclassified.clone()
        if self.rows.any():
            self._keep(points, self.rows.finite(self.classify(points)))
            self.rows.write(found, self._inputs)
            self.rows.mark(success, self.found)
        return AttackResult(found, success, self.norm.length(found - self._batch))

    def _keep(self, points: Tensor, logits: Tensor) -> Tensor:
        """Keep the points that are misclassified and nearer; which are misclassified, ``(M,)``."""
        misclassified = logits.argmax(dim=1) != self.labels
        distance = self.norm.length(points - self.clean)
        nearer = misclassified & (distance < self.distance)
        self._inputs = torch.where(per_sample(nearer, points), points, self._inputs)
        self.distance = torch.where(nearer, distance, self.distance)
        return misclassified


def annealed(start: float, end: float, done: float) -> float:
    """Along half a cosine from ``start`` to ``end``, where ``done`` goes from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def checked_gamma(gamma: float) -> None:
    """Raise ``ValueError`` unless ``gamma`` lies between 0 and 1."""
    if not 0 < gamma < 1:
        raise ValueError(f"expected gamma to lie between 0 and 1, got {gamma!r}")


def farthest(clean: Tensor, bounds: Bounds | None) -> Tensor:
    """The longest perturbation that leads to valid inputs.

    Without bounds no entry moves further than beyond the sample's largest.
    """
    if bounds is not None:
        return torch.maximum(clean - bounds[0], bounds[1] - clean)
    largest = clean.flatten(1).abs().amax(dim=1)
    return clean.abs() + per_sample(torch.where(largest == 0, 1, largest), clean)
