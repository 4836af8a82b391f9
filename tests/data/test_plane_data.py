import math

import pytest
import torch

from monai_ima.data import load_plane
from monai_ima.data.moons import GAUSSIAN_MEANS, moon


def test_moons_are_standardized():
    angles = torch.linspace(0, math.pi, 20001, dtype=torch.float64)
    points = torch.cat([moon(angles, torch.full((20001,), label)) for label in (0, 1)])

    torch.testing.assert_close(points.mean(dim=0), torch.zeros(2).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(points.std(dim=0), torch.ones(2).double(), atol=1e-4, rtol=0)


def test_noiseless_moons_are_half_circles_before_they_are_scaled():
    samples = load_plane(noise=0, training=200).training
    spread = torch.tensor([math.sqrt(0.75), math.sqrt(9 / 16 - 1 / math.pi)])
    x, y = (samples.inputs * spread + torch.tensor([0.5, 0.25])).T
    upper = samples.labels == 0

    torch.testing.assert_close((x**2 + y**2)[upper], torch.ones(100))
    torch.testing.assert_close(((x - 1) ** 2 + (y - 0.5) ** 2)[~upper], torch.ones(100))
    assert (y[upper] >= 0).all()
    assert (y[~upper] <= 0.5).all()


def test_noise_is_that_of_moons_before_they_are_scaled():
    still, noisy = (load_plane(noise=noise, training=20000).training for noise in (0, 0.1))
    spread = (noisy.inputs - still.inputs).std(dim=0)

    expected = [0.1 / math.sqrt(0.75), 0.1 / math.sqrt(9 / 16 - 1 / math.pi)]
    assert spread.tolist() == pytest.approx(expected, rel=0.03)


def test_gaussians_lie_around_their_means():
    samples = load_plane("gaussians", noise=0.2, training=20000).training
    for label, center in enumerate(GAUSSIAN_MEANS):
        points = samples.inputs[samples.labels == label]
        assert points.mean(dim=0).tolist() == pytest.approx(center, abs=0.01)
        assert points.std(dim=0).tolist() == pytest.approx([0.2, 0.2], rel=0.03)


@pytest.mark.parametrize("shape", ["moons", "gaussians"])
def test_sections_differ_and_the_seed_decides(shape):
    first, again, other = (
        load_plane(shape, training=40, validation=20, test=30, seed=seed) for seed in (3, 3, 4)
    )

    assert [len(first.training), len(first.validation), len(first.test)] == [40, 20, 30]
    assert torch.equal(first.training.inputs, again.training.inputs)
    assert torch.equal(first.test.inputs, again.test.inputs)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    sections = (first.training, first.validation, first.test)
    assert len(torch.cat([section.inputs for section in sections]).unique(dim=0)) == 90
    for section in sections:
        assert section.labels.bincount().tolist() == [len(section) / 2] * 2
    assert len({name for section in sections for name in section.ids}) == 90


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": "suns"}, "expected shape to be one of"),
        ({"noise": -0.1}, "expected a finite noise, not below 0, got -0.1"),
        ({"noise": math.nan}, "expected a finite noise"),
        ({"training": 3}, "expected training to be an even whole number >= 2, got 3"),
        ({"test": 0}, "expected test to be"),
        ({"validation": 4.0}, "expected validation to be"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_plane(**arguments)
