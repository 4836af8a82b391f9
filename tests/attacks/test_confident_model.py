"""A network so sure of itself that cross-entropy has no gradient must not look robust."""

import pytest
import torch
import torch.nn.functional as F
from small_net import blobs, trained_mlp

from monai_ima.attacks import pgd

EPS, STEPS = 0.45, 50
BOUNDS = (0.0, 1.0)


@pytest.fixture(scope="module")
def confident():
    inputs, labels = blobs(400, spread=0.06)
    model = trained_mlp(inputs, labels, steps=600)
    with torch.no_grad():
        model[-1].weight *= 25
        model[-1].bias *= 25
    with torch.no_grad():
        sure = model(inputs).softmax(dim=1).gather(1, labels[:, None]) == 1
    assert sure.float().mean() > 0.9
    return model.eval(), inputs, labels


def robust(model, inputs, labels):
    with torch.no_grad():
        return (model(inputs).argmax(dim=1) == labels).sum().item()


@pytest.fixture(scope="module")
def ours(confident):
    model, inputs, labels = confident
    attacked = pgd(
        model,
        inputs,
        labels,
        eps=EPS,
        norm="l2",
        steps=STEPS,
        step_size=EPS / 10,
        generator=torch.Generator().manual_seed(0),
    )
    return len(labels) - int(attacked.success.sum())


def test_batch_mean_cross_entropy_overstates_robustness(confident, ours):
    """The usual loop: mean cross-entropy, normalised with a floor of 1e-12."""
    model, inputs, labels = confident
    torch.manual_seed(0)
    delta = torch.randn_like(inputs)
    delta = EPS * delta / delta.flatten(1).norm(dim=1)[:, None, None]
    for _ in range(STEPS):
        delta.requires_grad_()
        loss = F.cross_entropy(model((inputs + delta).clamp(*BOUNDS)), labels)
        (gradient,) = torch.autograd.grad(loss, delta)
        length = gradient.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None]
        delta = delta.detach() + EPS / 10 * gradient / length
        length = delta.flatten(1).norm(dim=1)[:, None, None]
        delta = delta * (EPS / length).clamp(max=1)
    theirs = robust(model, (inputs + delta).clamp(*BOUNDS), labels)
    assert theirs - ours > 0.2 * len(labels)


def test_no_more_robust_than_foolbox_says(confident, ours):
    foolbox = pytest.importorskip("foolbox", reason="foolbox is a peer, not a dependency")
    model, inputs, labels = confident
    attack = foolbox.attacks.L2PGD(steps=STEPS, rel_stepsize=0.1)
    torch.manual_seed(0)
    fmodel = foolbox.PyTorchModel(model, bounds=BOUNDS, device="cpu")
    _, attacked, _ = attack(fmodel, inputs, labels, epsilons=EPS)
    assert ours <= robust(model, attacked, labels)


def test_no_more_robust_than_art_says(confident, ours):
    pytest.importorskip("art", reason="ART is a peer, not a dependency")
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    model, inputs, labels = confident
    classifier = PyTorchClassifier(
        model,
        torch.nn.CrossEntropyLoss(),
        inputs.shape[1:],
        4,
        clip_values=BOUNDS,
        device_type="cpu",
    )
    attack = ProjectedGradientDescentPyTorch(
        classifier, norm=2, eps=EPS, eps_step=EPS / 10, max_iter=STEPS, num_random_init=1,
        batch_size=len(inputs), verbose=False,
    )  # fmt: skip
    attacked = torch.from_numpy(attack.generate(inputs.numpy(), labels.numpy()))
    assert ours <= robust(model, attacked, labels)
