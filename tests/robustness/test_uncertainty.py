import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import binomtest

from monai_ima.robustness import uncertainty
from monai_ima.robustness.uncertainty import (
    bootstrap_interval,
    bootstrap_means,
    holm,
    mcnemar,
)

seeds = st.integers(0, 2**31)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_means_are_those_of_the_groups_drawn():
    values = torch.tensor([[1, 10], [3, 30], [8, 80], [0, 0], [4, 40]])
    groups = torch.tensor([7, 7, -2, 5, 5])
    members = [[2], [3, 4], [0, 1]]  # of the groups in the order of their numbers

    means = bootstrap_means(values, groups, draws=50, generator=generator())

    picked = torch.randint(3, (50, 3), generator=generator()).tolist()
    samples = [[sample for group in draw for sample in members[group]] for draw in picked]
    expected = torch.stack([values[drawn].double().mean(dim=0) for drawn in samples])
    torch.testing.assert_close(means, expected)
    assert len({len(drawn) for drawn in samples}) > 1


def test_draws_are_made_in_chunks_when_there_are_many_samples(monkeypatch):
    values = torch.rand(40, 2, 3)
    whole = bootstrap_means(values, draws=25, generator=generator())
    monkeypatch.setattr(uncertainty, "_CHUNK", 7 * 40)

    assert whole.shape == (25, 2, 3)
    torch.testing.assert_close(bootstrap_means(values, draws=25, generator=generator()), whole)


@given(st.integers(1, 30), seeds)
def test_groups_of_one_sample_are_the_bootstrap_of_samples(n, seed):
    values = torch.rand(n, generator=generator(seed))
    groups = torch.arange(n) * 3 + 5

    grouped, alone = (
        bootstrap_means(values, groups=g, draws=20, generator=generator(seed))
        for g in (groups, None)
    )

    assert torch.equal(grouped, alone)


@given(st.integers(1, 40), st.integers(1, 10), seeds)
def test_interval_holds_the_mean_itself(n, patients, seed):
    values = torch.rand(n, 3, generator=generator(seed)) < torch.tensor([0.1, 0.5, 0.9])
    groups = torch.randint(patients, (n,), generator=generator(seed + 1))

    low, high = bootstrap_interval(values, groups, draws=400, generator=generator(seed)).unbind(-1)

    mean = values.double().mean(dim=0)
    assert ((low <= mean + 1e-12) & (mean <= high + 1e-12)).all()
    assert ((low >= 0) & (high <= 1)).all()


@given(seeds)
@settings(max_examples=20)
def test_the_higher_the_level_the_wider_the_interval(seed):
    values = torch.rand(30, generator=generator(seed))

    narrow, wide = (
        bootstrap_interval(values, level=level, generator=generator(seed)) for level in (0.5, 0.95)
    )

    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_interval_of_a_mean_of_many_samples_is_that_of_the_normal_distribution():
    values = (torch.arange(2000) % 5 == 0).double()

    ends = bootstrap_interval(values, draws=4000, generator=generator())

    half = 1.96 * math.sqrt(0.2 * 0.8 / 2000)
    assert ends.tolist() == pytest.approx([0.2 - half, 0.2 + half], abs=0.05 * half)


def test_interval_over_patients_covers_the_truth_as_often_as_it_says_and_over_samples_does_not():
    chance, patients, images, repeats = generator(), 60, 6, 300
    truth = 0.6
    covered = {"patients": 0, "samples": 0}
    groups = torch.arange(patients).repeat_interleave(images)
    for _ in range(repeats):
        # Of ten images seven show what holds for their patient; the mean is the same.
        own, common = (torch.rand(patients * k, generator=chance) < truth for k in (images, 1))
        shares = torch.rand(patients * images, generator=chance) < 0.7
        values = torch.where(shares, common.repeat_interleave(images), own)
        for unit, given_groups in (("patients", groups), ("samples", None)):
            low, high = bootstrap_interval(values, given_groups, draws=400, generator=chance)
            covered[unit] += bool(low <= truth <= high)

    assert 0.91 <= covered["patients"] / repeats <= 0.98
    assert covered["samples"] / repeats < 0.85


def test_interval_of_values_that_are_all_the_same_is_that_value():
    ends = bootstrap_interval(torch.ones(9, 2), generator=generator())

    assert ends.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("values", "groups", "draws", "words"),
    [
        (torch.ones(0, 2), None, 9, "at least one sample"),
        (torch.ones(3), torch.zeros(2).long(), 9, r"whole numbers of shape \(3,\), .* \(2,\)"),
        (torch.ones(3), torch.zeros(3), 9, r"whole numbers .* got torch\.float32"),
        (torch.ones(3), None, 0, "expected draws to be a whole number >= 1, got 0"),
    ],
)
def test_bootstrap_refuses(values, groups, draws, words):
    with pytest.raises(ValueError, match=words):
        bootstrap_means(values, groups, draws=draws, generator=generator())


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.4]) == [0.8, 0.8]
    assert holm([0.9, 0.8]) == [1, 1]


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [(0, 0, 1), (5, 5, 1), (5, 0, 2 / 32), (0, 5, 2 / 32), (2, 10, 2 * (1 + 12 + 66) / 4096)],
)
def test_mcnemar_by_hand(wins, losses, p):
    assert mcnemar(wins, losses) == pytest.approx(p)


def test_mcnemar_of_many_samples_is_that_of_scipy():
    for wins, losses in ((4000, 4300), (30_000, 31_000)):
        expected = binomtest(wins, wins + losses).pvalue
        assert mcnemar(wins, losses) == pytest.approx(expected, rel=1e-6)


def drawn_together(values, draws, monkeypatch, seed=0):
    """Means of draws, as those of many samples are made."""
    with monkeypatch.context() as patch:
        patch.setattr(uncertainty, "_MANY", 0)
        return bootstrap_means(values, draws=draws, generator=generator(seed))


def test_many_samples_of_few_kinds_are_drawn_as_often_as_one_by_one(monkeypatch):
    levels = torch.arange(400).remainder(10).clamp(max=3)
    values = (levels[:, None] > torch.arange(3)).double()

    alone = bootstrap_means(values, draws=4000, generator=generator())
    together = drawn_together(values, 4000, monkeypatch)

    mean, spread = values.mean(dim=0), alone.std(dim=0)
    torch.testing.assert_close(together.mean(dim=0), mean, rtol=0, atol=0.1 * float(spread.min()))
    torch.testing.assert_close(together.std(dim=0), spread, rtol=0.05, atol=0)
    torch.testing.assert_close(together.T.corrcoef(), alone.T.corrcoef(), rtol=0, atol=0.05)
    assert not torch.equal(together, alone)


def test_many_samples_of_one_kind_or_of_many_kinds(monkeypatch):
    assert drawn_together(torch.ones(9, 2), 5, monkeypatch).tolist() == [[1, 1]] * 5
    values = torch.rand(1200, generator=generator())  # one by one
    alone = bootstrap_means(values, draws=5, generator=generator())
    assert torch.equal(drawn_together(values, 5, monkeypatch), alone)


def test_ten_million_samples_are_no_more_to_draw_than_a_hundred_thousand():
    values = torch.zeros(10_000_000)
    values[:3_000_000] = 1
    low, high = bootstrap_interval(values, generator=generator()).tolist()
    half = 1.96 * math.sqrt(0.3 * 0.7 / 10_000_000)
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.1 * half)
