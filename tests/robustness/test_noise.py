import math

import pytest
import torch

from monai_ima.attacks import get_norm
from monai_ima.robustness.noise import white_noise_errors


def beyond(threshold):
    """Class 1 where the first value is above a threshold."""

    def model(x):
        first = x.flatten(1)[:, 0]
        return torch.stack([torch.zeros_like(first), first - threshold], dim=1)

    return model


def errors(model, *, noise, norm, eps, shape=(400, 1, 3), draws=5, bounds=None, seed=0, index=None):
    inputs = torch.full(shape, 0.5)
    return white_noise_errors(
        model,
        inputs,
        torch.zeros(len(inputs)).long(),
        noise=noise,
        eps=torch.tensor(eps, dtype=torch.float64),
        norm=get_norm(norm),
        draws=draws,
        bounds=bounds,
        index=torch.arange(len(inputs)) if index is None else index,
        seed=seed,
    )


@pytest.mark.parametrize(
    ("noise", "norm", "share"),
    [
        ("uniform", "linf", 0.25),  # 0.1 above: half of what is up, in [-0.2, 0.2]
        ("gaussian", "linf", 1 - torch.special.ndtr(torch.tensor(0.5)).item()),
        # a coordinate of the ball in three dimensions: share of the volume above half the radius
        ("uniform", "l2", 5 / 32),
        ("gaussian", "l2", 1 - torch.special.ndtr(torch.tensor(0.5 * math.sqrt(3))).item()),
    ],
)
def test_share_of_flips_is_that_of_the_distribution(noise, norm, share):
    counts = errors(beyond(0.6), noise=noise, norm=norm, eps=[0, 0.2])

    assert counts.shape == (400, 2)
    assert (counts[:, 0] == 0).all()
    assert counts[:, 1].double().mean() / 5 == pytest.approx(share, abs=0.03)
    assert counts.max() <= 5


def test_noise_is_cut_to_the_bounds():
    assert (
        errors(beyond(0.6), noise="uniform", norm="linf", eps=[0.3], bounds=(0.4, 0.59)).sum() == 0
    )


def test_a_samples_noise_depends_on_its_number_and_the_seed_alone():
    settings = {"noise": "gaussian", "norm": "linf", "eps": [0.1, 0.2]}
    whole = errors(beyond(0.6), **settings)
    part = errors(beyond(0.6), **settings, shape=(7, 1, 3), index=torch.arange(10, 17))

    assert torch.equal(part, whole[10:17])
    assert not torch.equal(errors(beyond(0.6), **settings, seed=1), whole)


def test_more_noise_of_the_same_draw_flips_no_less_on_a_half_space():
    counts = errors(beyond(0.55), noise="uniform", norm="l2", eps=[0.1, 0.2, 0.4])
    assert (counts.diff(dim=1) >= 0).all()
    assert (counts.diff(dim=1) > 0).any(dim=0).all()
