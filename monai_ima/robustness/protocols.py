"""Protocols: which attacks are to find how far away the decision boundary is."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from monai_ima.attacks import (
    AttackResult,
    apgd,
    apgd_targeted,
    ddn,
    fmn,
    fmn_targeted,
    square,
)
from monai_ima.counts import checked_count
from monai_ima.losses import hard_margin, soft_margin
from monai_ima.robustness.search import (
    ClosestErrors,
    Task,
    attacked_by_pgd,
    attacked_downwards,
    brought_nearer,
    keep_closer,
    nothing_found,
)
from monai_ima.robustness.seeds import seeded

_LOSSES = (soft_margin, hard_margin)  # what PGD climbs: cross-entropy's direction, then the margin
# What is known lies within these multiples of a level where PGD, or targeted APGD, may find more.
_NEAR, _NOT_FAR = 1.1, 1.5
_STARTS = 2  # of APGD in the default; ``strong`` takes one more


@dataclass(frozen=True)
class Protocol(ABC):
    """A choice of attacks. A sample is robust at a level if none of them finds an error there.

    Attributes:
        name: what a config calls it.
        version: of the attacks behind that name. It changes with whatever changes what they find,
            so that one name and version is one attack.

    Args:
        steps: steps of each attack. It and other settings are counts, from 1 on.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    steps: int

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            checked_count(setting.name, getattr(self, setting.name), at_least=1)

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

    The paper does not say what it climbs; what is left of its authors' code climbs cross-entropy
    once and the logit margin once. Here each is climbed from each start, so that this is never weaker
    than either of them twice: every iterate counts, at the levels below as well, and from each error
    found a few steps lead nearer to the sample, which may bring it below a lower level.

    Args:
        steps: gradient steps of a climb, each of length ``eps / 10``.
        restarts: random starts at each level.

    Source:
        Ma and Liang, Increasing-Margin Adversarial (IMA) Training, 2020, section 3.
    """

    name: ClassVar[str] = "paper"
    version: ClassVar[int] = 5
    steps: int = 100
    restarts: int = 2

    @property
    def description(self) -> str:
        return (
            f"{self.steps}-step PGD at every level by steps of eps / 10, on cross-entropy and on the "
            f"logit margin, each from {self.restarts} random starts; every iterate counts, and what "
            "is found is brought nearer by a few steps of FMN"
        )

    def search(self, task: Task) -> ClosestErrors:
        errors = nothing_found(task)
        chosen = torch.ones_like(task.labels, dtype=torch.bool)
        attacked_by_pgd(
            task,
            errors,
            chosen,
            order="up",
            steps=self.steps,
            restarts=self.restarts,
            losses=_LOSSES,
        )
        brought_nearer(task, errors, errors.margins.isfinite(), steps=_share(0.2, self.steps))
        return errors


@dataclass(frozen=True)
class Screen(Protocol):
    """One minimum-norm attack, for all levels at once: DDN in L2, FMN in Linf.

    For a first look, and for choosing ``beta`` and ``eps_max``. It follows whichever class is nearest
    at first, and overrates networks whose nearest boundary is another one's.

    Args:
        steps: gradient steps.
    """

    name: ClassVar[str] = "screen"
    version: ClassVar[int] = 1
    steps: int = 100

    @property
    def description(self) -> str:
        return f"one {self.steps}-step minimum-norm attack (DDN in L2, FMN in Linf)"

    def search(self, task: Task) -> ClosestErrors:
        attack = ddn if task.norm.name == "l2" else partial(fmn, norm=task.norm)
        errors = nothing_found(task)
        for rows in task.batches(errors.margins > 0):
            found = task.run(attack, rows, steps=self.steps)
            keep_closer(task, errors, rows[found.success], found.inputs[found.success])
        return errors


@dataclass(frozen=True)
class MinimumNorm(Protocol):
    """Minimum-norm attacks, without a target and towards every class, then PGD where it may find more.

    The strongest curve for its cost: minimum-norm attacks serve all levels at once. What they found
    just above a level is attacked there by APGD, and what they found nothing for by APGD and PGD at
    the highest level; in either case downwards, until the sample is robust.

    Args:
        steps: gradient steps of PGD and APGD. The attack without a target takes four tenths of
            them, that towards each class three, but those towards all classes together no more than
            twice as many, and two tenths bring what was found nearer.
        targets: classes that are aimed for; of more, those with the nearest boundaries.
    """

    name: ClassVar[str] = "minimum_norm"
    version: ClassVar[int] = 3
    steps: int = 100
    targets: int = 9

    @property
    def description(self) -> str:
        return (
            f"{Screen(_share(0.4, self.steps)).description}, {_share(0.3, self.steps)} steps of FMN "
            f"towards each of up to {self.targets} classes (together at most {2 * self.steps}), "
            f"{_share(0.2, self.steps)} from what was found, then {self.steps}-step APGD on cross-entropy, from {_STARTS} random starts, at "
            "the level just below it where that is near, and downwards"
        )

    def search(self, task: Task) -> ClosestErrors:
        errors = Screen(_share(0.4, self.steps)).search(task)
        targets = min(self.targets, task.classes() - 1)
        for rows in task.batches(errors.margins > 0):
            found = task.run(
                fmn_targeted,
                rows,
                norm=task.norm,
                steps=min(_share(0.3, self.steps), _share(2 / targets, self.steps)),
                targets=self.targets,
                known=errors.margins[rows],
            )
            keep_closer(task, errors, rows[found.success], found.inputs[found.success])
        brought_nearer(task, errors, errors.margins.isfinite(), steps=_share(0.2, self.steps))
        found_first = errors.margins.clone()
        attacked_by_pgd(
            task,
            errors,
            errors.margins.isinf(),
            order="down",
            steps=self.steps,
            restarts=1,
            losses=_LOSSES,
        )
        again = [_apgd(task, self.steps, restart) for restart in range(_STARTS)]
        attacked_downwards(task, errors, again, within=_NEAR)
        new = errors.margins < found_first
        brought_nearer(task, errors, new, steps=_share(0.2, self.steps))
        return errors


@dataclass(frozen=True)
class Strong(Protocol):
    """The default, then the attacks of AutoAttack: the number to publish.

    APGD on cross-entropy and Square, a random search, attack every sample at the level just below what
    was found for it, and downwards until it is robust; targeted APGD does where that is not far.

    Args:
        steps: gradient steps of each attack.
        targets: classes that are aimed for, one after another.
        queries: of the random search, at a level.
    """

    name: ClassVar[str] = "strong"
    version: ClassVar[int] = 5
    steps: int = 100
    targets: int = 9
    queries: int = 500

    @property
    def description(self) -> str:
        return (
            f"{MinimumNorm(self.steps, self.targets).description}; then, at the level just below and "
            f"downwards, {self.steps}-step APGD on cross-entropy from another start, targeted "
            f"APGD-DLR against up to {self.targets} classes, and Square with {self.queries} queries"
        )

    def search(self, task: Task) -> ClosestErrors:
        errors = MinimumNorm(self.steps, self.targets).search(task)
        found_first = errors.margins.clone()

        def targeted(rows: Tensor, eps: Tensor) -> AttackResult:
            return task.run(
                apgd_targeted,
                rows,
                eps=eps,
                norm=task.norm,
                steps=self.steps,
                targets=self.targets,
                index=task.index[rows],
                generator=seeded(task.seed, "targeted"),
            )

        attacked_downwards(task, errors, [targeted], within=_NOT_FAR)
        again = _apgd(task, self.steps, restart=_STARTS)
        attacked_downwards(task, errors, [again, _square(task, self.queries)])
        new = errors.margins < found_first
        brought_nearer(task, errors, new, steps=_share(0.2, self.steps))
        return errors


@dataclass(frozen=True)
class BlackBox(Protocol):
    """Square, a random search, from the highest level downwards: for models without gradients.

    Much weaker than an attack that has gradients: what it leaves robust is an upper bound of the
    robust samples, and far from a tight one.

    Args:
        steps: queries of each sample at each level.
    """

    name: ClassVar[str] = "blackbox"
    version: ClassVar[int] = 3
    steps: int = 1000

    @property
    def description(self) -> str:
        return (
            f"Square, a random search with {self.steps} queries at a level, from the highest downwards; without gradients, "
            "and therefore weak"
        )

    def search(self, task: Task) -> ClosestErrors:
        errors = nothing_found(task)
        attacked_downwards(task, errors, [_square(task, self.steps)])
        return errors


def _apgd(task: Task, steps: int, restart: int) -> Callable[[Tensor, Tensor], AttackResult]:
    def attack(rows: Tensor, eps: Tensor) -> AttackResult:
        start = task.starts(rows, eps, restart)
        return task.run(apgd, rows, eps=eps, norm=task.norm, steps=steps, start=start)

    return attack


def _square(task: Task, queries: int) -> Callable[[Tensor, Tensor], AttackResult]:
    def attack(rows: Tensor, eps: Tensor) -> AttackResult:
        return task.run(
            square,
            rows,
            eps=eps,
            norm=task.norm,
            queries=queries,
            index=task.index[rows],
            generator=seeded(task.seed, "square"),
        )

    return attack


def _share(share: float, steps: int) -> int:
    return math.ceil(round(share * steps, 6))


_PROTOCOLS: dict[str, type[Protocol]] = {
    p.name: p for p in (MinimumNorm, Paper, Screen, Strong, BlackBox)
}


def get_protocol(protocol: Protocol | str, **settings: Any) -> Protocol:
    """Look a protocol up by its name, with these settings where they are not ``None``.

    Raises:
        ValueError: if there is no such protocol, or it has no such setting.
    """
    settings = {name: value for name, value in settings.items() if value is not None}
    if not isinstance(protocol, Protocol) and protocol not in _PROTOCOLS:
        raise ValueError(f"expected protocol to be one of {sorted(_PROTOCOLS)}, got {protocol!r}")
    kind = type(protocol) if isinstance(protocol, Protocol) else _PROTOCOLS[protocol]
    known = [field.name for field in dataclasses.fields(kind)]
    if unknown := sorted(set(settings) - set(known)):
        raise ValueError(
            f"expected settings of the protocol {kind.name!r} among {known}, "
            f"got {', '.join(unknown)}; leave it out, or choose another protocol"
        )
    if isinstance(protocol, Protocol):
        return dataclasses.replace(protocol, **settings)
    return kind(**settings)
