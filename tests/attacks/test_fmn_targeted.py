"""One search a class: the nearest boundary is found, whichever class it leads to."""

import pytest
import torch
from linear import exact_distance, linear_model

from monai_ima.attacks import fmn, fmn_targeted, get_norm
from monai_ima.robustness import CountingModel

WIDE = (-1e3, 1e3)
norms = pytest.mark.parametrize("norm", ["linf", "l2"])


def correct_samples(shape, classes, count=23):
    model = linear_model(shape, classes=classes)
    inputs = torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))
    return model, inputs, model(inputs).argmax(dim=1)


@norms
@pytest.mark.parametrize("shape", [(1, 50), (2, 9, 11), (1, 5, 6, 7)], ids=str)
def test_nearest_of_several_classes(norm, shape):
    model, inputs, labels = correct_samples(shape, classes=5)
    exact = exact_distance(model, inputs, labels, norm)
    known = 1.3 * exact
    found = fmn_targeted(model, inputs, labels, norm=norm, known=known, bounds=WIDE)
    assert found.success.all()
    assert (model(found.inputs).argmax(dim=1) != labels).all()
    assert (found.distance >= exact * 0.9999).all()
    assert (found.distance <= exact * 1.03).all()
    torch.testing.assert_close(found.distance, get_norm(norm).length(found.inputs - inputs))


def unlikely_is_nearest(x):
    """Class 1 is close behind and hardly moves; class 2 is far behind, and 0.125 of noise reaches it."""
    mean = x.flatten(1).mean(dim=1)
    runner_up = 0.9 + 0.4 * (0.5 - mean)
    return torch.stack([1 + 0 * mean, runner_up, 8 * mean - 4], dim=1)


@norms
def test_the_least_likely_class_may_be_the_nearest(norm):
    inputs, labels = torch.full((1, 1, 16), 0.5), torch.tensor([0])
    exact = 0.125 * (4 if norm == "l2" else 1)
    runner_up = 0.25 * (4 if norm == "l2" else 1)
    only_one = fmn_targeted(unlikely_is_nearest, inputs, labels, norm=norm, targets=1)
    every = fmn_targeted(unlikely_is_nearest, inputs, labels, norm=norm)
    # With one target, it is the class whose boundary is nearest, not the most likely one.
    for found in (only_one, every):
        assert found.distance.item() == pytest.approx(exact, rel=0.02)
        assert found.distance.item() < runner_up


@norms
def test_only_what_is_nearer_than_known_is_found(norm):
    model, inputs, labels = correct_samples((1, 50), classes=3)
    exact = exact_distance(model, inputs, labels, norm)
    known = torch.where(torch.arange(23) % 2 == 0, 0.9 * exact, 1.2 * exact).double()
    found = fmn_targeted(model, inputs, labels, norm=norm, known=known, bounds=WIDE)
    assert torch.equal(found.success, torch.arange(23) % 2 == 1)
    assert torch.equal(found.inputs[::2], inputs[::2])
    assert (found.distance[::2] == 0).all()
    assert (found.distance[1::2] < known[1::2]).all()


@norms
def test_it_costs_the_steps_towards_each_class(norm):
    model, inputs, labels = correct_samples((1, 50), classes=4)
    counting = CountingModel(model)
    fmn_targeted(counting, inputs, labels, norm=norm, steps=7)
    assert counting.gradients == 3 * 7 * 23
    counting.reset()
    fmn_targeted(counting, inputs, labels, norm=norm, steps=7, targets=2)
    assert counting.gradients == (3 + 2 * 7) * 23


@norms
def test_finds_what_the_attack_without_a_target_does_not(images, norm):
    model, inputs, labels = images
    first = fmn(model, inputs, labels, norm=norm, steps=40)
    known = torch.where(first.success, first.distance, torch.inf)
    found = fmn_targeted(model, inputs, labels, norm=norm, known=known)
    assert found.success.any()
    assert (found.distance <= known).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": 0}, "targets to be a whole number >= 1"),
        ({"steps": 0}, "steps to be a whole number >= 1"),
        ({"known": -1.0}, "known to be finite and not negative"),
        ({"known": float("nan")}, "known to be finite and not negative"),
        ({"known": torch.ones(2)}, "known to be a number or a tensor of shape"),
    ],
)
def test_bad_arguments_are_rejected(options, message):
    model, inputs, labels = correct_samples((1, 50), classes=3)
    with pytest.raises(ValueError, match=message):
        fmn_targeted(model, inputs, labels, **{"norm": "l2"} | options)
