"""What holds for every attack."""

import copy
import inspect

import pytest
import torch
from linear import linear_model
from models import FORMS, InPlace, Returning
from torch import nn

from monai_ima.attacks import (
    apgd,
    apgd_targeted,
    bpgd,
    ddn,
    fmn,
    fmn_targeted,
    get_norm,
    pgd,
    square,
)
from monai_ima.losses import cross_entropy

ATTACKS = [pgd, bpgd, apgd, apgd_targeted, square, ddn, fmn, fmn_targeted]
CASES = [(a, norm) for a in ATTACKS for norm in ("linf", "l2") if (a, norm) != (ddn, "linf")]


def takes(attack, *options):
    return set(options) <= {*inspect.signature(attack).parameters}


def cases(*options):
    """Every attack that takes these options, in every norm that it takes."""
    chosen = [(attack, norm) for attack, norm in CASES if takes(attack, *options)]
    ids = [f"{attack.__name__}-{norm}" for attack, norm in chosen]
    return pytest.mark.parametrize(("attack", "norm"), chosen, ids=ids)


def run(attack, model, inputs, labels, **options):
    """Attack with those of the options that the attack takes, briefly."""
    options = {"steps": 20, "queries": 100} | options
    options = {name: value for name, value in options.items() if takes(attack, name)}
    return attack(model, inputs, labels, **options)


def conv_net(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(4 * 6 * 7, 3),
    ).to(dtype)


def batch(count, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.rand(count, 1, 6, 7, generator=generator, dtype=torch.float64).to(dtype)
    return inputs, torch.arange(count) % 3


@cases()
@pytest.mark.parametrize("random_start", [False, True])
def test_result_lies_in_ball_and_bounds(attack, norm, random_start):
    model, (inputs, labels) = conv_net(), batch(11)
    eps = torch.linspace(0, 2, 11)
    result = run(
        attack,
        model,
        inputs,
        labels,
        eps=eps,
        norm=norm,
        random_start=random_start,
        bounds=(0.0, 1.0),
    )
    assert result.inputs.shape == inputs.shape
    assert result.inputs.min() >= 0
    assert result.inputs.max() <= 1
    torch.testing.assert_close(result.distance, get_norm(norm).length(result.inputs - inputs))
    assert (result.distance <= eps + 1e-6).all() or not takes(attack, "eps")
    assert not result.inputs.requires_grad


@cases()
def test_success_means_crossed(attack, norm):
    model, (inputs, _) = conv_net().eval(), batch(11)
    labels = model(inputs).argmax(dim=1)
    eps = torch.linspace(0, 1, 11)
    result = run(attack, model, inputs, labels, eps=eps, norm=norm, side="outside")
    assert torch.equal(model(result.inputs).argmax(dim=1) != labels, result.success)
    assert result.success.sum() > 0
    assert result.success.sum() < len(labels) or not takes(attack, "eps")


@cases("bounds")
def test_no_success_where_nothing_can_be_found(attack, norm):
    inputs, _ = batch(5)
    labels = torch.ones(5, dtype=torch.int64)

    def model(x):  # the gradient points to a boundary that lies beyond the bounds
        return torch.stack([x.flatten(1).sum(dim=1), x.flatten(1).sum(dim=1) * 0 + 100], dim=1)

    result = run(attack, model, inputs, labels, eps=1.0, norm=norm)
    assert not result.success.any()
    if not takes(attack, "eps"):
        assert torch.equal(result.inputs, inputs)
        assert (result.distance == 0).all()


# PGD starts at random, from where the sample may be classified correctly.
@pytest.mark.parametrize(("attack", "norm"), [case for case in CASES if case[0] is not pgd])
def test_misclassified_sample_is_its_own_adversarial_and_needs_no_gradient(attack, norm):
    model, (inputs, _) = conv_net().eval(), batch(5)
    labels = (model(inputs).argmax(dim=1) + 1) % 3
    result = run(attack, lambda x: model(x).detach(), inputs, labels, eps=0.5, norm=norm)
    assert result.success.all()
    assert torch.equal(result.inputs, inputs)
    assert (result.distance == 0).all()


@cases()
def test_model_is_left_as_found(attack, norm):
    model, (inputs, labels) = conv_net().train(), batch(11)
    model[1].eval()
    model[5].bias.requires_grad_(False)
    model(inputs).sum().backward()
    before = copy.deepcopy(model.state_dict())
    gradients = [p.grad.clone() if p.grad is not None else None for p in model.parameters()]
    trainable = [p.requires_grad for p in model.parameters()]
    run(attack, model, inputs, labels, eps=0.5, norm=norm)
    assert [module.training for module in model] == [True, False, True, True, True, True]
    assert [p.requires_grad for p in model.parameters()] == trainable
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert gradient is parameter.grad is None or torch.equal(parameter.grad, gradient)


@cases()
def test_model_is_left_as_found_after_an_error(attack, norm):
    model, (inputs, _) = conv_net().train(), batch(3)
    with pytest.raises(ValueError, match="labels from 0 to 2, got 0 to 7"):
        run(attack, model, inputs, torch.tensor([0, 1, 7]), eps=0.5, norm=norm)
    assert all(module.training for module in model)
    assert all(parameter.requires_grad for parameter in model.parameters())


@cases()
def test_gradient_of_a_forward_pass_before_the_attack_survives_it(attack, norm):
    model, (inputs, labels) = conv_net().eval(), batch(5)
    model(inputs).sum().backward()
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    logits = model(inputs)
    run(attack, model, inputs, labels, eps=0.5, norm=norm)
    logits.sum().backward()
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert torch.equal(parameter.grad, gradient)


@cases("generator")
def test_same_generator_same_result(attack, norm):
    model, (inputs, labels) = conv_net(), batch(5)

    def seeded(seed):
        generator = torch.Generator().manual_seed(seed)
        return run(
            attack,
            model,
            inputs,
            labels,
            eps=0.05,
            norm=norm,
            steps=2,
            random_start=True,
            generator=generator,
        )

    assert torch.equal(seeded(0).inputs, seeded(0).inputs)
    assert not torch.equal(seeded(0).inputs, seeded(1).inputs)


@pytest.mark.parametrize(
    ("attack", "norm"), [(a, norm) for a, norm in CASES if a in (pgd, bpgd, ddn, fmn, fmn_targeted)]
)
def test_each_sample_is_attacked_alone(attack, norm):
    model, (inputs, labels) = conv_net(torch.float64), batch(5, torch.float64)
    eps = torch.linspace(0.1, 0.5, 5, dtype=torch.float64)
    extra = {"norm": norm, "random_start": False}
    together = run(attack, model, inputs, labels, eps=eps, **extra)
    for i in range(5):
        alone = run(attack, model, inputs[i : i + 1], labels[i : i + 1], eps=float(eps[i]), **extra)
        torch.testing.assert_close(alone.inputs[0], together.inputs[i])
        assert alone.success.item() == together.success[i].item()


@cases("generator")
def test_other_samples_have_no_say(attack, norm):
    model, (inputs, _) = conv_net(torch.float64).eval(), batch(5, torch.float64)
    others = torch.cat([inputs[:1], inputs[1:].flip(0) * 0.9])

    def attacked(inputs):
        generator = torch.Generator().manual_seed(0)
        labels = model(inputs).argmax(dim=1)
        result = run(attack, model, inputs, labels, eps=1e-3, norm=norm, generator=generator)
        assert not result.success.any()  # else the draws of the others differ
        return result.inputs[0]

    torch.testing.assert_close(attacked(inputs), attacked(others), rtol=0, atol=1e-12)


@cases()
@pytest.mark.parametrize("count", [0, 1])
def test_small_batches(attack, norm, count):
    model = nn.Sequential(nn.InstanceNorm2d(1), nn.Flatten(), nn.Linear(42, 3))
    result = run(attack, model, *batch(count), eps=0.1, norm=norm)
    assert [len(part) for part in result] == [count] * 3


@cases()
def test_float64_stays_float64(attack, norm):
    result = run(attack, conv_net(torch.float64), *batch(5, torch.float64), eps=0.1, norm=norm)
    assert result.inputs.dtype == result.distance.dtype == torch.float64


@cases()
@pytest.mark.parametrize(
    "context",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)],
    ids=["no_grad", "inference_mode", "autocast"],
)
def test_surroundings_make_no_difference(attack, norm, context):
    model, (inputs, labels) = conv_net(), batch(7)

    def seeded(inputs, labels):
        generator = torch.Generator().manual_seed(0)
        return run(attack, model, inputs, labels, eps=0.1, norm=norm, generator=generator)

    expected = seeded(inputs, labels)
    with context():
        found = seeded(inputs.clone(), labels.clone())
    assert torch.equal(found.inputs, expected.inputs)


@cases("loss")
def test_any_callable_and_any_loss(attack, norm):
    model, (inputs, labels) = linear_model((1, 6, 7)), batch(6)
    labels = model(inputs).argmax(dim=1)
    expected = attack(model, inputs, labels, eps=0.01, norm=norm, random_start=False)
    found = attack(
        lambda x: model(x) + 0,
        inputs,
        labels,
        eps=0.01,
        norm=norm,
        random_start=False,
        loss=cross_entropy,
    )
    torch.testing.assert_close(found.inputs, expected.inputs)


# Models as they come


def found_in(attack, norm, model, inputs, labels, **options):
    """What an attack finds from always the same start."""
    generator = torch.Generator().manual_seed(0)
    return run(
        attack,
        model,
        inputs,
        labels,
        eps=0.1,
        norm=norm,
        generator=generator,
        bounds=None,
        **options,
    )


def assert_same(result, expected):
    for part, other in zip(result, expected, strict=True):
        assert part.dtype == other.dtype
        assert torch.equal(part, other)
    assert expected.success.any()


@cases()
@pytest.mark.parametrize("form", ["tuple", "dictionary", "one logit"])
def test_what_a_model_returns_makes_no_difference(attack, norm, form):
    network, (inputs, labels) = conv_net().eval(), batch(7)
    returned, meant = FORMS[form]
    plain = Returning(network, meant)
    labels = labels % meant(torch.zeros(1, 3)).shape[1]
    assert_same(
        found_in(attack, norm, Returning(network, returned), inputs, labels),
        found_in(attack, norm, plain, inputs, labels),
    )


@cases()
def test_a_model_may_change_its_inputs(attack, norm):
    network, (inputs, labels) = conv_net().eval(), batch(7)
    before = inputs.clone()
    expected = found_in(attack, norm, lambda x: network(x - 0.5), inputs, labels)
    assert_same(found_in(attack, norm, InPlace(network), inputs, labels), expected)
    assert torch.equal(inputs, before)


@cases()
@pytest.mark.parametrize(
    ("own", "given"),
    [
        (torch.float64, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float64),
    ],
    ids=str,
)
def test_inputs_follow_the_precision_of_the_model(attack, norm, own, given):
    model, (inputs, labels) = conv_net(own).eval(), batch(7, given)

    def by_hand(x):
        logits = model(x.to(own))
        return logits if own in (torch.float32, torch.float64) else logits.float()

    assert_same(
        found_in(attack, norm, model, inputs, labels),
        found_in(attack, norm, by_hand, inputs, labels),
    )


@cases()
def test_double_precision_finds_what_single_finds(attack, norm):
    inputs, labels = batch(7)
    single, double = (
        found_in(attack, norm, conv_net().to(dtype).eval(), inputs, labels, steps=5, side="outside")
        for dtype in (torch.float32, torch.float64)
    )
    assert double.inputs.dtype == torch.float32
    assert torch.equal(single.success, double.success)
    torch.testing.assert_close(single.distance, double.distance, rtol=1e-3, atol=1e-5)


@cases()
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16], ids=str)
def test_labels_are_integers_of_any_width_in_a_row_or_a_column(attack, norm, dtype):
    model, (inputs, labels) = conv_net().eval(), batch(7)
    expected = found_in(attack, norm, model, inputs, labels)
    for given in (labels.to(dtype), labels.to(dtype)[:, None]):
        assert_same(found_in(attack, norm, model, inputs, given), expected)


@cases()
def test_a_masked_class_is_named(attack, norm):
    mask = torch.tensor([0.0, 0.0, -torch.inf])
    model, (inputs, labels) = Returning(conv_net(), lambda z: z + mask), batch(4)
    with pytest.raises(ValueError, match="got -inf for class 2 in every sample, as a mask puts it"):
        found_in(attack, norm, model, inputs, labels % 2)


BAD_ARGUMENTS = [
    ({"inputs": torch.zeros(3, 1, 6, 7, dtype=torch.int64)}, TypeError, "floating point"),
    ({"labels": torch.zeros(3)}, TypeError, "class indices"),
    ({"labels": torch.zeros(4, dtype=torch.int64)}, ValueError, r"\(3, 1, 6, 7\) and \(4,\)"),
    ({"inputs": torch.full((3, 1, 6, 7), 1.5)}, ValueError, "within bounds.*1.5"),
    ({"inputs": torch.full((3, 1, 6, 7), torch.nan)}, ValueError, "finite inputs, got NaN"),
    ({"bounds": (1.0, 0.0)}, ValueError, "low < high"),
    ({"eps": -0.1}, ValueError, "eps to be finite and not negative, got -0.1"),
    ({"eps": torch.tensor([0.1, 0.2])}, ValueError, r"eps .* shape \(3,\), got shape \(2,\)"),
    ({"step_size": torch.nan}, ValueError, "step_size to be finite"),
    ({"steps": 0}, ValueError, "steps to be a whole number >= 1, got 0"),
    ({"steps": 2.5}, ValueError, "steps to be a whole number >= 1, got 2.5"),
    ({"queries": 0}, ValueError, "queries to be a whole number >= 1, got 0"),
    ({"p_init": 0.0}, ValueError, "p_init to lie between 0 and 1, got 0.0"),
    ({"restarts": 0}, ValueError, "restarts to be a whole number >= 1, got 0"),
    ({"targets": 1.5}, ValueError, "targets to be a whole number >= 1, got 1.5"),
    ({"gamma": 1.0}, ValueError, "gamma to lie between 0 and 1, got 1.0"),
    ({"norm": "l7"}, ValueError, "got 'l7'"),
    ({"labels": torch.zeros(3, dtype=torch.bool)}, TypeError, "class indices"),
    ({"labels": torch.zeros(3, 2, dtype=torch.int64)}, ValueError, r"\(N, 1\).*shape \(3, 2\)"),
    ({"model": lambda x: x}, ValueError, r"shape \(3, classes\).*got \(3, 1, 6, 7\)"),
    ({"model": lambda x: x.flatten(1)[:2]}, ValueError, r"shape \(3, classes\).*got \(2, 42\)"),
    ({"model": lambda x: x.flatten(1).argmax(dim=1)}, ValueError, "got .* of torch.int64"),
    ({"model": lambda x: x.flatten(1).sum(dim=1)}, ValueError, "labels from 0 to 1, got 0 to 2"),
    ({"model": lambda x: x.flatten(1) * torch.nan}, ValueError, "finite logits, got NaN"),
    ({"model": lambda x: x.flatten(1)[:, :3] / 0}, ValueError, "finite logits, got NaN"),
    ({"model": lambda x: torch.eye(3)}, ValueError, "by differentiable operations"),
    ({"norm": 2}, ValueError, "norm to be one of .*, got 2"),
]


@pytest.mark.parametrize(
    ("attack", "norm", "change", "error", "message"),
    [
        (attack, norm, *row)
        for attack, norm in CASES
        for row in BAD_ARGUMENTS
        if takes(attack, *row[0])
        # a black box needs no gradient
        and not (attack is square and "differentiable" in row[2])
    ],
)
def test_bad_arguments_end_in_words(attack, norm, change, error, message):
    inputs, labels = batch(3)
    arguments = {"model": conv_net(), "inputs": inputs, "labels": labels, "eps": 0.1, "norm": norm}
    with pytest.raises(error, match=message):
        run(attack, **arguments | change)
