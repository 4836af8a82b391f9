"""Square: a black box's queries stay where they may, and find what there is to find."""

from unittest import mock

import pytest
import torch
from linear import exact_distance, linear_model
from test_forms import batch, network
from torch import nn

from monai_ima.attacks import L2, loop_form, square, square_attack
from monai_ima.attacks.square_attack import random_window

SHAPES = [(30,), (1, 30), (2, 9, 11), (1, 5, 6, 7)]
every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(shape, count=13):
    model = linear_model(shape)
    inputs = torch.rand(count, *shape, generator=seeded(1))
    return model, inputs, model(inputs).argmax(dim=1)


@every_norm
@every_shape
def test_finds_no_more_than_there_is_and_little_less(norm, shape):
    model, inputs, labels = problem(shape)
    ratio = torch.tensor([0.5, 0.9, 0.99, 3.0, 5.0]).repeat(3)[:13]
    eps = ratio * exact_distance(model, inputs, labels, norm)
    options = {"norm": norm, "bounds": None, "queries": 500, "generator": seeded()}
    found = square(model, inputs, labels, eps=eps, **options)
    assert not found.success[ratio < 1].any()
    assert found.success[ratio > 1].all()


@every_norm
@every_shape
def test_every_query_spends_the_whole_norm(norm, shape):
    _, inputs, labels = problem(shape)
    eps, seen = torch.linspace(0.1, 0.5, 13), []

    def stubborn(x):  # its margin rises at random, so that the search moves on
        seen.append(x.clone())
        return torch.stack([torch.full((len(x),), 9.0), torch.rand(len(x))], dim=1)

    options = {"eps": eps, "norm": norm, "queries": 60, "bounds": None, "generator": seeded()}
    square(stubborn, inputs, 0 * labels, **options)
    assert len(seen) == 61  # the clean one besides
    lengths = []
    for query in seen[1:]:
        delta = (query - inputs).flatten(1)
        if norm == "linf":
            torch.testing.assert_close(delta.abs(), eps[:, None].expand_as(delta))
        else:
            assert (delta.norm(dim=1) <= eps * 1.0001).all()
            lengths.append(delta.norm(dim=1) / eps)
    # Where a bump cancels what it is put on, the norm is spent one query later.
    assert norm == "linf" or (torch.stack(lengths) > 0.9999).float().mean() > 0.97


@every_shape
def test_no_query_in_linf_repeats_the_best(shape):
    _, inputs, labels = problem(shape)
    inputs = inputs.round()  # at the bounds half of all signs change nothing
    seen = []

    def constant(x):  # the first query stays the best
        seen.append(x.clone())
        return torch.tensor([[1.0, 0.0]]).expand(len(x), 2)

    square(constant, inputs, 0 * labels, eps=0.1, norm="linf", queries=200, generator=seeded())
    repeated = [(query == seen[1]).flatten(1).all(dim=1) for query in seen[2:]]
    assert torch.stack(repeated).float().mean() < 0.01


@pytest.mark.parametrize("side", [1, 2, 5])
def test_windows_have_their_side_and_reach_every_corner(side):
    images = torch.zeros(3000, 2, 4, 5, 6)
    window, ring = random_window(images, side, torch.rand(3000, 3, generator=seeded()))
    sides = [min(side, size) for size in (4, 5, 6)]
    assert window.shape == (3000, 1, 4, 5, 6)
    assert (window.flatten(1).sum(dim=1) == torch.tensor(sides).prod()).all()
    assert window[:, 0, 0, 0, 0].any()
    assert window[:, 0, -1, -1, -1].any()
    assert ring[window].max() == (max(sides) - 1) / 2
    assert window.flatten(1).any(dim=0).all()


@every_norm
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_needs_no_gradient(norm):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)).eval()
    inputs = torch.rand(7, 1, 8, 9, generator=seeded())
    labels = network(inputs).argmax(dim=1)
    options = {"eps": 0.3 if norm == "linf" else 2.0, "norm": norm, "queries": 100}
    expected = square(network, inputs, labels, **options, generator=seeded())
    assert expected.success.any()

    def without_gradients(x):
        assert not torch.is_grad_enabled()
        return network(x).detach()

    scripted = torch.jit.trace(network, inputs)
    for model in (without_gradients, scripted):
        found = square(model, inputs, labels, **options, generator=seeded())
        assert torch.equal(found.success, expected.success)
        torch.testing.assert_close(found.inputs, expected.inputs)


def test_robust_set_is_no_larger_than_the_authors(images):
    peer = pytest.importorskip(
        "pyautoattack.square", reason="pyautoattack is a peer, not a dependency"
    )
    model, inputs, labels = images
    for eps in (0.09, 0.11):
        attack = peer.SquareAttack(model, n_queries=200, eps=eps, norm="Linf", device="cpu")
        attacked = attack.perturb(inputs.clone(), labels.clone())
        expected = int((model(attacked).argmax(dim=1) == labels).sum())
        assert 0 < expected < len(labels)
        found = square(model, inputs, labels, eps=eps, norm="linf", queries=200, generator=seeded())
        assert int((~found.success).sum()) <= expected + 0.02 * len(labels)


@every_norm
def test_no_false_robustness_from_saturation(images, norm):
    model, inputs, labels = images
    options = {"eps": 0.1 if norm == "linf" else 1.2, "norm": norm, "queries": 100}
    expected = square(model, inputs, labels, **options, generator=seeded())
    found = square(lambda x: 1024 * model(x), inputs, labels, **options, generator=seeded())
    assert expected.success.any()
    assert torch.equal(found.inputs, expected.inputs)


def test_a_longer_search_finds_more(images):
    model, inputs, labels = images
    standing = [
        int((~square(
            model, inputs, labels, eps=0.1, norm="linf", queries=queries, generator=seeded()
        ).success).sum())
        for queries in (1, 30, 300)
    ]  # fmt: skip
    assert standing[0] > standing[1] > standing[2]


def test_shapes_without_windows_are_refused():
    inputs = torch.rand(2, 1, 2, 2, 2, 2)
    with pytest.raises(
        ValueError, match=r"one to three spatial dimensions, got \(2, 1, 2, 2, 2, 2\)"
    ):
        square(linear_model((1, 2, 2, 2, 2)), inputs, torch.tensor([0, 1]), eps=0.1, norm="l2")


def with_rows_led_by_rounding(run):
    """What a run in a fixed shape finds, and which of its rows ``(N,)`` went where rounding led.

    Where a window is drawn again with the opposite sign, the bump and what is there already cancel: what
    is left is zero but for rounding, or zero, and its direction is taken. It is another one on
    another device.
    """
    rows, unit = [], square_attack._unit

    def recorded(images):
        length = torch.linalg.vector_norm(images, dim=square_attack._spatial(images))
        rows.append(((length > 0) & (length < 1e-6)).any(dim=1))
        return unit(images)

    with mock.patch.object(square_attack, "_unit", recorded), loop_form("fixed"):
        return run(), torch.stack(rows).any(dim=0)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_another_order_of_sums_leads_elsewhere_only_where_rounding_leads(dimensions):
    """As on another device, where a sample in some twenty short signals is changed in another way."""

    def unit(images):
        spatial = square_attack._spatial(images)
        length = images.flip(spatial).square().sum(dim=spatial, keepdim=True).sqrt()
        return images / torch.where(length == 0, 1, length)

    def length(_, delta):
        return delta.flatten(1).flip(1).square().sum(dim=1).sqrt()

    def run():
        options = {"eps": torch.linspace(0.02, 2, 21).double(), "norm": "l2", "queries": 100}
        return square(model, inputs, labels, **options, generator=seeded())

    model, (inputs, labels) = network(dimensions), batch(dimensions, 21)
    labels = torch.where(labels == 1, labels, model(inputs).argmax(dim=1))
    expected, led = with_rows_led_by_rounding(run)
    with (
        mock.patch.object(square_attack, "_unit", unit),
        mock.patch.object(L2, "length", length),
        loop_form("fixed"),
    ):
        found = run()
    differ = (found.inputs - expected.inputs).abs().flatten(1).amax(dim=1) > 1e-6
    assert not (differ & ~led[:21]).any()
    assert differ.any() == (dimensions == 1)
