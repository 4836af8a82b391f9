"""The nearest misclassified point: exact on a linear model, no further than a peer's on another."""

from functools import partial

import pytest
import torch
from linear import exact_distance, linear_model
from torch import nn

from monai_ima.attacks import ddn, fmn, get_norm, pgd
from monai_ima.losses import hard_margin, soft_margin

ATTACKS = {"ddn": ddn, "fmn-l2": partial(fmn, norm="l2"), "fmn-linf": partial(fmn, norm="linf")}
WIDE = (-1e3, 1e3)
every_attack = pytest.mark.parametrize("name", ATTACKS)


@pytest.fixture(scope="module")
def some(images):
    model, inputs, labels = images
    return model, inputs[:100], labels[:100]


def norm_of(name):
    return "linf" if name == "fmn-linf" else "l2"


@every_attack
@pytest.mark.parametrize("shape", [(1, 50), (2, 9, 11), (1, 5, 6, 7)], ids=str)
@pytest.mark.parametrize("unit", [1e-3, 1.0, 500.0])
@pytest.mark.parametrize("bounds", [WIDE, None])
def test_distance_of_a_linear_model_in_any_unit(name, shape, unit, bounds):
    model = linear_model(shape)
    inputs = unit * torch.rand(13, *shape, generator=torch.Generator().manual_seed(1))
    labels = model(inputs).argmax(dim=1)
    exact = exact_distance(model, inputs, labels, norm_of(name))
    found = ATTACKS[name](model, inputs, labels, bounds=bounds)
    assert found.success.all()
    assert (found.distance >= exact * 0.9999).all()
    assert (found.distance <= exact * 1.02).all()


@every_attack
@pytest.mark.parametrize("shape", [(1, 50), (2, 9, 11), (1, 5, 6, 7)], ids=str)
def test_nearest_of_several_classes(name, shape):
    model = linear_model(shape, classes=5)
    inputs = torch.rand(13, *shape, generator=torch.Generator().manual_seed(1))
    labels = model(inputs).argmax(dim=1)
    exact = exact_distance(model, inputs, labels, norm_of(name))
    found = ATTACKS[name](model, inputs, labels, bounds=WIDE)
    assert (found.distance >= exact * 0.9999).all()
    # Which class is nearest is not known beforehand, and not always found.
    assert (found.distance <= 1.02 * exact).float().mean() > 0.6
    assert found.distance.mean() <= 1.05 * exact.mean()


@every_attack
def test_bounds_are_kept_and_lengthen_the_way(name):
    model = linear_model((1, 50))
    inputs = torch.ones(1, 1, 50)  # at the upper bound: only entries that fall can help
    labels = model(inputs).argmax(dim=1)
    free = ATTACKS[name](model, inputs, labels, bounds=None)
    boxed = ATTACKS[name](model, inputs, labels, bounds=(0.0, 1.0))
    assert boxed.success.all()
    assert boxed.inputs.min() >= 0
    assert boxed.inputs.max() <= 1
    assert boxed.distance.item() > 1.1 * free.distance.item()


@every_attack
def test_correct_samples_cost_exactly_the_steps_and_others_nothing(name):
    model, rows = linear_model((1, 50), classes=3), []
    inputs = torch.rand(11, 1, 50, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(11) % 3
    correct = int((model(inputs).argmax(dim=1) == labels).sum())
    assert 0 < correct < 11

    def counting(x):
        logits = model(x)
        if logits.requires_grad:
            logits.register_hook(lambda gradient: rows.append(len(gradient)))
        return logits

    ATTACKS[name](counting, inputs, labels, steps=17)
    assert rows == [correct] * 17


@every_attack
@pytest.mark.parametrize("bounds", [(0.0, 1.0), None])
def test_a_gradient_of_zero_ends_without_success(name, bounds):
    inputs, labels = torch.rand(3, 1, 5), torch.zeros(3, dtype=torch.int64)

    def model(x):
        return torch.tensor([1.0, 0.0]) + 0 * x.flatten(1).sum(dim=1, keepdim=True)

    found = ATTACKS[name](model, inputs, labels, bounds=bounds)
    assert not found.success.any()
    assert torch.equal(found.inputs, inputs)


@every_attack
def test_a_tie_is_left_with_the_first_step(name):
    model = nn.Sequential(nn.Flatten(), nn.Linear(5, 2, bias=False))
    inputs = torch.zeros(1, 1, 5)
    assert model(inputs).argmax() == 0
    found = ATTACKS[name](model, inputs, torch.tensor([0]), bounds=(-1.0, 1.0))
    assert found.success.all()
    assert 0 < found.distance.item() < 1e-4


@every_attack
def test_no_false_robustness_from_saturation(some, name):
    model, inputs, labels = some
    expected = ATTACKS[name](model, inputs, labels)
    found = ATTACKS[name](lambda x: 1000 * model(x), inputs, labels)
    assert found.success.all()
    torch.testing.assert_close(found.distance, expected.distance, rtol=0.02, atol=0)
    assert found.distance.mean().item() == pytest.approx(expected.distance.mean().item(), rel=1e-3)


@every_attack
def test_stands_comparison_with_pgd_at_every_level(some, name):
    model, inputs, labels = some
    found = ATTACKS[name](model, inputs, labels)
    assert found.success.all()
    for eps in found.distance.quantile(torch.tensor([0.1, 0.4, 0.7])).tolist():
        standing = torch.ones(len(labels), dtype=torch.bool)
        for loss in (soft_margin, hard_margin):
            standing[standing.clone()] = ~pgd(
                model,
                inputs[standing],
                labels[standing],
                eps=eps,
                norm=norm_of(name),
                steps=100,
                step_size=eps / 10,
                loss=loss,
                generator=torch.Generator().manual_seed(0),
            ).success
        assert (found.distance > eps).sum() - standing.sum() <= 0.03 * len(labels)


@pytest.mark.parametrize(
    ("name", "peer"),
    [("ddn", "DDNAttack"), ("fmn-l2", "L2FMNAttack"), ("fmn-linf", "LInfFMNAttack")],
)
def test_no_further_than_foolbox(some, name, peer):
    foolbox = pytest.importorskip("foolbox", reason="foolbox is a peer, not a dependency")
    model, inputs, labels = some
    fmodel = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    theirs, _, success = getattr(foolbox.attacks, peer)(steps=100)(
        fmodel, inputs, labels, epsilons=None
    )
    assert success.all()
    ours = ATTACKS[name](model, inputs, labels)
    assert ours.success.all()
    distance = get_norm(norm_of(name)).length(theirs - inputs)
    assert ours.distance.mean() <= 1.02 * distance.mean()


@every_attack
def test_sees_past_the_class_that_is_nearest_at_first(name):
    """The runner-up cannot be reached; a class that is far behind can."""

    def model(x):
        mean = x.flatten(1).mean(dim=1)
        return torch.stack([1 + 0 * mean, 0.9 - 0 * mean, 8 * mean - 4], dim=1)

    inputs = torch.full((1, 1, 50), 0.5)
    found = ATTACKS[name](model, inputs, torch.tensor([0]))
    exact = (0.125 * torch.ones(1, 50)).norm(p=2 if norm_of(name) == "l2" else torch.inf).item()
    assert found.success.all()
    assert found.distance.item() == pytest.approx(exact, rel=0.02)


def test_any_shape_that_a_network_takes():
    for shape in [(1, 187), (1, 16, 16), (1, 8, 8, 8), (9,)]:
        model = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.Tanh(), nn.Linear(8, 3))
        inputs = torch.rand(7, *shape)
        labels = model(inputs).argmax(dim=1)
        for attack in ATTACKS.values():
            found = attack(model, inputs, labels, bounds=None)
            assert found.success.any()
            assert found.inputs.shape == inputs.shape
