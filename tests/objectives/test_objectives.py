import pytest
import torch
import torch.nn.functional as F
from linear import exact_distance, linear_model
from small_net import blobs, trained_mlp

from monai_ima.attacks import bpgd
from monai_ima.margins import MarginStore
from monai_ima.objectives import IMA

NORMS = ["linf", "l2"]
WIDE = (-1e3, 1e3)


def batch(shape, count=9, classes=3):
    """A linear model that gets some of the labels right, with the parts an objective takes."""
    model = linear_model(shape, classes=classes)
    inputs = torch.rand(count, *shape, generator=torch.Generator().manual_seed(2))
    labels = model(inputs).argmax(dim=1)
    labels[::3] = (labels[::3] + 1) % classes
    index = torch.arange(count).flip(0)
    return model, inputs, labels, index


def ima(count, norm="linf", **options):
    margins = MarginStore(count, delta=0.01, eps_max=0.5)
    margins.margins[:] = torch.linspace(0.01, 0.5, count)
    return IMA(margins, norm=norm, bounds=WIDE, **({"beta": 0.3} | options))


def test_ima_loss_by_hand():
    model, inputs, labels, index = batch((1, 30))
    objective = ima(9)
    result = objective(model, inputs, labels, index)
    correct = model(inputs).argmax(dim=1) == labels
    assert 0 < correct.sum() < 9
    eps = torch.linspace(0.01, 0.5, 9).flip(0)[correct]
    noisy = bpgd(model, inputs[correct], labels[correct], eps=eps, norm="linf", bounds=WIDE)
    assert 0 < noisy.success.sum() < correct.sum()
    losses = F.cross_entropy(model(inputs), labels, reduction="none")
    wrong, right = losses[~correct].sum() / 9, losses[correct].sum() / 9
    noise = F.cross_entropy(model(noisy.inputs), labels[correct], reduction="sum") / 9
    torch.testing.assert_close(result.loss, 0.7 * (wrong + right) + 0.3 * noise)
    expected = {
        "loss_clean": wrong + right,
        "loss_wrong": wrong,
        "loss_correct": right,
        "loss_noisy": noise,
    }
    torch.testing.assert_close(result.terms, {name: v.detach() for name, v in expected.items()})

    crossed = ima(9, noisy="crossed")(model, inputs, labels, index)
    on_boundary = F.cross_entropy(
        model(noisy.inputs[noisy.success]), labels[correct][noisy.success], reduction="sum"
    )
    torch.testing.assert_close(crossed.loss, 0.7 * (wrong + right) + 0.3 * on_boundary / 9)


def test_no_gradient_flows_through_the_attack():
    model, inputs, labels, index = batch((1, 30))
    correct = model(inputs).argmax(dim=1) == labels
    eps = torch.linspace(0.01, 0.5, 9).flip(0)[correct]
    noisy = bpgd(model, inputs[correct], labels[correct], eps=eps, norm="linf", bounds=WIDE).inputs
    ima(9, beta=1.0)(model, inputs, labels, index).loss.backward()
    found = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    (F.cross_entropy(model(noisy), labels[correct], reduction="sum") / 9).backward()
    for parameter, gradient in zip(model.parameters(), found, strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


@pytest.mark.parametrize("norm", NORMS)
def test_update_margins_is_algorithm_2(norm):
    model, inputs, labels, index = batch((1, 30), classes=2)
    objective = ima(9, norm)
    before = objective.margins.margins.clone()
    crossed = objective.update_margins(model, inputs, labels, index)
    distance = exact_distance(model, inputs, labels, norm)
    eps = before[index]
    correct = distance > 0
    assert torch.equal(crossed, correct & (distance < eps))
    expected = torch.where(crossed, distance, eps + 0.01)
    expected = torch.where(correct, expected, 0.01).clamp(0.01, 0.5)
    torch.testing.assert_close(objective.margins[index], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_margins_learned_from_the_steps_are_those_of_a_pass(norm):
    """Where each sample is seen once, with as many steps, and the network stays the same."""
    model, inputs, labels, index = batch((1, 30), classes=2)
    learning, passing = (
        ima(9, norm, steps=20, margin_steps=20, **options)
        for options in ({"margin_update": "step"}, {})
    )
    before = learning.margins.margins.clone()
    for rows in torch.arange(9).split(4):
        learning(model, inputs[rows], labels[rows], index[rows])
        assert torch.equal(learning.margins.margins, before)
    crossed = learning.learn_margins()
    met = passing.update_margins(model, inputs, labels, index)
    assert torch.equal(crossed[index], met)
    assert 0 < met.sum() < 9
    assert torch.equal(learning.margins.margins, passing.margins.margins)
    assert not learning.learn_margins().any()  # nothing was seen since
    assert torch.equal(learning.margins.margins, passing.margins.margins)


def test_of_a_sample_seen_several_times_the_nearest_counts_and_it_expands_once():
    """0 crosses in one of its forms, 1 in none, 2 is misclassified in one, 3 is not seen."""
    model, inputs, labels, _ = batch((1, 30), classes=2)
    correct = (model(inputs).argmax(dim=1) == labels).nonzero()[:, 0]
    near, far = exact_distance(model, inputs, labels, "linf")[correct].sort().indices[[0, -1]]
    near, far = correct[near], correct[far]
    wrong = (model(inputs).argmax(dim=1) != labels).nonzero()[0, 0]
    objective = ima(4, margin_update="step")
    distances = exact_distance(model, inputs, labels, "linf")
    objective.margins.margins[:] = (distances[near] + distances[far]) / 2
    before = objective.margins.margins.clone()
    for samples in ([near, far, wrong], [far, far, far], [near, far, far]):
        rows = torch.stack(samples)
        objective(model, inputs[rows], labels[rows], torch.arange(3))
    crossed = objective.learn_margins()
    assert crossed.tolist() == [True, False, False, False]
    expected = torch.stack([distances[near], before[1] + 0.01, torch.tensor(0.01), before[3]])
    torch.testing.assert_close(objective.margins.margins, expected, rtol=1e-3, atol=1e-6)


def test_a_sample_that_was_not_seen_makes_up_for_it_when_it_is_seen_next():
    """By as much as by passes, so that eps_max is reached however few samples an epoch has."""
    model, inputs, labels, _ = batch((1, 30), classes=2)
    correct = (model(inputs).argmax(dim=1) == labels).nonzero()[:, 0]
    rows = correct[exact_distance(model, inputs, labels, "linf")[correct].argsort()[-1:]]
    objective = ima(4, margin_update="step")
    objective.margins.margins[:] = 0.01
    grown = []
    for seen in ([0, 1], [0], [0], [0, 1, 2], [0, 1]):
        objective(
            model,
            inputs[rows.expand(len(seen))],
            labels[rows.expand(len(seen))],
            torch.tensor(seen),
        )
        objective.learn_margins()
        grown.append((objective.margins.margins / 0.01 - 1).round().tolist())
    assert grown == [[1, 1, 0, 0], [2, 1, 0, 0], [3, 1, 0, 0], [4, 4, 4, 0], [5, 5, 4, 0]]


@pytest.mark.parametrize("norm", NORMS)
def test_margins_shrink_when_the_boundary_comes_near(norm):
    """Of a trained net whose margins start too large, all that cross shrink below it."""
    inputs, labels = blobs(120)
    model = trained_mlp(inputs, labels)
    margins = MarginStore(120, delta=0.001, eps_max=2.0)
    margins.margins[:] = 0.3 if norm == "linf" else 1.0
    before = margins.margins.clone()
    crossed = IMA(margins, norm=norm, beta=0.5).update_margins(
        model, inputs, labels, torch.arange(120)
    )
    assert crossed.all()
    assert (margins.margins < before).all()
    assert (margins.margins / before).mean() < 0.97


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 1.5}, "beta from 0 to 1, got 1.5"),
        ({"noisy": "all"}, r"noisy to be one of \('correct', 'crossed'\), got 'all'"),
        ({"norm": "l7"}, "got 'l7'"),
        ({"margin_update": "never"}, r"margin_update to be one of .*, got 'never'"),
        ({"steps": 0}, "steps to be a whole number >= 1, got 0"),
        ({"margin_steps": 2.5}, "margin_steps to be a whole number >= 1, got 2.5"),
        ({"bisections": -1}, "bisections to be a whole number >= 0, got -1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ima(9, **options)
