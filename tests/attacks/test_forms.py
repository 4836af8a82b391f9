"""Both forms of an attack's loop find the same, sample by sample."""

import pytest
import torch
from models import InPlace
from test_contract import BAD_ARGUMENTS, CASES, cases, run, takes
from torch import nn

from monai_ima.attacks import blocks, bpgd, loop_form, pgd
from monai_ima.attacks.forms import padded_size
from monai_ima.losses import cross_entropy

NETS = {1: (nn.Conv1d, (2, 30)), 2: (nn.Conv2d, (1, 6, 7)), 3: (nn.Conv3d, (1, 4, 5, 3))}


def network(dimensions, dtype=torch.float64):
    torch.manual_seed(0)
    convolution, shape = NETS[dimensions]
    features = torch.Size(shape[1:]).numel() * 4
    return nn.Sequential(
        convolution(shape[0], 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(features, 5)
    ).to(dtype)


def batch(dimensions, count, dtype=torch.float64):
    inputs = torch.rand(count, *NETS[dimensions][1], generator=torch.Generator().manual_seed(1))
    return inputs.to(dtype), torch.arange(count) % 5


def in_both(attack, model, inputs, labels, **options):
    for form in ("shrinking", "fixed"):
        generator = torch.Generator().manual_seed(0)
        with loop_form(form):
            yield run(attack, model, inputs, labels, generator=generator, **options)


def assert_same(results, rtol=0, atol=0):
    shrinking, fixed = results
    assert torch.equal(shrinking.success, fixed.success)
    torch.testing.assert_close(fixed.inputs, shrinking.inputs, rtol=rtol, atol=atol)
    torch.testing.assert_close(fixed.distance, shrinking.distance, rtol=rtol, atol=atol)
    return shrinking


@cases()
@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 21])
def test_both_forms_find_the_same(attack, norm, dimensions, count):
    model = network(dimensions)
    inputs, labels = batch(dimensions, count)
    predicted = model(inputs).argmax(dim=1)
    labels = torch.where(torch.arange(count) % 4 == 1, labels, predicted)
    eps = torch.linspace(0.02, 0.6 if norm == "linf" else 2, count, dtype=torch.float64)
    found = assert_same(
        in_both(attack, model, inputs, labels, eps=eps, norm=norm, random_start=True, restarts=2),
        atol=1e-8,
    )
    if count > 1 and takes(attack, "eps"):
        assert 0 < found.success.sum() < count


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("segment", ["crossing", "ray"])
@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("correct", ["some", "none", "all"])
def test_samples_that_leave_in_blocks_are_attacked_alike(
    norm, segment, random_start, correct, monkeypatch
):
    monkeypatch.setattr(blocks, "_SAMPLES", 8)
    monkeypatch.setattr(blocks, "_STEPS", 3)
    model, count = network(2), 21
    inputs, labels = batch(2, count)
    predicted = model(inputs).argmax(dim=1)
    wrong = {"some": torch.arange(count) % 4 == 1, "none": labels >= 0, "all": labels < 0}[correct]
    labels = torch.where(wrong, (predicted + 1) % 5, predicted)
    eps = torch.linspace(0.02, 0.9 if norm == "linf" else 3, count, dtype=torch.float64)
    options = {"eps": eps, "norm": norm, "segment": segment, "random_start": random_start}
    sizes = []
    model.register_forward_hook(lambda _, arguments, __: sizes.append(len(arguments[0])))
    found = assert_same(
        in_both(bpgd, model, inputs, labels, steps=20, where=~wrong, **options), atol=1e-8
    )
    assert correct == "none" or 0 < found.success.sum() < (~wrong).sum()
    assert correct == "none" or 16 in sizes


OPTIONS = [
    (pgd, {"until": "end"}),
    (pgd, {"loss": cross_entropy, "random_start": False}),
    (pgd, {"where": torch.arange(21) % 3 > 0}),
    (pgd, {"where": torch.zeros(21, dtype=torch.bool)}),
    (bpgd, {"segment": "ray", "side": "inside"}),
    (bpgd, {"bisections": 0, "side": "outside"}),
    (bpgd, {"where": torch.arange(21) % 3 > 0, "random_start": True}),
]


@pytest.mark.parametrize(("attack", "options"), OPTIONS)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_both_forms_understand_every_option(attack, norm, options):
    model, (inputs, labels) = network(2), batch(2, 21)
    labels = model(inputs).argmax(dim=1)
    eps = torch.linspace(0.02, 0.6 if norm == "linf" else 2, 21, dtype=torch.float64)
    found = assert_same(
        in_both(attack, model, inputs, labels, eps=eps, norm=norm, **options), atol=1e-8
    )
    left_out = ~options.get("where", torch.ones(21, dtype=torch.bool))
    assert torch.equal(found.inputs[left_out], inputs[left_out])
    assert not found.success[left_out].any()
    assert (found.distance[left_out] == 0).all()


@cases()
def test_a_fixed_shape_asks_for_batches_of_one_size(attack, norm):
    model, (inputs, labels) = network(2), batch(2, 21)
    sizes = set()

    class Sizes(nn.Module):
        def forward(self, inputs):
            sizes.add(len(inputs))
            return model(inputs)

    with loop_form("fixed"):
        run(attack, Sizes(), inputs, labels, eps=0.3, norm=norm)
    assert sizes == {32}


@pytest.mark.parametrize(
    ("attack", "norm", "change", "error", "message"),
    [
        (attack, norm, *row)
        for attack, norm in CASES
        for row in BAD_ARGUMENTS
        if {"labels", "model"} & set(row[0])
        and not (attack.__name__ == "square" and "differentiable" in row[2])
    ],
)
def test_what_is_wrong_is_said_in_both_forms(attack, norm, change, error, message):
    inputs, labels = torch.rand(3, 1, 6, 7), torch.arange(3)
    arguments = {"model": network(2, torch.float32), "inputs": inputs, "labels": labels}
    with loop_form("fixed"), pytest.raises(error, match=message):
        run(attack, **arguments | {"eps": 0.1, "norm": norm} | change)


@cases()
def test_logits_that_are_not_finite_are_rejected_only_where_they_count(attack, norm):
    """A sample that is done goes on moving in a fixed shape, where nobody looks."""
    model, (inputs, labels) = network(2), batch(2, 5)
    inputs[0] = 0.5
    bad = (inputs.flatten(1)[:, 0] == 0.5).nonzero()

    def sometimes(x):
        logits = model(x)
        return torch.where((x.flatten(1)[:, :1] > 1.5), torch.nan, logits)

    assert_same(
        in_both(attack, sometimes, inputs, labels, eps=0.3, norm=norm, bounds=(0, 1)), atol=1e-8
    )
    assert len(bad) == 1


@cases()
def test_a_model_may_change_its_inputs_in_both_forms(attack, norm):
    model, (inputs, labels) = InPlace(network(2)), batch(2, 9)
    assert_same(in_both(attack, model, inputs, labels, eps=0.3, norm=norm), atol=1e-8)


def test_sizes_are_few_and_at_most_a_quarter_more():
    sizes = [padded_size(count) for count in range(1, 5000)]
    assert all(count <= size for count, size in enumerate(sizes, 1))
    assert all(size <= 1.25 * count for count, size in enumerate(sizes, 1) if count > 64)
    assert len(set(sizes)) < 40
    assert [padded_size(count) for count in (1, 16, 32, 64, 96, 128, 256, 1000, 1024)] == [
        *(16, 16, 32, 64, 96, 128, 256, 1024, 1024)
    ]


def test_the_form_is_chosen_for_a_block_or_for_good():
    with pytest.raises(ValueError, match=r"expected form to be one of .*, got 'square'"):
        loop_form("square")
    from monai_ima.attacks import forms

    with loop_form("fixed"):
        assert forms._chosen == ["fixed"]
        with loop_form("auto"):
            assert forms._chosen == ["auto"]
        assert forms._chosen == ["fixed"]
    assert forms._chosen == ["auto"]
