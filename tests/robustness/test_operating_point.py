"""Thresholds and predictive values, against numbers worked out by hand."""

import math

import pytest
import torch

from monai_ima.robustness import macro_auroc
from monai_ima.robustness.operating_point import predictive_values, roc_points, threshold_at
from monai_ima.robustness.statistics import brier_score

SCORES = torch.tensor([0.9, 0.8, 0.8, 0.6, 0.3, 0.1])
POSITIVE = torch.tensor([True, True, False, True, False, False])


def test_the_roc_curve_of_six_cases():
    thresholds, sensitivity, specificity = roc_points(SCORES, POSITIVE)
    torch.testing.assert_close(thresholds, torch.tensor([math.inf, 0.9, 0.8, 0.6, 0.3, 0.1]))
    third = torch.tensor([0, 1, 2, 3, 3, 3]).double() / 3
    torch.testing.assert_close(sensitivity, third)
    torch.testing.assert_close(specificity, torch.tensor([3, 3, 2, 2, 1, 0]).double() / 3)
    # two of nine pairs: one tie, counted as half, and (0.6, 0.8) in the wrong order
    area = torch.trapezoid(sensitivity, 1 - specificity)
    assert float(area) == pytest.approx(7.5 / 9)
    both = torch.stack([1 - SCORES, SCORES], dim=1)
    assert macro_auroc(both, POSITIVE.long()) == pytest.approx(7.5 / 9)


@pytest.mark.parametrize(
    ("specificity", "threshold"), [(1, 0.9), (0.9, 0.9), (2 / 3, 0.6), (0.5, 0.6), (0.1, 0.3)]
)
def test_the_lowest_threshold_that_is_specific_enough(specificity, threshold):
    assert threshold_at(SCORES, POSITIVE, specificity=specificity) == pytest.approx(threshold)


def test_where_the_highest_score_is_negative_only_calling_nobody_is_specific():
    assert threshold_at(-SCORES, POSITIVE, specificity=0.9) == math.inf


@pytest.mark.parametrize("positive", [torch.ones(6).bool(), torch.zeros(6).bool()])
def test_one_class_alone_has_no_curve(positive):
    with pytest.raises(ValueError, match="of positive and of negative cases, got"):
        roc_points(SCORES, positive)
    with pytest.raises(ValueError, match="1 NaN"):
        roc_points(SCORES.clone().fill_(math.nan)[:1], POSITIVE[:1])


@pytest.mark.parametrize(
    ("rates", "values"),
    [
        ((0.9, 0.8, 0.5), (0.9 / 1.1, 0.8 / 0.9)),  # 45 of 55 called, 40 of 45 not called
        ((0.9, 0.8, 0.1), (9 / 27, 72 / 73)),  # of 100: 9 and 18 called, 72 and 1 not
        ((0.0, 1.0, 0.3), (math.nan, 0.7)),
        ((1.0, 0.0, 0.3), (0.3, math.nan)),
    ],
)
def test_predictive_values_follow_the_prevalence(rates, values):
    assert predictive_values(*rates) == pytest.approx(values, nan_ok=True)


def test_the_brier_score_of_three_cases():
    probabilities = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.0, 1.0]])
    labels = torch.tensor([0, 1, 0])
    assert brier_score(probabilities, labels) == pytest.approx((0.08 + 0.72 + 2) / 3)
