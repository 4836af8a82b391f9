"""Attacks of other libraries on samples in [0, 1], and PGD as a textbook has it.

Every PGD takes steps of a tenth of the radius.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import foolbox
import torch
from art.attacks.evasion import ProjectedGradientDescentPyTorch
from art.estimators.classification import PyTorchClassifier
from measuring import SEED
from monai.utils import set_determinism
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from monai_ima.attacks import get_norm, misclassified
from monai_ima.attacks.draws import SampleDraws
from monai_ima.robustness.levelwise_pgd import Loss

try:
    import torchattacks
except ImportError:  # the tables are printed without it
    torchattacks = None

BATCH = 128

Perturb: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # inputs and labels to adversarial inputs


class Case(NamedTuple):
    """A ball, and what of an attack is the same for everybody."""

    norm: str
    eps: float
    steps: int
    restarts: int = 1


def started(inputs: Tensor, case: Case, draws: SampleDraws) -> Tensor:
    """A random point of the ball, in [0, 1]."""
    eps = torch.full((len(inputs),), case.eps)
    return (inputs + get_norm(case.norm).uniform(inputs, eps, draws)).clamp(0, 1)


def climbed(inputs: Tensor, iterate: Tensor, gradient: Tensor, case: Case, step: float) -> Tensor:
    """One step up the gradient, back into the ball and into [0, 1]."""
    norm, eps = get_norm(case.norm), torch.full((len(inputs),), case.eps)
    higher = iterate.detach() + step * norm.direction(gradient)
    return (inputs + norm.project(higher - inputs, eps)).clamp(0, 1)


def by_plain(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    case: Case,
    *,
    loss: Loss,
    index: Tensor | None = None,
    seed: int = SEED,
) -> Tensor:
    """Who is robust to PGD as a textbook has it: all take every step, and every iterate counts.

    The seed and the samples' numbers ``index`` decide the random starts, as they do for ``paper``.
    """
    broken = []
    index = torch.arange(len(labels)) if index is None else index
    for rows in torch.arange(len(labels)).split(BATCH):
        clean, targets, names = inputs[rows], labels[rows], index[rows]
        found = torch.zeros(len(clean), dtype=torch.bool)
        for restart in range(case.restarts):
            iterate = started(clean, case, SampleDraws(seed, names, restart))
            for _ in range(case.steps):
                leaf = iterate.detach().requires_grad_()
                logits = model(leaf)
                found |= logits.argmax(dim=1) != targets
                (gradient,) = torch.autograd.grad(loss(logits, targets).sum(), leaf)
                iterate = climbed(clean, leaf, gradient, case, case.eps / 10)
            found |= misclassified(model, iterate, targets)
        broken.append(found)
    return ~torch.cat(broken)


def foolbox_pgd(
    model: nn.Module, inputs: Tensor, labels: Tensor, case: Case
) -> tuple[Tensor, Tensor]:
    """What PGD of foolbox finds, and who is misclassified there."""
    kind = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[case.norm]
    attack = kind(rel_stepsize=0.1, steps=case.steps, random_start=True).repeat(case.restarts)
    network = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    batches = zip(inputs.split(BATCH), labels.split(BATCH), strict=True)
    found = [attack(network, *batch, epsilons=case.eps)[1:] for batch in batches]
    points, broken = map(torch.cat, zip(*found, strict=True))
    return points, broken


def by_foolbox(model: nn.Module, inputs: Tensor, labels: Tensor, case: Case) -> Tensor:
    """Who is robust to PGD of foolbox."""
    return ~foolbox_pgd(model, inputs, labels, case)[1]


def art_pgd(model: nn.Module, inputs: Tensor, case: Case) -> Perturb:
    """PGD of ART, for inputs of this shape."""
    classifier = PyTorchClassifier(
        model,
        loss=nn.CrossEntropyLoss(),
        input_shape=inputs.shape[1:],
        nb_classes=int(model(inputs[:1]).shape[1]),
        clip_values=(0, 1),
        device_type="cpu",
    )
    attack = ProjectedGradientDescentPyTorch(
        classifier,
        norm={"linf": "inf", "l2": 2}[case.norm],
        eps=case.eps,
        eps_step=case.eps / 10,
        max_iter=case.steps,
        num_random_init=case.restarts,
        batch_size=BATCH,
        verbose=False,
    )
    return lambda clean, labels: torch.from_numpy(attack.generate(clean.numpy(), labels.numpy()))


def by_art(model: nn.Module, inputs: Tensor, labels: Tensor, case: Case) -> Tensor:
    """Who is robust to PGD of ART."""
    return ~misclassified(model, art_pgd(model, inputs, case)(inputs, labels), labels)


def by_autoattack(model: nn.Module, inputs: Tensor, labels: Tensor, case: Case) -> Tensor:
    """Who is robust to AutoAttack's standard set, by pyautoattack."""
    return _left_robust(_of_pyautoattack, model, inputs, labels, case)


def by_torchattacks(model: nn.Module, inputs: Tensor, labels: Tensor, case: Case) -> Tensor:
    """Who is robust to the attacks with gradients of AutoAttack's set, by torchattacks."""
    return _left_robust(_of_torchattacks, model, inputs, labels, case)


def _of_pyautoattack(model: nn.Module, inputs: Tensor, classes: int, case: Case) -> list[Perturb]:
    common: dict[str, Any] = {"norm": case.norm.capitalize(), "eps": case.eps, "device": "cpu"}
    climbing = common | {"n_iter": case.steps}
    fab = FABAttack_PT(model, targeted=True, **climbing)
    fab.n_target_classes = classes - 1
    attacks: list[Any] = [
        APGDAttack(model, loss="ce", **climbing),
        APGDAttack_targeted(model, n_target_classes=classes - 1, **climbing),
        fab,
    ]
    if case.norm == "linf" or inputs.shape[2] > 1:  # its Square in L2 needs two dimensions
        attacks.append(SquareAttack(model, n_queries=5000, **common))
    return [attack.perturb for attack in attacks]


def _of_torchattacks(model: nn.Module, _: Tensor, classes: int, case: Case) -> list[Perturb]:
    common = {"norm": case.norm.capitalize(), "eps": case.eps, "steps": case.steps, "seed": SEED}
    return [
        torchattacks.APGD(model, **common),
        torchattacks.APGDT(model, n_classes=classes, **common),
        torchattacks.FAB(model, multi_targeted=True, n_classes=classes, **common),
    ]


def _left_robust(
    attacks: Callable[[nn.Module, Tensor, int, Case], Iterable[Perturb]],
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    case: Case,
) -> Tensor:
    """What no attack breaks within the ball, of which each attacks what those before have left."""
    set_determinism(SEED)
    if inputs.ndim == 3:  # they take images only: signals (N, C, L) are some of one row
        model, inputs = nn.Sequential(nn.Flatten(start_dim=2), model).eval(), inputs[:, :, None]
    classes = int(model(inputs[:1]).shape[1])
    robust = torch.ones_like(labels, dtype=torch.bool)
    for attack in attacks(model, inputs, classes, case):
        left = robust.nonzero()[:, 0]
        if len(left):
            points = attack(inputs[left].clone(), labels[left].clone())
            length = get_norm(case.norm).length(points - inputs[left])
            inside = length <= case.eps * (1 + 1e-4)
            robust[left] = ~(misclassified(model, points, labels[left]) & inside)
    return robust
