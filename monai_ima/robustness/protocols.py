"""Protocols: which attacks are to find how far away the decision boundary is."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from monai_ima.attacks import (
    AttackResult,
    Norm,
    apgd,
    apgd_targeted,
    ddn,
    fmn,
    get_norm,
    misclassified,
    square,
)
from monai_ima.attacks.base import Bounds, Model, attacking, checked_count, checked_inputs
from monai_ima.attacks.bpgd_attack import bisect
from monai_ima.losses import hard_margin, logit_scale, soft_margin
from monai_ima.robustness.behaviour import check_answers
from monai_ima.robustness.climb import Loss, climb
from monai_ima.robustness.curve import noise_levels
from monai_ima.robustness.seeds import seeded

_LOSSES: dict[str, Loss] = {"soft_margin": soft_margin, "hard_margin": hard_margin}
_BISECTIONS = 10
_NEARER_STEPS = 12
_CLOSE = 1.08  # a margin that much above a level may lose it
_CLOSE_STEPS = 25


@dataclass(frozen=True, eq=False)
class Task:
    """Correctly classified samples, and what may be done to them; see :func:`closest_errors`."""

    model: Model
    inputs: Tensor
    labels: Tensor
    eps: Tensor
    norm: Norm
    bounds: Bounds | None
    index: Tensor
    seed: int
    batch_size: int

    def batches(self, chosen: Tensor) -> Iterable[Tensor]:
        """Places of the samples that a mask ``(N,)`` chooses, batch by batch."""
        places = chosen.nonzero()[:, 0]
        return places.split(self.batch_size) if len(places) else ()


class ClosestErrors(NamedTuple):
    """The closest misclassified point that was found for each sample.

    Attributes:
        inputs: ``(N, *)`` the points; the clean sample where none was found.
        margins: ``(N,)`` float64 distances, in units of the inputs: 0 where the sample itself is
            misclassified, infinite where none was found.
    """

    inputs: Tensor
    margins: Tensor


@dataclass(frozen=True)
class Protocol(ABC):
    """A choice of attacks. A sample is robust at a level only if all of them leave it standing.

    Args:
        steps: steps of each attack.
    """

    name: ClassVar[str]
    steps: int

    @property
    @abstractmethod
    def description(self) -> str:
        """The attacks, in words."""

    @abstractmethod
    def search(self, task: Task) -> ClosestErrors:
        """Look for the closest misclassified point of each sample of the task."""


@dataclass(frozen=True)
class Paper(Protocol):
    """PGD of many steps, several times, at every level: the paper's 100-PGD, twice.

    Never weaker than that: every iterate counts, at the levels below as well, and from each error
    found a few steps lead nearer to the sample, which may lose it a lower level.

    Args:
        steps: gradient steps of a restart, each of length ``eps / 10``.
        restarts: random starts at each level.
        losses: what the restarts climb, in turn: the soft margin, which is the direction of
            cross-entropy, or the hard margin, the difference of two logits. The surviving code of
            the authors takes one of each. Logits are brought to one scale first, by
            :func:`~monai_ima.losses.logit_scale`, so that a model and the same model with its
            logits times 1000 get the same curve.
        shortcut: run ``screen`` first, then attack only the levels from its answer downwards, until
            the first at which a sample stands. Levels below that are taken to stand: a few may not.

    Source:
        Ma and Liang, Increasing-Margin Adversarial (IMA) Training, 2020, section 3.
    """

    name: ClassVar[str] = "paper"
    steps: int = 100
    restarts: int = 2
    losses: tuple[str, ...] = ("soft_margin", "hard_margin")
    shortcut: bool = False

    def __post_init__(self) -> None:
        checked_count("steps", self.steps, at_least=1)
        checked_count("restarts", self.restarts, at_least=1)
        if type(self.shortcut) is not bool:
            raise ValueError(f"expected shortcut to be true or false, got {self.shortcut!r}")
        if not self.losses or not set(self.losses) <= set(_LOSSES):
            raise ValueError(f"expected losses among {sorted(_LOSSES)}, got {self.losses}")

    @property
    def description(self) -> str:
        climbed = " and ".join(name.replace("_", " ") for name in self.losses[: self.restarts])
        searched = (
            "the levels below the margin that a minimum-norm attack finds, until one is withstood"
            if self.shortcut
            else "every level"
        )
        return (
            f"{self.steps}-step PGD with {self.restarts} random starts at {searched}, climbing the "
            f"{climbed} by steps of eps / 10; every iterate counts, and what is found is brought "
            f"nearer by {_NEARER_STEPS} steps of FMN, and by {_CLOSE_STEPS} more where it lies just "
            "above a level"
        )

    def search(self, task: Task) -> ClosestErrors:
        errors = Screen(self.steps).search(task) if self.shortcut else nothing_found(task)
        known = torch.searchsorted(task.eps, errors.margins)  # the lowest level lost so far
        scale, certainty = _clean_logits(task)
        fell, found = climb(
            task.model,
            task.inputs,
            task.labels,
            eps=task.eps,
            fell=known,
            norm=task.norm,
            order="down" if self.shortcut else "up",
            steps=self.steps,
            scale=scale,
            priority=scale * certainty,
            losses=[_LOSSES[self.losses[r % len(self.losses)]] for r in range(self.restarts)],
            bounds=task.bounds,
            index=task.index,
            seed=task.seed,
            batch_size=task.batch_size,
        )
        rows = (fell < known).nonzero()[:, 0]
        keep_closer(task, errors, rows, found[rows], within=task.eps[fell[rows]])
        return brought_nearer(task, errors)


@dataclass(frozen=True)
class Screen(Protocol):
    """One minimum-norm attack, for all levels at once: DDN in L2, FMN in Linf.

    A seventh of the cost of ``paper`` or less: for validation in the course of a training, and for
    choosing ``beta`` and ``eps_max``. It finds about as much.

    Args:
        steps: gradient steps.
    """

    name: ClassVar[str] = "screen"
    steps: int = 100

    def __post_init__(self) -> None:
        checked_count("steps", self.steps, at_least=1)

    @property
    def description(self) -> str:
        return f"one {self.steps}-step minimum-norm attack (DDN in L2, FMN in Linf)"

    def search(self, task: Task) -> ClosestErrors:
        attack = ddn if task.norm.name == "l2" else partial(fmn, norm=task.norm)
        errors = nothing_found(task)
        for rows in task.batches(errors.margins > 0):
            found = attack(
                task.model,
                task.inputs[rows],
                task.labels[rows],
                steps=self.steps,
                bounds=task.bounds,
            )
            keep_closer(task, errors, rows[found.success], found.inputs[found.success])
        return errors


@dataclass(frozen=True)
class Strong(Protocol):
    """``screen``, then APGD on cross-entropy and targeted APGD on what it leaves standing.

    The gradient attacks of AutoAttack, at every level: the number to publish.

    Args:
        steps: gradient steps of each attack.
        targets: classes that targeted APGD aims for, one after another.
    """

    name: ClassVar[str] = "strong"
    steps: int = 100
    targets: int = 9

    def __post_init__(self) -> None:
        checked_count("steps", self.steps, at_least=1)
        checked_count("targets", self.targets, at_least=1)

    @property
    def description(self) -> str:
        return (
            f"{Screen(self.steps).description}; what it leaves standing at a level meets "
            f"{self.steps}-step APGD on cross-entropy, then targeted APGD-DLR against up to "
            f"{self.targets} classes"
        )

    def search(self, task: Task) -> ClosestErrors:
        errors = Screen(self.steps).search(task)
        attacks = [
            partial(apgd, steps=self.steps),
            partial(apgd_targeted, steps=self.steps, targets=self.targets),
        ]
        return brought_nearer(task, attacked_at_every_level(task, errors, attacks))


@dataclass(frozen=True)
class BlackBox(Protocol):
    """Square, a random search, at every level: for models without gradients.

    Much weaker than an attack that has gradients: what it leaves standing is an upper bound of the
    robust samples, and far from a tight one.

    Args:
        steps: queries of each sample at each level.
    """

    name: ClassVar[str] = "blackbox"
    steps: int = 1000

    def __post_init__(self) -> None:
        checked_count("steps", self.steps, at_least=1)

    @property
    def description(self) -> str:
        return (
            f"Square, a random search with {self.steps} queries at every level; without gradients, "
            "and therefore weak"
        )

    def search(self, task: Task) -> ClosestErrors:
        return attacked_at_every_level(
            task, nothing_found(task), [partial(square, queries=self.steps)]
        )


_PROTOCOLS: dict[str, type[Protocol]] = {p.name: p for p in (Paper, Screen, Strong, BlackBox)}


def get_protocol(protocol: Protocol | str, **settings: Any) -> Protocol:
    """Look a protocol up by its name, with these settings where they are not ``None``.

    Raises:
        ValueError: if there is no such protocol, or it has no such setting.
    """
    settings = {name: value for name, value in settings.items() if value is not None}
    if isinstance(protocol, Protocol):
        return dataclasses.replace(protocol, **settings)
    if protocol not in _PROTOCOLS:
        raise ValueError(f"expected protocol to be one of {sorted(_PROTOCOLS)}, got {protocol!r}")
    kind = _PROTOCOLS[protocol]
    known = [field.name for field in dataclasses.fields(kind)]
    if unknown := sorted(set(settings) - set(known)):
        raise ValueError(
            f"expected settings of the protocol {protocol!r} among {known}, "
            f"got {', '.join(unknown)}; leave it out, or choose another protocol"
        )
    return kind(**settings)


def closest_errors(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    eps: Sequence[float] | Tensor,
    norm: Norm | str,
    protocol: Protocol | str = "paper",
    bounds: Bounds | None = (0.0, 1.0),
    index: Tensor | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> ClosestErrors:
    """Find the closest misclassified point of each sample, by the attacks of a protocol.

    A sample is robust at a level where its margin is larger than that level, so that one number a
    sample makes the whole curve, and the curve cannot rise. What the attacks find is followed back
    along the straight line to the clean sample, ten times halved, since a point nearer by may be
    misclassified already: no sample is called robust for which they found an error, at whatever
    level and by whatever step. A model of which that would say nothing, since its answers are
    random or depend on the batch, is refused, see :func:`check_answers`.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``; a module is attacked in eval mode
            and left as found.
        inputs: ``(N, *)`` clean samples.
        labels: ``(N,)`` true class indices.
        eps: noise levels, as :func:`noise_levels` takes them, in units of ``inputs``.
        norm: ``"linf"``, ``"l2"`` or a :class:`~monai_ima.attacks.Norm`.
        protocol: ``"paper"``, ``"screen"``, ``"strong"``, ``"blackbox"``, or one with settings.
        bounds: range of valid inputs, or ``None``.
        index: ``(N,)`` numbers of the samples; their random starts depend on them. By default
            their places.
        seed: seed of all that is random.
        batch_size: samples that are attacked together.

    Raises:
        TypeError, ValueError: if an argument does not fit; the message says what was expected.
    """
    inputs = checked_inputs(inputs, labels, bounds)
    checked_count("batch_size", batch_size, at_least=1)
    geometry = get_norm(norm)
    levels = noise_levels(eps)
    _check_range(levels, geometry, inputs, bounds)
    places = torch.arange(len(inputs), device=inputs.device)
    index = places if index is None else index.to(inputs.device)
    wrong = torch.cat(
        [labels.new_zeros(0).bool()]
        + [misclassified(model, inputs[b], labels[b]) for b in places.split(batch_size) if len(b)]
    )
    check_answers(model, inputs, batch_size=batch_size)
    margins = torch.full((len(inputs),), torch.inf, dtype=torch.float64, device=inputs.device)
    errors = ClosestErrors(inputs.clone(), margins.masked_fill(wrong, 0))
    correct = places[~wrong]
    if len(correct) == 0:
        return errors
    task = Task(
        model,
        inputs[correct],
        labels[correct],
        levels.to(inputs.device),
        geometry,
        bounds,
        index[correct],
        seed,
        batch_size,
    )
    errors.inputs[correct], errors.margins[correct] = along_the_ray(
        task, get_protocol(protocol).search(task)
    )
    return errors


def _check_range(levels: Tensor, norm: Norm, inputs: Tensor, bounds: Bounds | None) -> None:
    if bounds is None or len(inputs) == 0:
        return
    whole = float(norm.length(torch.full_like(inputs[:1], bounds[1] - bounds[0])))
    if levels[-1] > whole * (1 + 1e-6):
        raise ValueError(
            f"expected noise levels within the bounds' range, got the level {levels[-1]:g} where a "
            f"noise of {whole:g} ({norm.name}) reaches every valid input; correct levels or bounds"
        )


@torch.no_grad()
def _clean_logits(task: Task) -> tuple[Tensor, Tensor]:
    """Factors ``(N,)`` that bring each sample's logits to the same scale, and its logit margin."""
    with attacking(task.model, task.inputs):
        logits = torch.cat([task.model(part) for part in task.inputs.split(task.batch_size)])
    return logit_scale(logits), -hard_margin(logits, task.labels)


def nothing_found(task: Task) -> ClosestErrors:
    """What is known of the samples before they are attacked."""
    infinite = torch.full_like(task.labels, torch.inf, dtype=torch.float64)
    return ClosestErrors(task.inputs.clone(), infinite)


def keep_closer(
    task: Task,
    errors: ClosestErrors,
    rows: Tensor,
    points: Tensor,
    within: float | Tensor = torch.inf,
) -> None:
    """Put misclassified ``points`` of the samples ``rows`` in the place of what is further away.

    ``within`` is the radius of the ball that they were found in, which rounding may have left.
    """
    distance = task.norm.length(points - task.inputs[rows]).double().clamp(max=within)
    nearer = distance < errors.margins[rows]
    errors.inputs[rows[nearer]] = points[nearer]
    errors.margins[rows[nearer]] = distance[nearer]


def attacked_at_every_level(
    task: Task, errors: ClosestErrors, attacks: Sequence[Callable[..., AttackResult]]
) -> ClosestErrors:
    """At each level in turn, attack what still stands there with one attack after another."""
    for level in task.eps[1:].tolist():
        for number, attack in enumerate(attacks):
            for rows in task.batches(errors.margins > level):
                names = (task.seed, int(task.index[rows[0]]), level, number)
                result = attack(
                    task.model,
                    task.inputs[rows],
                    task.labels[rows],
                    eps=level,
                    norm=task.norm,
                    bounds=task.bounds,
                    generator=seeded(*names, device=task.inputs.device),
                )
                won = result.success
                keep_closer(task, errors, rows[won], result.inputs[won], within=level)
    return errors


def brought_nearer(task: Task, errors: ClosestErrors) -> ClosestErrors:
    """Go from each error found along the boundary towards the clean sample, by some steps of FMN.

    An attack within a ball stops at its first error, most often on the surface: a lower level may
    be lost with it, and the margin is smaller. More steps are for those that lie just above a level.
    """
    _follow(task, errors, errors.margins.isfinite(), _NEARER_STEPS)
    below = torch.searchsorted(task.eps, errors.margins) - 1
    just_above = (below > 0) & (errors.margins <= _CLOSE * task.eps[below])
    _follow(task, errors, just_above & errors.margins.isfinite(), _CLOSE_STEPS)
    return errors


def _follow(task: Task, errors: ClosestErrors, chosen: Tensor, steps: int) -> None:
    """Bring the errors of the samples ``(N,)`` bool nearer, in place."""
    for rows in task.batches(chosen):
        nearer = fmn(
            task.model,
            task.inputs[rows],
            task.labels[rows],
            norm=task.norm,
            steps=steps,
            start=errors.inputs[rows],
            bounds=task.bounds,
        )
        keep_closer(task, errors, rows[nearer.success], nearer.inputs[nearer.success])


def along_the_ray(task: Task, errors: ClosestErrors) -> ClosestErrors:
    """Bisect from each clean sample straight to its misclassified point, and keep the nearest one."""
    with attacking(task.model, task.inputs):
        for rows in task.batches(errors.margins.isfinite()):
            nearer = bisect(
                task.model,
                task.inputs[rows],
                errors.inputs[rows],
                task.labels[rows],
                bisections=_BISECTIONS,
                side="outside",
            )
            keep_closer(task, errors, rows, nearer)
    return errors
