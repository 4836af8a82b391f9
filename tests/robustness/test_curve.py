import json
import math

import pytest
import torch
from hypothesis import given, strategies as st

from monai_ima.robustness import RobustnessCurve, area_under, noise_levels, wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe, Two-sided confidence intervals for the single proportion, 1998, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_agrees_with_published_values(successes, n, low, high):
    interval = wilson_interval(torch.tensor([successes / n], dtype=torch.float64), n)

    assert interval.tolist() == [pytest.approx([low, high], abs=5.1e-5)]


def test_wilson_interval_ends_are_those_of_the_score_test():
    accuracy = torch.tensor([0.05, 0.4, 0.9], dtype=torch.float64)
    ends = wilson_interval(accuracy, 40)

    z = (accuracy[:, None] - ends).abs() / (ends * (1 - ends) / 40).sqrt()
    torch.testing.assert_close(z, torch.full_like(z, 1.959964))


@pytest.mark.parametrize("n", [1, 3, 7, 250])
def test_wilson_interval_touches_zero_and_one_exactly(n):
    low, high = wilson_interval(torch.tensor([0.0, 1.0], dtype=torch.float64), n).unbind(dim=1)

    assert low[0] == 0
    assert high[1] == 1
    assert 0 < high[0] < 1
    assert 0 < low[1] < 1


@pytest.fixture
def curve():
    robust = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 0]]).bool()
    return RobustnessCurve(
        torch.tensor([0, 0.1, 0.4]), robust, torch.tensor([0, 0, 2, 2, 2]), "linf"
    )


def test_curve_by_hand(curve):
    assert curve.accuracy.tolist() == pytest.approx([0.8, 0.6, 0.2])
    assert curve.per_class[[0, 2]].tolist() == [
        pytest.approx([1, 1 / 2, 0]),
        pytest.approx([2 / 3, 2 / 3, 1 / 3]),
    ]
    assert curve.per_class[1].isnan().all()  # no sample of class 1
    assert curve.auc() == pytest.approx((0.1 * 0.7 + 0.3 * 0.4) / 0.4)
    assert torch.equal(curve.interval, wilson_interval(curve.accuracy, 5))


def test_curve_as_plain_values(curve):
    values = curve.to_dict()

    assert (values["norm"], values["n"]) == ("linf", 5)
    assert values["auc"] == curve.auc()
    for name in ("eps", "accuracy"):
        assert values[name] == getattr(curve, name).tolist()
    assert [list(ends) for ends in zip(values["low"], values["high"], strict=True)] == (
        curve.interval.tolist()
    )
    assert values["per_class"][2] == curve.per_class[2].tolist()


@pytest.mark.parametrize("constant", [0, 1])
def test_area_of_a_constant_accuracy_is_that_accuracy(constant):
    robust = torch.full((3, 4), constant).bool()
    curve = RobustnessCurve(torch.tensor([0, 0.1, 0.5, 2]), robust, torch.arange(3), "l2")

    assert curve.auc() == pytest.approx(constant)


@pytest.mark.parametrize("eps", [[0.5, 2], [0, 0.5, 2], torch.tensor([0.5, 2]), (0, 0.5, 2)])
def test_noise_levels_start_at_zero(eps):
    assert noise_levels(eps).tolist() == [0, 0.5, 2]


@pytest.mark.parametrize(
    "eps",
    [
        [],
        [0],
        [-0.1, 0.2],
        [0.2, 0.1],
        [0.1, 0.1],
        [0.1, math.inf],
        [math.nan],
        [0.1, math.nan, 0.2],
        [[0.1, 0.2]],
    ],
)
def test_noise_levels_refuse_what_is_not_an_increasing_list(eps):
    with pytest.raises(ValueError, match="expected noise levels to be positive and increasing"):
        noise_levels(eps)


def test_json_of_a_class_without_samples_is_valid():
    robust = torch.ones(2, 2).bool()
    curve = RobustnessCurve(torch.tensor([0, 0.1]), robust, torch.tensor([0, 2]), "l2")
    text = json.dumps(curve.to_dict(), allow_nan=False)
    assert json.loads(text)["per_class"] == [[1, 1], [None, None], [1, 1]]


def test_a_single_level_without_brackets_is_refused():
    with pytest.raises(ValueError, match=r"positive and increasing .*, got 0\.2"):
        noise_levels(0.2)


def test_curve_of_margins_stands_below_them():
    margins = torch.tensor([0, 0.1, 0.2, torch.inf], dtype=torch.float64)
    curve = RobustnessCurve.from_margins(
        margins, torch.tensor([1, 0, 1, 0]), eps=[0.1, 0.3], norm="l2"
    )

    assert curve.eps.tolist() == [0, 0.1, 0.3]
    assert curve.robust.tolist() == [
        [False, False, False],
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
    assert curve.norm == "l2"


def test_classes_beyond_the_largest_label_have_rows_too():
    curve = RobustnessCurve.from_margins(
        torch.ones(2), torch.tensor([0, 1]), eps=[0.5], norm="linf", classes=3
    )

    assert len(curve.per_class) == 3
    assert curve.per_class[2].isnan().all()


def test_area_is_the_mean_up_to_the_last_level():
    curves = torch.tensor([[1.0, 0.5, 0.1], [1, 1, 1]], dtype=torch.float64)

    areas = area_under(curves, torch.tensor([0, 1, 4], dtype=torch.float64))

    assert areas.tolist() == pytest.approx([(0.75 * 1 + 0.3 * 3) / 4, 1])


def test_classes_count_alike_in_a_balanced_area_and_those_without_a_sample_do_not():
    """Eight of class 0, of which each is robust at 1, and one of class 2, which is not."""
    labels = torch.tensor([0] * 8 + [2])
    robust = torch.tensor([[True, True]] * 8 + [[True, False]])
    curve = RobustnessCurve(torch.tensor([0.0, 1.0]), robust, labels, "linf", classes=4)
    assert curve.auc() == pytest.approx(17 / 18)
    assert curve.balanced_auc() == 0.75


@given(wrong=st.permutations(range(21)))
def test_of_classes_of_one_size_the_balanced_area_is_the_plain_one_and_a_tie_stays_one(wrong):
    labels = torch.arange(21) % 3
    robust = torch.ones(21, 2, dtype=torch.bool)
    robust[wrong[:10], 1] = False
    curve = RobustnessCurve(torch.tensor([0.0, 0.01]), robust, labels, "linf")
    assert curve.balanced_auc() == round(curve.auc(), 12) == round(32 / 42, 12)
