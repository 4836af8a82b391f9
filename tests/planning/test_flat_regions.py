"""Reference noise: known noise is measured, whatever else is in the images."""

import pytest
import torch

from monai_ima.planning import reference_noise

SHAPES = [(400, 1, 187), (12, 1, 64, 80), (3, 3, 120, 104), (5, 1, 30, 36, 33)]


def scene(shape, sigma, generator):
    """An even slope with an edge across it, and noise."""
    inputs = torch.full(shape, 0.4) + torch.linspace(0, 0.2, shape[-1])
    inputs[..., : shape[-1] // 3] = 0.2
    return inputs + sigma * torch.randn(shape, generator=generator)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", [0.002, 0.03])
def test_noise_beside_edges_and_slopes_is_that_which_was_added(shape, sigma):
    inputs = scene(shape, sigma, torch.Generator().manual_seed(0))
    assert reference_noise(inputs) == pytest.approx(sigma, rel=0.1)


def test_textures_count_as_little_as_the_flattest_tenth_allows():
    generator = torch.Generator().manual_seed(1)
    inputs = 0.5 + 0.01 * torch.randn((10, 1, 64, 64), generator=generator)
    inputs[:, :, :, 16:] += 0.3 * torch.rand((10, 1, 64, 48), generator=generator).round()
    assert reference_noise(inputs) == pytest.approx(0.01, rel=0.1)


def test_noise_is_not_chosen_for_being_small():
    """A tenth of the patches, chosen by how little they vary, would have a sixth less."""
    generator = torch.Generator().manual_seed(2)
    inputs = 0.5 + 0.05 * torch.randn((200, 1, 16, 16), generator=generator)
    assert reference_noise(inputs) == pytest.approx(0.05, rel=0.05)


def test_padding_and_what_is_cut_off_do_not_count():
    inputs = scene((12, 1, 64, 64), 0.02, torch.Generator().manual_seed(3))
    inputs[:, :, :40] = 0
    inputs[:, :, :, :16] = 1
    assert reference_noise(inputs) == pytest.approx(0.02, rel=0.1)


def test_other_bounds_are_in_their_own_units():
    inputs = scene((12, 1, 64, 64), 0.02, torch.Generator().manual_seed(4))
    measured = reference_noise(400 * inputs - 160, bounds=(-160.0, 240.0))
    assert measured == pytest.approx(400 * reference_noise(inputs), rel=1e-4)


@pytest.mark.parametrize(
    "inputs", [torch.zeros(3, 1, 16, 16), torch.rand(30, 2), torch.rand(4, 1, 2, 9)]
)
def test_there_is_none_without_flat_regions(inputs):
    assert reference_noise(inputs) is None


def test_images_smaller_than_a_patch_are_one():
    inputs = 0.5 + 0.05 * torch.randn((300, 1, 5, 7), generator=torch.Generator().manual_seed(5))
    assert reference_noise(inputs) == pytest.approx(0.05, rel=0.1)
