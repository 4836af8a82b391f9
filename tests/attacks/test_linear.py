"""A linear model tells the exact distance to its boundary: what the attacks find is that."""

import pytest
import torch
from linear import exact_distance, linear_model

from monai_ima.attacks import bpgd, pgd
from monai_ima.margins import MarginStore
from monai_ima.objectives import IMA

SHAPES = [(1, 50), (2, 9, 11), (1, 5, 6, 7)]
WIDE = (-1e3, 1e3)


def correct_samples(shape, norm, count=13):
    """A model, and samples in [0, 1] with its own predictions as labels, not on the boundary."""
    model = linear_model(shape)
    inputs = torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))
    labels = model(inputs).argmax(dim=1)
    distance = exact_distance(model, inputs, labels, norm)
    assert (distance > 0).all()
    return model, inputs, labels, distance


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("segment", ["crossing", "ray"])
def test_bpgd_finds_the_distance(shape, norm, segment):
    model, inputs, labels, distance = correct_samples(shape, norm)
    found = bpgd(model, inputs, labels, eps=1.7 * distance, norm=norm, segment=segment, bounds=WIDE)
    assert found.success.all()
    torch.testing.assert_close(found.distance, distance, rtol=1e-3, atol=0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_succeeds_where_eps_exceeds_the_distance(shape, norm, random_start):
    model, inputs, labels, distance = correct_samples(shape, norm)
    ratio = torch.tensor([0.3, 0.9, 0.99, 1.01, 1.1, 3.0]).repeat(3)[: len(distance)]
    attacked = pgd(
        model,
        inputs,
        labels,
        eps=ratio * distance,
        norm=norm,
        steps=40,
        random_start=random_start,
        bounds=WIDE,
        generator=torch.Generator().manual_seed(0),
    )
    assert torch.equal(attacked.success, ratio > 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_bounds_stand_in_the_way_of_the_attack(norm):
    model = linear_model((1, 50))
    inputs = torch.ones(1, 1, 50)  # at the upper bound: only coordinates that fall can help
    labels = model(inputs).argmax(dim=1)
    distance = exact_distance(model, inputs, labels, norm)
    free = bpgd(model, inputs, labels, eps=1.5 * distance, norm=norm, bounds=None)
    boxed = bpgd(model, inputs, labels, eps=4 * distance, norm=norm, bounds=(0.0, 1.0))
    assert free.success.all()
    assert boxed.inputs.max() <= 1
    assert boxed.distance.item() > 1.1 * distance.item()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_margins_settle_within_one_delta_of_the_distance(norm):
    model, inputs, labels, distance = correct_samples((1, 50), norm)
    delta = float(distance.max()) / 15
    eps_max = float(distance.median())  # half of the samples are further away than that
    store = MarginStore(len(inputs), delta, eps_max)
    objective = IMA(store, norm=norm, beta=0.5, bounds=WIDE)
    for _ in range(25):
        objective.update_margins(model, inputs, labels, torch.arange(len(inputs)))
    expected = distance.clamp(delta, eps_max)
    assert ((store.margins - expected).abs() <= delta).all()
    assert (store.margins[distance > eps_max + delta] == eps_max).all()
