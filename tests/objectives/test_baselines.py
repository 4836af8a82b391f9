"""Each baseline against its paper's formula, stated again on a model where it can be written out."""

import pytest
import torch
from linear import exact_distance, linear_model
from small_net import blobs, trained_mlp
from torch import nn
from torch.nn.functional import cross_entropy

from monai_ima.attacks.draws import SampleDraws, drawn_seed
from monai_ima.margins import MarginStore
from monai_ima.objectives import IAAT, MMA, TRADES, DDNAdversarial, StandardAdversarial

WIDE = (-1e3, 1e3)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def toy(count=12, dtype=torch.float64):
    """Two classes under a linear model, a third of the samples wrong, and where its slope leads."""
    model = linear_model((2, 10), dtype=dtype)
    inputs = torch.rand(count, 2, 10, generator=torch.Generator().manual_seed(5), dtype=dtype)
    labels = model(inputs).argmax(dim=1)
    labels[::3] = 1 - labels[::3]
    weight = model[1].weight.detach()
    uphill = (weight[1 - labels] - weight[labels]).reshape(count, 2, 10)
    return model, inputs, labels, uphill


def moved(inputs, direction, radii):
    return inputs + radii.reshape(-1, 1, 1) * direction


def each(value, count=12):
    return torch.full((count,), value, dtype=torch.float64)


def test_adv_is_half_clean_and_half_attacked():
    model, inputs, labels, uphill = toy()
    attacked = moved(inputs, uphill.sign(), each(0.07))
    expected = (cross_entropy(model(inputs), labels) + cross_entropy(model(attacked), labels)) / 2
    objective = StandardAdversarial(norm="linf", eps=0.07, bounds=WIDE)
    result = objective(model, inputs, labels, torch.arange(12))
    torch.testing.assert_close(result.loss, expected, **CLOSE)
    gradients = [torch.autograd.grad(loss, model.parameters()) for loss in (result.loss, expected)]
    torch.testing.assert_close(*gradients, **CLOSE)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_trades_is_the_papers_algorithm(norm):
    """Written out with torch's own divergence, step by step, on a network with a curved boundary."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    inputs = torch.rand(7, 2, 10, dtype=torch.float64)
    labels, eps, steps, beta = torch.arange(7) % 3, 0.2, 6, 1.5
    divergence = nn.KLDivLoss(reduction="sum")

    def apart(attacked, clean):
        return divergence(network(attacked).log_softmax(1), network(clean).softmax(1))

    torch.manual_seed(4)
    noise = SampleDraws(drawn_seed(None), torch.arange(7)).normal(inputs)
    attacked = (inputs + 0.001 * noise).clamp(0, 1)
    for _ in range(steps):
        attacked.requires_grad_()
        (gradient,) = torch.autograd.grad(apart(attacked, inputs), attacked)
        if norm == "linf":
            attacked = attacked.detach() + 4 * eps / steps * gradient.sign()
            attacked = torch.min(torch.max(attacked, inputs - eps), inputs + eps)
        else:
            rows = gradient.flatten(1)
            unit = (rows / rows.norm(dim=1, keepdim=True)).view_as(gradient)
            delta = (attacked.detach() + 4 * eps / steps * unit - inputs).flatten(1)
            delta = torch.renorm(delta, p=2, dim=0, maxnorm=eps)
            attacked = inputs + delta.view_as(inputs)
        attacked = attacked.clamp(0, 1)
    expected = cross_entropy(network(inputs), labels) + beta / 7 * apart(attacked, inputs)

    torch.manual_seed(4)
    objective = TRADES(norm=norm, eps=eps, beta=beta, steps=steps)
    result = objective(network, inputs, labels, torch.arange(7))
    assert result.terms["loss_noisy"] > 1e-3
    torch.testing.assert_close(result.loss, expected, **CLOSE)
    gradients = [
        torch.autograd.grad(loss, network.parameters()) for loss in (result.loss, expected)
    ]
    torch.testing.assert_close(*gradients, **CLOSE)


def test_trades_starts_beside_the_sample():
    model, inputs, labels, _ = toy()
    seen = []
    model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    TRADES(norm="l2", eps=1.0, bounds=WIDE)(model, inputs, labels, torch.arange(12))
    _, _, start = seen[:3]  # after the samples in train and in eval mode
    assert (start - inputs).std().item() == pytest.approx(0.001, rel=0.2)


def test_ddn_is_the_loss_of_the_nearest_errors_shortened():
    model, inputs, labels, uphill = toy()
    distance = exact_distance(model, inputs, labels, "l2")
    eps = distance[distance > 0].min().item() / 2
    unit = uphill / uphill.flatten(1).norm(dim=1).reshape(-1, 1, 1)
    attacked = moved(inputs, unit, torch.where(distance > 0, eps, 0))
    objective = DDNAdversarial(norm="l2", eps=eps, bounds=WIDE)
    loss = objective(model, inputs, labels, torch.arange(12)).loss
    torch.testing.assert_close(loss, cross_entropy(model(attacked), labels), **CLOSE)


def test_ddn_trains_on_samples_no_longer_than_foolbox_finds():
    foolbox = pytest.importorskip("foolbox", reason="foolbox is a peer, not a dependency")
    inputs, labels = blobs(60)
    network = trained_mlp(inputs, labels)
    seen = []
    network.register_forward_hook(
        lambda module, arguments, _: seen.append(arguments[0]) if module.training else None
    )
    network.train()
    DDNAdversarial(norm="l2", eps=10.0)(network, inputs, labels, torch.arange(60))
    (trained_on,) = seen
    network.eval()
    fmodel = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    theirs, _, success = foolbox.attacks.DDNAttack(steps=100)(fmodel, inputs, labels, epsilons=None)
    assert success.all()
    assert (network(trained_on).argmax(dim=1) != labels).all()
    ours, peers = ((found - inputs).flatten(1).norm(dim=1).mean() for found in (trained_on, theirs))
    assert ours <= 1.02 * peers

    seen.clear()
    network.train()
    DDNAdversarial(norm="l2", eps=ours.item())(network, inputs, labels, torch.arange(60))
    lengths = (seen[0] - inputs).flatten(1).norm(dim=1)
    assert lengths.max().item() == pytest.approx(ours.item(), rel=1e-5)
    assert lengths.min() < 0.99 * ours


def test_iaat_moves_each_radius_as_the_paper_says():
    """A linear model's sample stands in a ball if it is further than its radius from the boundary."""
    model, inputs, labels, uphill = toy()
    distance = exact_distance(model, inputs, labels, "linf")
    gamma, beta = 0.12, 0.3
    beyond = [0.05, 0.01, -0.15, 0.05, -0.05, 0.03, 0.05, -0.05, -0.2, 0.05, 0.3, -0.01]
    radii = distance + torch.tensor(beyond)
    target = radii - gamma
    target[distance > radii] = radii[distance > radii]
    target[distance > radii + gamma] = (radii + gamma)[distance > radii + gamma]
    assert (target[distance > 0] < 0).any()
    target = target.clamp(min=0)
    target[distance == 0] = 0
    rules = [target == 0, target == radii, target > radii, target < radii]
    assert all(rule.any() for rule in rules)
    expected = (1 - beta) * radii + beta * target

    objective = IAAT(12, norm="linf", eps=0.1, gamma=gamma, beta=beta, warmup=0, bounds=WIDE)
    index = torch.arange(12).flip(0)
    objective.radii[index] = radii.float()
    result = objective(model, inputs, labels, index)
    torch.testing.assert_close(objective.radii[index], expected.float(), **CLOSE)
    attacked = moved(inputs, uphill.sign(), expected)
    torch.testing.assert_close(result.loss, cross_entropy(model(attacked), labels), **CLOSE)
    torch.testing.assert_close(result.terms["radius"], expected.mean(), **CLOSE)


def test_iaat_warms_up_at_a_fixed_radius_for_so_many_epochs():
    model, inputs, labels, uphill = toy()
    objective = IAAT(12, norm="linf", eps=0.1, gamma=0.02, warmup=2, bounds=WIDE)
    correct = model(inputs).argmax(dim=1) == labels
    fixed = torch.where(correct, 0.1, 0.0)
    halves = torch.arange(12).chunk(2)
    for half in halves * 2:
        loss = objective(model, inputs[half], labels[half], half).loss
        torch.testing.assert_close(objective.radii[half], fixed[half])
    attacked = moved(inputs, uphill.sign(), fixed.double())[half]
    torch.testing.assert_close(loss, cross_entropy(model(attacked), labels[half]), **CLOSE)
    objective(model, inputs, labels, torch.arange(12))
    assert (objective.radii != fixed)[correct].any()


def test_iaat_keeps_the_smaller_radius_of_a_sample_that_a_batch_names_twice():
    model, inputs, labels, _ = toy()
    labels = model(inputs).argmax(dim=1)
    labels[1] = 1 - labels[1]
    objective = IAAT(3, norm="linf", eps=0.1, gamma=0.02, warmup=1, bounds=WIDE)
    objective(model, inputs[:3], labels[:3], torch.tensor([2, 2, 0]))
    torch.testing.assert_close(objective.radii, torch.tensor([0.1, 0.1, 0.0]))


def test_mma_is_the_loss_on_the_boundary_within_d_max():
    """The ray runs into a corner of the ball, and the boundary is where the logits are the same."""
    model, inputs, labels, uphill = toy()
    exact = exact_distance(model, inputs, labels, "linf")
    d_max = exact[exact > 0].median().item() * 1.01
    within = exact < d_max
    assert within[exact > 0].any()
    assert not within.all()
    losses = cross_entropy(model(moved(inputs, uphill.sign(), exact)), labels, reduction="none")
    expected = cross_entropy(model(inputs), labels) / 3 + 2 / 3 * losses[within].sum() / 12

    margins = MarginStore(12, delta=d_max / 10, eps_max=d_max)
    margins.margins[:] = torch.linspace(d_max / 10, d_max, 12)
    index = torch.arange(12).flip(0)
    objective = MMA(margins, norm="linf", bisections=40, bounds=WIDE)
    result = objective(model, inputs, labels, index)
    torch.testing.assert_close(result.loss, expected, **CLOSE)
    remembered = exact.clamp(d_max / 10, d_max)
    torch.testing.assert_close(margins[index], remembered.float(), **CLOSE)
    gradients = [torch.autograd.grad(loss, model.parameters()) for loss in (result.loss, expected)]
    torch.testing.assert_close(*gradients, **CLOSE)


def test_mma_finds_the_boundary_in_l2():
    model, inputs, labels, _ = toy(dtype=torch.float32)
    labels = model(inputs).argmax(dim=1)
    exact = exact_distance(model, inputs, labels, "l2")
    margins = MarginStore(12, delta=0.01, eps_max=2.0)
    margins.margins[:] = exact * torch.linspace(0.5, 1.5, 12)
    MMA(margins, norm="l2", bounds=WIDE)(model, inputs, labels, torch.arange(12))
    assert (margins.margins > 0.999 * exact - 0.002).all()
    assert (margins.margins < 1.05 * exact + 0.002).all()


def test_mma_leaves_a_sample_out_whose_boundary_is_beyond_d_max():
    model, inputs, labels, _ = toy()
    labels = model(inputs).argmax(dim=1)
    nearest = exact_distance(model, inputs, labels, "linf").min().item()
    margins = MarginStore(12, delta=nearest / 100, eps_max=nearest / 1.06)
    objective = MMA(margins, norm="linf", bisections=4, bounds=WIDE)
    result = objective(model, inputs, labels, torch.arange(12))
    assert result.terms["loss_noisy"] == 0
    assert (margins.margins == margins.eps_max).all()
