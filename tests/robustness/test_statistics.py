import math

import pytest
import torch
from hypothesis import given, strategies as st

from monai_ima.robustness.statistics import (
    balanced_accuracy,
    confusion,
    macro_auroc,
    median_margin,
    positive_predictive_value,
    specificity,
)

seeds = st.integers(0, 2**31)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_balanced_accuracy_leaves_out_classes_without_samples():
    nan = math.nan
    per_class = torch.tensor([[1.0, 0.5], [nan, nan], [0.5, 0.0], [0.0, 0.1]])

    assert balanced_accuracy(per_class).tolist() == pytest.approx([0.5, 0.2])


def test_specificity_by_hand():
    labels = torch.tensor([0, 0, 1, 2, 2])
    predicted = torch.tensor([[0, 1], [0, 1], [1, 2], [2, 0], [1, 1]])

    assert specificity(predicted, labels, 4).tolist() == [
        pytest.approx([1, 2 / 3]),
        pytest.approx([3 / 4, 1 / 4]),
        pytest.approx([1, 2 / 3]),
        pytest.approx([1, 1]),
    ]


def test_specificity_without_samples_of_other_classes_is_nan():
    found = specificity(torch.tensor([[0], [1]]), torch.tensor([0, 0]), 2)

    assert found.isnan().tolist() == [[True], [False]]
    assert found[1] == 0.5


def test_confusion_and_positive_predictive_value_by_hand():
    labels = torch.tensor([0, 0, 1, 2, 2])
    predicted = torch.tensor([[0, 1], [0, 1], [1, 2], [2, 0], [1, 1]])

    assert confusion(predicted, labels, 4).tolist() == [
        [[2, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]],
        [[0, 2, 0, 0], [0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]],
    ]
    found = positive_predictive_value(predicted, labels, 4)
    assert found[:3].tolist() == [[1, 0], [1 / 2, 0], [1, 0]]
    assert found[3].isnan().all()  # nobody is given the last class


@given(st.integers(1, 5), st.integers(1, 60), seeds)
def test_positive_predictive_value_follows_from_frequency_sensitivity_and_specificity(c, n, seed):
    """By Bayes' theorem."""
    labels = torch.randint(c, (n,), generator=generator(seed))
    predicted = torch.randint(c, (n, 2), generator=generator(seed + 1))
    found = positive_predictive_value(predicted, labels, c)

    counts = confusion(predicted, labels, c)
    assert torch.equal(counts.sum(dim=2), torch.bincount(labels, minlength=c).expand(2, c))
    for label in range(c):
        share = (labels == label).double().mean()
        right = share * (predicted[labels == label] == label).double().mean(dim=0).nan_to_num()
        spared = specificity(predicted, labels, c)[label].nan_to_num()
        expected = right / (right + (1 - share) * (1 - spared))
        torch.testing.assert_close(found[label], expected, equal_nan=True)


def test_auroc_by_hand():
    scores = torch.tensor([[0.1, 0.9], [0.4, 0.6], [0.4, 0.6], [0.8, 0.2]])
    labels = torch.tensor([1, 0, 1, 0])

    assert macro_auroc(scores, labels) == pytest.approx(3.5 / 4)  # one tie of four pairs


@pytest.mark.parametrize("decimals", [1, 7])  # of 0.1: most samples are tied with others
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_auroc_is_that_of_scikit_learn(decimals, dtype):
    metrics = pytest.importorskip("sklearn.metrics", reason="the area is compared with its")
    labels = torch.randint(5, (300,))
    scores = torch.randn(300, 5, dtype=dtype) + torch.eye(5, dtype=dtype)[labels]
    scores = scores.softmax(dim=1).round(decimals=decimals)

    areas = [metrics.roc_auc_score(labels == c, scores[:, c]) for c in range(5)]

    assert macro_auroc(scores, labels) == pytest.approx(sum(areas) / 5, abs=1e-12)
    assert 0.6 < sum(areas) / 5 < 0.9


@given(st.integers(2, 60), seeds)
def test_auroc_knows_only_the_order_of_the_scores(n, seed):
    scores = torch.randint(-9, 9, (n, 3), generator=generator(seed)).double() / 4
    labels = torch.randint(3, (n,), generator=generator(seed + 1))
    area = macro_auroc(scores, labels)

    assert macro_auroc(scores.exp() * torch.tensor([1, 2, 3]) - 5, labels) == area
    if area is not None:
        assert macro_auroc(-scores, labels) == pytest.approx(1 - area)


@pytest.mark.parametrize("labels", [[0, 0, 0], []])
def test_auroc_of_a_single_class_is_none(labels):
    assert macro_auroc(torch.rand(len(labels), 2), torch.tensor(labels).long()) is None


def test_auroc_leaves_out_classes_without_samples():
    scores = torch.tensor([[0.9, 0.1, 0.3], [0.1, 0.2, 0.9], [0.2, 0.1, 0.8]])

    assert macro_auroc(scores, torch.tensor([0, 2, 2])) == 1


def test_auroc_refuses_scores_without_order():
    with pytest.raises(ValueError, match="ranked, got NaN"):
        macro_auroc(torch.tensor([[0.1, 0.9], [math.nan, 0.5]]), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("margins", "correct", "median"),
    [
        ([0.3, 0.1, 0.2], [1, 1, 1], 0.2),
        ([0.4, 0.1, 0.2, 0.3], [1, 1, 1, 1], 0.2),  # where two of the four are lost
        ([0.0, 0.0, 0.5, math.inf], [0, 0, 1, 1], 0.5),
        ([0.1, 0.5, math.inf, math.inf], [1, 1, 1, 1], 0.5),
        ([0.1, math.inf, math.inf], [1, 1, 1], None),
        ([0.0, 0.0], [0, 0], None),
        ([], [], None),
    ],
)
def test_median_margin_by_hand(margins, correct, median):
    margins = torch.tensor(margins, dtype=torch.float64)

    assert median_margin(margins, torch.tensor(correct).bool()) == median


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), seeds)
def test_at_the_median_margin_half_are_lost_and_not_below_it(numbers, seed):
    margins = torch.tensor(numbers).double()
    correct = torch.rand(len(numbers), generator=generator(seed)) < 0.7
    median = median_margin(margins, correct)

    if correct.any():
        assert (margins[correct] <= median).double().mean() >= 0.5
        assert (margins[correct] < median).double().mean() < 0.5
    else:
        assert median is None


def test_median_margin_refuses_nan():
    with pytest.raises(ValueError, match="got NaN"):
        median_margin(torch.tensor([0.1, math.nan]), torch.tensor([True, True]))
