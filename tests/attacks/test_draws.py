"""Random numbers from a counter."""

import pytest
import torch

from monai_ima.attacks.draws import SampleDraws, _hashed, drawn_seed

LIKE = torch.empty(200, 5, 13)
SAMPLES = torch.arange(200)


def test_mixing_is_splitmix64s():
    increment = 0x9E3779B97F4A7C15 - 2**64
    words = _hashed(torch.arange(1, 4) * increment)  # its first outputs for a seed of 0
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [word % 2**64 for word in words.tolist()] == expected


@pytest.mark.parametrize("kind", ["uniform", "normal"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_are_a_samples_own(kind, dtype):
    like = LIKE.to(dtype)
    together = getattr(SampleDraws(3, SAMPLES, 2), kind)(like)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    restarts = torch.full((200,), 2)
    shuffled = getattr(SampleDraws(torch.tensor(3), order, restarts), kind)(like)
    assert together.dtype == dtype
    assert together.shape == LIKE.shape
    assert torch.equal(shuffled, together[order])
    for row in (0, 77):
        alone = getattr(SampleDraws(3, SAMPLES[row : row + 1], 2), kind)(like[:1])
        assert torch.equal(alone[0], together[row])


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_another_name_gives_independent_numbers(kind):
    names = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (-5, 0, 0), (2**62, 0, 0)]
    drawn = [getattr(SampleDraws(s, SAMPLES, d, t), kind)(LIKE).flatten() for s, d, t in names]
    drawn.append(drawn[0].roll(65))  # the next sample's
    drawn.append(drawn[0].roll(1))  # the next element's
    correlation = torch.corrcoef(torch.stack(drawn)) - torch.eye(len(drawn))
    assert correlation.abs().max() < 5 / len(drawn[0]) ** 0.5


def test_uniform_numbers_are_uniform():
    numbers = SampleDraws(0, torch.arange(10_000)).uniform(torch.empty(10_000, 100))
    assert numbers.min() >= 0
    assert numbers.max() < 1
    shares = torch.histc(numbers, bins=20, min=0, max=1) / numbers.numel()
    torch.testing.assert_close(shares, torch.full((20,), 0.05), rtol=0.02, atol=0)


def test_normal_numbers_are_normal():
    numbers = SampleDraws(0, torch.arange(10_000)).normal(torch.empty(10_000, 101)).double()
    moments = torch.stack([(numbers**power).mean() for power in (1, 2, 3, 4)])
    expected = torch.tensor([0.0, 1.0, 0.0, 3.0]).double()
    torch.testing.assert_close(moments, expected, rtol=0, atol=0.03)
    below = torch.tensor([(numbers < at).double().mean() for at in (-2.0, -1.0, 0.5)])
    expected = torch.distributions.Normal(0, 1).cdf(torch.tensor([-2.0, -1.0, 0.5])).double()
    torch.testing.assert_close(below, expected, rtol=0, atol=0.002)


def test_a_seed_comes_from_the_generator_or_the_global_one():
    assert drawn_seed(torch.Generator().manual_seed(1)) == drawn_seed(
        torch.Generator().manual_seed(1)
    )
    torch.manual_seed(2)
    first = drawn_seed(None)
    assert first != drawn_seed(None)
    torch.manual_seed(2)
    assert first == drawn_seed(None)
