"""Robustness of a classifier: accuracy against the noise level, under the strongest attack found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from monai_ima.attacks import Norm, get_norm
from monai_ima.robustness.statistics import balanced_accuracy


@dataclass(frozen=True)
class RobustnessCurve:
    """Accuracy against the radius of the attack, on samples that were each attacked at each level.

    Attributes:
        eps: ``(L,)`` increasing levels, in units of the inputs; the first is 0, no attack.
        robust: ``(N, L)`` bool, no iterate of any restart was misclassified.
        labels: ``(N,)`` true class indices.
        norm: name of the norm that ``eps`` is measured in.
        classes: number of classes; by default up to the largest label.
    """

    eps: Tensor
    robust: Tensor
    labels: Tensor
    norm: str
    classes: int | None = None

    @property
    def accuracy(self) -> Tensor:
        """``(L,)`` fraction of samples that are robust; at level 0 the clean accuracy."""
        return self.robust.double().mean(dim=0)

    @classmethod
    def from_margins(
        cls,
        margins: Tensor,
        labels: Tensor,
        *,
        eps: Sequence[float] | Tensor,
        norm: Norm | str,
        classes: int | None = None,
    ) -> RobustnessCurve:
        """Curve of samples that are robust at the levels below their margins.

        Args:
            margins: ``(N,)`` as :func:`~monai_ima.robustness.closest_errors` finds them.
            labels: ``(N,)`` true class indices.
            eps: levels, as :func:`noise_levels` takes them.
            norm: what margins and levels are measured in.
            classes: number of classes; by default up to the largest label.
        """
        levels = noise_levels(eps)
        robust = margins[:, None].cpu() > levels
        return cls(levels, robust, labels.cpu(), get_norm(norm).name, classes)

    @property
    def interval(self) -> Tensor:
        """``(L, 2)`` 95 % confidence interval of the accuracy."""
        return wilson_interval(self.accuracy, len(self.robust))

    @property
    def per_class(self) -> Tensor:
        """``(C, L)`` accuracy in each class, NaN for one without samples."""
        classes = range(self.classes or int(self.labels.max()) + 1)
        return torch.stack([self.robust[self.labels == c].double().mean(dim=0) for c in classes])

    def auc(self) -> float:
        """Area under the curve over the largest level: mean accuracy over levels, from 0 to 1."""
        return float(area_under(self.accuracy, self.eps.double()))

    def balanced_auc(self) -> float:
        """Area under the curve of the balanced accuracy, in which each class counts alike.

        Rounded, so that curves of one balanced accuracy are equal to whoever compares them.
        """
        return round(float(area_under(balanced_accuracy(self.per_class), self.eps.double())), 12)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file, which knows no NaN: it is ``None`` there."""
        low, high = self.interval.unbind(dim=1)
        return {
            "norm": self.norm,
            "n": len(self.robust),
            "auc": self.auc(),
            "eps": self.eps.tolist(),
            "accuracy": self.accuracy.tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
            "per_class": without_nan(self.per_class),
        }


def area_under(values: Tensor, eps: Tensor) -> Tensor:
    """Area under curves over the largest level: their mean over the levels.

    Of the accuracy it is the plain area, of the balanced accuracy the balanced one; of each sample's
    own curve, which is 1 where it is robust, it is a quantity whose mean over the samples is theirs.

    Args:
        values: ``(*, L)`` at each level.
        eps: ``(L,)`` increasing levels from 0 on.

    Returns:
        ``(*)``, in units of ``values``.

    Example:
        >>> area_under(torch.tensor([1.0, 0.5, 0.0]), torch.tensor([0.0, 0.1, 0.2]))
        tensor(0.5000)
    """
    return torch.trapezoid(values, eps, dim=-1) / eps[-1]


def without_nan(table: Tensor) -> list[list[float | None]]:
    """A table for JSON, which knows no NaN: it is ``None`` there."""
    return [[None if math.isnan(value) else value for value in row] for row in table.tolist()]


def noise_levels(eps: Sequence[float] | Tensor) -> Tensor:
    """Levels of a curve as a tensor ``(L,)`` that starts at 0, which is put in front if need be.

    Raises:
        ValueError: if there is no positive level, or they are negative, not finite or not increasing.
    """
    levels = torch.as_tensor(eps, dtype=torch.float64)
    increasing = levels.ndim == 1 and len(levels) > 0 and bool((levels.diff() > 0).all())
    if not increasing or levels[0] < 0 or levels[-1] <= 0 or not levels.isfinite().all():
        raise ValueError(
            "expected noise levels to be positive and increasing (a first level of 0 means "
            f"clean samples), got {eps}"
        )
    return levels if levels[0] == 0 else torch.cat([levels.new_zeros(1), levels])


Z_95 = 1.959964
"""Standard deviations on either side of the mean between which 95 % of a normal distribution lie."""


def wilson_interval(accuracy: Tensor, n: float) -> Tensor:
    """95 % interval of a fraction measured on ``n`` samples, ``(L,)`` to ``(L, 2)``.

    An effective number of samples need not be whole.

    Source:
        Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    z = Z_95
    center = (accuracy + z**2 / (2 * n)) / (1 + z**2 / n)
    spread = accuracy * (1 - accuracy) / n + z**2 / (4 * n**2)
    half = z / (1 + z**2 / n) * spread.sqrt()
    # The end that the formula puts at 0 or 1 exactly, rounding does not.
    low = torch.where(accuracy == 0, 0, center - half)
    high = torch.where(accuracy == 1, 1, center + half)
    return torch.stack([low, high], dim=-1)
