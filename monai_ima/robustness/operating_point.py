"""Two classes, as a clinic reads them: the threshold that calls a case positive, and what a call is worth."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def roc_points(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points of the ROC curve, one for each threshold that calls other cases positive.

    A case is called positive if its score is at least the threshold.

    Args:
        scores: ``(N,)``, higher for those that are more likely positive.
        positive: ``(N,)`` bool, the truth; some are, and some are not.

    Returns:
        Thresholds ``(K,)``, from infinity, which calls nobody positive, to the lowest score; and at
        each of them sensitivity and specificity, ``(K,)`` float64.

    Raises:
        ValueError: if a score is NaN, or all cases are of one class.
    """
    if scores.isnan().any() or positive.all() or not positive.any():
        raise ValueError(
            "expected scores that can be ranked, of positive and of negative cases, got "
            f"{int(positive.sum())} positive of {len(positive)} and {int(scores.isnan().sum())} NaN"
        )
    thresholds = torch.cat([scores.new_tensor([math.inf]), scores.unique().flip(0)])
    ordered = [scores[of].sort().values for of in (positive, ~positive)]
    sensitivity, above = (
        1 - torch.searchsorted(values, thresholds, side="left").double() / len(values)
        for values in ordered
    )
    return thresholds, sensitivity, 1 - above


def threshold_at(scores: Tensor, positive: Tensor, *, specificity: float) -> float:
    """The lowest threshold with at least a specificity: none with it is more sensitive.

    Args:
        scores: as of :func:`roc_points`, with ``positive``.
        positive: see there.
        specificity: from 0 to 1.

    Returns:
        Infinity if only calling nobody positive is as specific.

    Example:
        >>> scores = torch.tensor([0.1, 0.4, 0.6, 0.7, 0.9])
        >>> positive = torch.tensor([False, False, True, False, True])
        >>> round(threshold_at(scores, positive, specificity=0.6), 4)
        0.6
    """
    thresholds, _, specificities = roc_points(scores, positive)
    # the share of the negatives is a quotient of two whole numbers
    return float(thresholds[specificities >= specificity - 1e-12].min())


def predictive_values(
    sensitivity: float, specificity: float, prevalence: float
) -> tuple[float, float]:
    """Share of the positive calls that are right, and of the negative ones, where the disease is so frequent.

    Args:
        sensitivity: from 0 to 1.
        specificity: from 0 to 1.
        prevalence: share of the positive among those examined.

    Returns:
        Positive and negative predictive value; NaN where nobody gets that call.

    Source:
        Altman and Bland, Diagnostic Tests 2: Predictive Values, 1994.

    Example:
        >>> ppv, npv = predictive_values(0.9, 0.8, 0.01)
        >>> round(ppv, 3), round(npv, 4)
        (0.043, 0.9987)
    """
    true_positive, false_negative = sensitivity * prevalence, (1 - sensitivity) * prevalence
    true_negative = specificity * (1 - prevalence)
    false_positive = (1 - specificity) * (1 - prevalence)
    called, not_called = true_positive + false_positive, true_negative + false_negative
    return (
        true_positive / called if called else math.nan,
        true_negative / not_called if not_called else math.nan,
    )
