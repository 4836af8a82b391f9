"""APGD: exact on a linear model, no weaker than its authors' code on another."""

import pytest
import torch
from linear import exact_distance, linear_model

from monai_ima.attacks import apgd, apgd_targeted
from monai_ima.attacks.apgd_ascent import checkpoint_windows
from monai_ima.losses import logit_scale, soft_margin

ATTACKS = [apgd, apgd_targeted]
EPS = {"linf": (0.075, 0.09), "l2": (0.7, 0.85)}
WIDE = (-1e3, 1e3)
every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])


@pytest.fixture(scope="module")
def some(images):
    model, inputs, labels = images
    return model, inputs[:200], labels[:200]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_checkpoints_of_the_paper():
    assert list(checkpoint_windows(100)) == [22, 41, 57, 70, 80, 87, 93, 99, 105]
    assert list(checkpoint_windows(100).values()) == [22, 19, 16, 13, 10, 7, 6, 6, 6]
    assert all(
        window > 0 for steps in range(1, 30) for window in checkpoint_windows(steps).values()
    )


# Among several classes cross-entropy's direction need not lead to the nearest; a target's does.
@pytest.mark.parametrize(
    ("attack", "classes"), [(apgd, 2), (apgd_targeted, 2), (apgd_targeted, 3), (apgd_targeted, 5)]
)
@every_norm
@pytest.mark.parametrize("shape", [(1, 50), (2, 9, 11), (1, 5, 6, 7)], ids=str)
def test_robust_set_of_a_linear_model(attack, norm, shape, classes):
    model = linear_model(shape, classes)
    inputs = torch.rand(13, *shape, generator=seeded(1))
    labels = model(inputs).argmax(dim=1)
    ratio = torch.tensor([0.3, 0.9, 0.99, 1.01, 1.1, 3.0]).repeat(3)[:13]
    eps = ratio * exact_distance(model, inputs, labels, norm)
    found = attack(model, inputs, labels, eps=eps, norm=norm, bounds=WIDE, generator=seeded())
    assert torch.equal(found.success, ratio > 1)


@every_attack
@every_norm
def test_no_false_robustness_from_saturation(some, attack, norm):
    model, inputs, labels = some

    def robust(scale):
        options = {"eps": EPS[norm][1], "norm": norm, "steps": 30, "generator": seeded()}
        return ~attack(lambda x: scale * model(x), inputs, labels, **options).success

    expected = robust(1)
    assert 0 < expected.sum() < len(labels)
    assert torch.equal(robust(1024), expected)  # a power of two: not even rounding differs
    assert (robust(1000) != expected).sum() <= 0.01 * len(labels)


@every_norm
@pytest.mark.parametrize("eps", [0, 1])
def test_robust_set_is_no_larger_than_the_authors(some, norm, eps):
    peer = pytest.importorskip(
        "pyautoattack.autopgd_base", reason="pyautoattack is a peer, not a dependency"
    )
    model, inputs, labels = some
    eps = EPS[norm][eps]
    theirs = {"n_iter": 30, "norm": {"linf": "Linf", "l2": "L2"}[norm], "eps": eps, "device": "cpu"}
    for ours, attack in [
        (apgd, peer.APGDAttack(model, loss="ce", **theirs)),
        (apgd_targeted, peer.APGDAttack_targeted(model, n_target_classes=4, **theirs)),
    ]:
        options = {"eps": eps, "norm": norm, "steps": 30, "generator": seeded()}
        robust = int((~ours(model, inputs, labels, **options).success).sum())
        attacked = attack.perturb(inputs.clone(), labels.clone())
        expected = int((model(attacked).argmax(dim=1) == labels).sum())
        assert 0.1 * len(labels) < expected < 0.9 * len(labels)
        assert robust <= expected + 0.005 * len(labels)


@every_norm
def test_restarts_see_survivors_only_and_lose_nothing(some, norm):
    model, inputs, labels = some
    options = {"eps": EPS[norm][1], "norm": norm, "steps": 10}
    once = apgd(model, inputs, labels, **options, generator=seeded())
    thrice = apgd(model, inputs, labels, **options, restarts=3, generator=seeded())
    assert (thrice.success | ~once.success).all()
    assert thrice.success.sum() > once.success.sum()
    assert torch.equal(thrice.inputs[once.success], once.inputs[once.success])


@every_attack
def test_a_sample_leaves_with_its_first_misclassified_iterate(some, attack):
    model, inputs, labels = some
    sizes = []

    def counting(x):
        logits = model(x)
        sizes.append((len(x), int((logits.argmax(dim=1) != counting.label).sum())))
        return logits

    # All of one class, so that the model sees who is misclassified.
    counting.label = 2
    inputs = inputs[labels == 2]
    labels = labels[labels == 2]
    options = {"eps": 0.09, "norm": "linf", "steps": 10, "generator": seeded()}
    extra = {"targets": 1} if attack is apgd_targeted else {}
    success = attack(counting, inputs, labels, **options, **extra).success
    assert sizes[0] == (len(labels), 0)
    left = len(labels)
    for size, wrong in sizes[1:]:
        assert size == left
        left -= wrong
    assert 0 < left == int((~success).sum()) < len(labels)


@pytest.mark.parametrize(("rise", "halved"), [(1e-3, False), (-1e-3, True)])
def test_steps_that_climb_stay_long_and_others_are_halved(rise, halved):
    """Values rise (or fall) from call to call, whatever the steps, which go to and fro."""
    seen = []

    def model(x):
        seen.append(x.detach().flatten())
        value = rise * len(seen) + 1e-4 * (-1) ** len(seen) * x.flatten(1).sum(dim=1) - 1
        return torch.stack([0 * value, value], dim=1)

    inputs, labels = torch.zeros(3, 1, 1), torch.zeros(3, dtype=torch.int64)
    apgd(model, inputs, labels, eps=1.0, norm="linf", bounds=None, generator=seeded())
    longest = torch.stack(seen[-6:]).diff(dim=0).abs().amax().item()
    assert longest < 0.05 if halved else longest > 0.5
    back_at_the_best = (
        seen[-1] - seen[1]
    ).abs().amax().item() < 0.1  # the start, while values fall
    assert back_at_the_best or not halved


def test_targets_are_aimed_at_in_turn():
    """The runner-up cannot be reached; the next class can."""

    def model(x):
        mean = x.flatten(1).mean(dim=1)
        return torch.stack([1 + 0 * mean, 0.9 + 0 * mean, 3 * mean], dim=1)

    inputs, labels = torch.full((4, 1, 100), 0.1), torch.zeros(4, dtype=torch.int64)
    options = {"eps": 0.5, "norm": "linf", "bounds": None}
    nearest = apgd_targeted(model, inputs, labels, targets=1, **options, generator=seeded())
    assert not nearest.success.any()
    every = apgd_targeted(model, inputs, labels, targets=2, **options, generator=seeded())
    assert every.success.all()


@every_norm
def test_climbs_further_than_it_starts(some, norm):
    """Where nothing is found, the highest iterate is handed back."""
    model, inputs, labels = some
    eps = EPS[norm][0] / 4
    first, last = (
        apgd(model, inputs, labels, eps=eps, norm=norm, steps=steps, generator=seeded())
        for steps in (1, 30)
    )
    stood = ~last.success
    assert stood.sum() > 0.9 * len(labels)
    scale = logit_scale(model(inputs))[:, None]
    low, high = (soft_margin(scale * model(found.inputs), labels)[stood] for found in (first, last))
    assert (high >= low).all()
    assert (high > low).float().mean() > 0.8
