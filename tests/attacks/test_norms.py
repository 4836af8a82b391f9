import math

import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from monai_ima.attacks import L2, Linf, get_norm
from monai_ima.attacks.draws import SampleDraws

NORMS = [Linf(), L2()]
perturbations = array_shapes(min_dims=2, max_dims=4, max_side=5).flatmap(
    lambda shape: arrays("float64", shape, elements=st.floats(-5, 5))
)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
@given(values=perturbations, eps=st.floats(0, 3))
def test_projection_is_the_closest_point_of_the_ball(norm, values, eps):
    delta = torch.from_numpy(values)
    radius = torch.full((len(delta),), eps, dtype=delta.dtype)
    projected = norm.project(delta, radius)
    assert (norm.length(projected) <= eps + 1e-9).all()
    inside = norm.length(delta) <= eps
    torch.testing.assert_close(projected[inside], delta[inside])
    # Euclid's closest point: no point of the ball is nearer, least of all these.
    for scale in (0.0, 0.5, 0.9):
        other = norm.project(scale * projected, radius)
        nearer = (other - delta).flatten(1).norm(dim=1)
        assert ((projected - delta).flatten(1).norm(dim=1) <= nearer + 1e-9).all()


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
@given(values=perturbations)
def test_direction_has_norm_one_and_climbs_fastest(norm, values):
    gradient = torch.from_numpy(values)
    direction = norm.direction(gradient)
    zero = (gradient.flatten(1) == 0).all(dim=1)
    expected = torch.where(zero, 0.0, 1.0).double()
    torch.testing.assert_close(norm.length(direction), expected)
    climbed = (direction * gradient).flatten(1).sum(dim=1)
    dual = gradient.flatten(1).norm(p=1 if norm.name == "linf" else 2, dim=1)
    torch.testing.assert_close(climbed, dual)


def test_a_gradient_too_small_to_square_still_has_a_direction():
    gradient = torch.tensor([[3e-30, 4e-30], [0.0, 0.0]])
    torch.testing.assert_close(L2().direction(gradient), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
def test_uniform_fills_the_ball_of_each_sample(norm):
    eps = torch.tensor([0.5, 2.0]).repeat_interleave(20_000)
    draws = norm.uniform(torch.empty(40_000, 2), eps, SampleDraws(0, torch.arange(40_000)))
    share = norm.length(draws) / eps
    assert share.max() <= 1
    # In the plane half of the ball's area lies within sqrt(1/2) of its radius.
    for half in share.chunk(2):
        assert (half <= math.sqrt(0.5)).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert draws.mean(dim=0).abs().max() < 0.03


def test_norms_are_found_by_name():
    assert isinstance(get_norm("linf"), Linf)
    assert isinstance(get_norm("l2"), L2)
    norm = L2()
    assert get_norm(norm) is norm
    with pytest.raises(ValueError, match=r"one of \['l2', 'linf'\], got 'l1'"):
        get_norm("l1")
