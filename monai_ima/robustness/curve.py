"""Robustness of a classifier: accuracy against the noise level, under the strongest attack found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from monai_ima.attacks import Norm, get_norm, misclassified, pgd
from monai_ima.attacks.border import checked_count


@dataclass(frozen=True)
class RobustnessCurve:
    """Accuracy against the radius of the attack, on samples that were each attacked at each level.

    Attributes:
        eps: ``(L,)`` increasing levels, in units of the inputs; the first is 0, no attack.
        robust: ``(N, L)`` bool, no iterate of any restart was misclassified.
        labels: ``(N,)`` true class indices.
        norm: name of the norm that ``eps`` is measured in.
    """

    eps: Tensor
    robust: Tensor
    labels: Tensor
    norm: str

    @property
    def accuracy(self) -> Tensor:
        """``(L,)`` fraction of samples that stand; at level 0 the clean accuracy."""
        return self.robust.double().mean(dim=0)

    @property
    def interval(self) -> Tensor:
        """``(L, 2)`` 95 % confidence interval of the accuracy."""
        return wilson_interval(self.accuracy, len(self.robust))

    @property
    def per_class(self) -> Tensor:
        """``(C, L)`` accuracy in each class up to the largest label, NaN for one without samples."""
        classes = range(int(self.labels.max()) + 1)
        return torch.stack([self.robust[self.labels == c].double().mean(dim=0) for c in classes])

    def auc(self) -> float:
        """Area under the curve over the largest level: mean accuracy over levels, from 0 to 1."""
        return float(torch.trapezoid(self.accuracy, self.eps.double()) / self.eps[-1])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file, which knows no NaN: ``None`` stands for it."""
        low, high = self.interval.unbind(dim=1)
        return {
            "norm": self.norm,
            "n": len(self.robust),
            "auc": self.auc(),
            "eps": self.eps.tolist(),
            "accuracy": self.accuracy.tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
            "per_class": [
                [None if math.isnan(value) else value for value in values]
                for values in self.per_class.tolist()
            ],
        }


def sweep(
    model: torch.nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    eps: Tensor,
    norm: Norm | str,
    steps: int = 100,
    restarts: int = 2,
    bounds: tuple[float, float] = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Attack each sample at each level, by PGD with random starts and steps of ``eps / 10``.

    A sample is robust at a level only if it is correctly classified as it is and at every iterate
    of every restart. What fell at a level also falls at every higher one, and is attacked no more:
    the curve cannot rise with the noise.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``, left as found.
        inputs: ``(N, *)`` clean samples.
        labels: ``(N,)`` true class indices.
        eps: ``(L,)`` levels from :func:`noise_levels`, in units of ``inputs``.
        norm: ``"linf"``, ``"l2"`` or a :class:`~monai_ima.attacks.Norm`.
        steps: gradient steps of a restart.
        restarts: number of random starts.
        bounds: range of valid inputs.
        generator: source of the random starts.

    Returns:
        ``(N, L)`` bool, on the device of the inputs.

    Source:
        Ma and Liang, Increasing-Margin Adversarial (IMA) Training, 2020, section 3: 100-PGD, twice.
    """
    checked_count("restarts", restarts, at_least=1)
    levels = noise_levels(eps)
    geometry = get_norm(norm)
    standing = ~misclassified(model, inputs, labels)
    columns = [standing.clone()]
    for level in levels[1:].tolist():
        for _ in range(restarts):
            (survivors,) = standing.nonzero(as_tuple=True)
            if len(survivors) == 0:
                break
            attacked = pgd(
                model,
                inputs[survivors],
                labels[survivors],
                eps=level,
                norm=geometry,
                steps=steps,
                step_size=level / 10,
                bounds=bounds,
                generator=generator,
            )
            standing[survivors] = ~attacked.success
        columns.append(standing.clone())
    return torch.stack(columns, dim=1)


def noise_levels(eps: Sequence[float] | Tensor) -> Tensor:
    """Levels of a curve as a tensor ``(L,)`` that starts at 0, which is put in front if need be.

    Raises:
        ValueError: if there is no positive level, or they are negative, not finite or not increasing.
    """
    levels = torch.as_tensor(eps, dtype=torch.float64)
    increasing = levels.ndim == 1 and len(levels) > 0 and bool((levels.diff() > 0).all())
    if not increasing or levels[0] < 0 or levels[-1] <= 0 or not levels.isfinite().all():
        raise ValueError(
            "expected noise levels to be positive and increasing (a first level of 0 may stand for "
            f"clean data), got {eps}"
        )
    return levels if levels[0] == 0 else torch.cat([levels.new_zeros(1), levels])


def wilson_interval(accuracy: Tensor, n: int) -> Tensor:
    """95 % interval of a fraction measured on ``n`` samples, ``(L,)`` to ``(L, 2)``.

    Source:
        Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    z = 1.959964
    center = (accuracy + z**2 / (2 * n)) / (1 + z**2 / n)
    spread = accuracy * (1 - accuracy) / n + z**2 / (4 * n**2)
    half = z / (1 + z**2 / n) * spread.sqrt()
    # The end that the formula puts at 0 or 1 exactly, rounding does not.
    low = torch.where(accuracy == 0, 0, center - half)
    high = torch.where(accuracy == 1, 1, center + half)
    return torch.stack([low, high], dim=-1)
