import json
import math

import pytest
import torch
import torch.nn.functional as F
from linear import exact_distance, linear_model
from torch import nn

from monai_ima.attacks import L2, Linf
from monai_ima.losses import soft_margin
from monai_ima.robustness import RobustnessCurve, noise_levels, sweep, wilson_interval

WIDE = (-100.0, 100.0)


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


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("shape", [(7,), (2, 3, 5)])
def test_sweep_finds_the_exact_robust_set_of_a_linear_model(norm, shape):
    model = linear_model(shape)
    inputs, labels = torch.randn(60, *shape), torch.arange(60) % 2
    distance = exact_distance(model, inputs, labels, norm)
    eps = noise_levels(distance[distance > 0].quantile(torch.tensor([0.2, 0.5, 0.8])).tolist())
    clear = ((distance[:, None] / eps[1:] - 1).abs() > 0.01).all(dim=1)

    robust = sweep(
        model, inputs[clear], labels[clear], eps=eps, norm=norm, bounds=WIDE, steps=100, restarts=1
    )

    assert clear.sum() > 50
    assert torch.equal(robust, distance[clear, None] > eps)
    assert robust.double().mean(dim=0).diff().max() < 0  # some fall at every level


def test_a_clean_error_is_never_robust_and_no_sample_recovers():
    model, inputs, labels = trained_mlp()
    labels[:9] = 1 - labels[:9]
    wrong = model(inputs).argmax(dim=1) != labels

    robust = sweep(model, inputs, labels, eps=[0.01, 0.05, 0.1, 0.2], norm="l2", steps=10)

    assert wrong.sum() >= 9
    assert torch.equal(robust[:, 0], ~wrong)
    assert (robust.int().diff(dim=1) <= 0).all()


def trained_mlp():
    """Two classes of points in the unit square that no line separates, and their classifier."""
    inputs = torch.rand(64, 2, dtype=torch.float64)
    labels = ((inputs - 0.5).prod(dim=1) > 0).long()
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2)).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model, inputs, labels


class StillLinf(Linf):
    """Linf whose random start is the sample itself."""

    def uniform(self, like, eps, generator):
        return torch.zeros_like(like)


class StillL2(L2):
    uniform = StillLinf.uniform


def stands_up_to(model, sample, label, eps, norm, steps):
    """PGD of one sample as it is written in a textbook: is every iterate correctly classified?"""
    iterate, radius = sample, torch.tensor([eps], dtype=sample.dtype)
    for _ in range(steps):
        leaf = iterate.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(soft_margin(model(leaf), label).sum(), leaf)
        climbed = iterate + eps / 10 * norm.direction(gradient)
        iterate = (sample + norm.project(climbed - sample, radius)).clamp(0, 1)
        if model(iterate).argmax(dim=1) != label:
            return False
    return True


@pytest.mark.parametrize("steps", [7, 15])  # of eps / 10: not out to the surface, and along it
@pytest.mark.parametrize("norm", [StillLinf(), StillL2()])
def test_sweep_equals_a_loop_over_samples_levels_and_iterates(norm, steps):
    model, inputs, labels = trained_mlp()
    labels[:9] = 1 - labels[:9]
    eps = [0.02, 0.05, 0.1, 0.2]
    correct = model(inputs).argmax(dim=1) == labels

    looped = torch.tensor(
        [
            [stands_up_to(model, sample[None], label[None], level, norm, steps) for level in eps]
            for sample, label in zip(inputs, labels, strict=True)
        ]
    )
    expected = torch.cat([correct[:, None], looped], dim=1).int().cummin(dim=1).values.bool()

    assert torch.equal(sweep(model, inputs, labels, eps=eps, norm=norm, steps=steps), expected)
    assert expected.any(dim=0).all()
    assert not expected.all(dim=0).any()


class Scripted(Linf):
    """Linf whose random starts are given, in units of ``eps``."""

    def __init__(self, *starts):
        self.starts = list(starts)

    def uniform(self, like, eps, generator):
        return torch.full_like(like, self.starts.pop(0)) * eps[:, None]


def step_at_0_585(inputs):
    """Class 1 from there on, and flat below, where a gradient leads nowhere."""
    return torch.cat([torch.full_like(inputs, 0.1), 10 * (inputs - 0.575).relu()], dim=1)


@pytest.mark.parametrize(
    ("starts", "robust"), [((0,), True), ((0, 0), True), ((0, 1), False), ((1,), False)]
)
def test_each_restart_attacks_what_still_stands(starts, robust):
    norm = Scripted(*starts)
    found = sweep(
        step_at_0_585,
        torch.tensor([[0.5]]),
        torch.tensor([0]),
        eps=[0.1],
        norm=norm,
        steps=3,
        restarts=len(starts),
    )

    assert found.tolist() == [[True, robust]]
    assert norm.starts == []


def test_what_fell_at_a_level_is_down_at_every_higher_one_without_another_attack():
    norm = Scripted(1, 0)  # the second start would find nothing
    found = sweep(
        step_at_0_585,
        torch.tensor([[0.5]]),
        torch.tensor([0]),
        eps=[0.1, 0.2],
        norm=norm,
        steps=3,
        restarts=1,
    )

    assert found.tolist() == [[True, False, False]]
    assert norm.starts == [0]


def test_the_same_generator_seed_gives_the_same_result():
    model, inputs, labels = trained_mlp()

    def found(seed):
        generator = torch.Generator().manual_seed(seed)
        eps = torch.linspace(0.01, 0.3, 30)
        torch.rand(seed + 1)  # the global generator plays no part
        return sweep(
            model, inputs, labels, eps=eps, norm="l2", steps=1, restarts=1, generator=generator
        )

    assert torch.equal(found(0), found(0))
    assert not torch.equal(found(0), found(1))


def test_no_restart_is_refused():
    with pytest.raises(ValueError, match="restarts to be a whole number >= 1, got 0"):
        sweep(
            linear_model((2,)),
            torch.rand(3, 2),
            torch.zeros(3).long(),
            eps=[0.1],
            norm="l2",
            restarts=0,
        )


def test_json_of_a_class_without_samples_is_valid():
    robust = torch.ones(2, 2).bool()
    curve = RobustnessCurve(torch.tensor([0, 0.1]), robust, torch.tensor([0, 2]), "l2")
    text = json.dumps(curve.to_dict(), allow_nan=False)
    assert json.loads(text)["per_class"] == [[1, 1], [None, None], [1, 1]]


def test_a_single_level_without_brackets_is_refused():
    with pytest.raises(ValueError, match=r"positive and increasing .*, got 0\.2"):
        noise_levels(0.2)


def test_sweep_refuses_labels_in_columns():
    with pytest.raises(ValueError, match=r"labels \(N,\), got \(3, 2\) and \(3, 1\)"):
        sweep(linear_model((2,)), torch.rand(3, 2), torch.zeros(3, 1).long(), eps=[0.1], norm="l2")
