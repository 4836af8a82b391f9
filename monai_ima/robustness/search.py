"""The search for the closest misclassified point of each sample, to which every attack adds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from monai_ima.attacks import AttackResult, Norm, fmn
from monai_ima.attacks.base import Bounds, Model, attacking
from monai_ima.attacks.bpgd_attack import bisect
from monai_ima.attacks.draws import SampleDraws
from monai_ima.attacks.pgd_attack import clipped
from monai_ima.losses import hard_margin, logit_scale
from monai_ima.robustness.levelwise_pgd import Loss, Order, levelwise_pgd

_BISECTIONS = 10


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

    def run(
        self, attack: Callable[..., AttackResult], rows: Tensor, **settings: Any
    ) -> AttackResult:
        """Attack the samples ``rows``."""
        return attack(
            self.model, self.inputs[rows], self.labels[rows], bounds=self.bounds, **settings
        )

    def starts(self, rows: Tensor, eps: Tensor, restart: int) -> Tensor:
        """A random point in the ball of radius ``eps`` around each of the samples ``rows``."""
        clean = self.inputs[rows]
        draws = SampleDraws(self.seed, self.index[rows], restart)
        return clipped(clean + self.norm.uniform(clean, eps.to(clean), draws), self.bounds)

    def classes(self) -> int:
        """How many classes the model tells apart."""
        with torch.no_grad(), attacking(self.model, self.inputs) as classify:
            return int(classify(self.inputs[:1]).shape[1])

    def level_below(self, margins: Tensor) -> Tensor:
        """The highest level ``(N,)`` below margins ``(N,)``: 0 where that is the clean sample."""
        return self.eps[(torch.searchsorted(self.eps, margins) - 1).clamp(min=0)]


class ClosestErrors(NamedTuple):
    """The closest misclassified point that was found for each sample.

    Attributes:
        inputs: ``(N, *)`` the points; the clean sample where none was found.
        margins: ``(N,)`` float64 distances, in units of the inputs: 0 where the sample itself is
            misclassified, infinite where none was found.
    """

    inputs: Tensor
    margins: Tensor


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


def attacked_downwards(
    task: Task,
    errors: ClosestErrors,
    attacks: Sequence[Callable[[Tensor, Tensor], AttackResult]],
    within: float = torch.inf,
) -> Tensor:
    """Attack each sample just below what is known, again and again until nothing is found any more.

    "Just below" is the highest level at which the sample is robust; lower ones are taken on trust.

    Args:
        task: samples and what may be done to them.
        errors: what is known; nearer ones are put in their place.
        attacks: from samples and their radii to what is found, tried in turn at a level, each on what
            the ones before have left.
        within: attack only where what is known lies within that multiple of the level, or nothing is
            known.

    Returns:
        ``(N,)`` bool, the samples for which an attack found something.
    """
    before = errors.margins.clone()
    undecided = torch.ones_like(task.labels, dtype=torch.bool)
    while True:
        radius = task.level_below(errors.margins)
        near = errors.margins.isinf() | (errors.margins <= within * radius)
        undecided &= near & (radius > 0)
        if not undecided.any():
            return errors.margins < before
        left = undecided.clone()
        for attack in attacks:
            for rows in task.batches(left):
                result = attack(rows, radius[rows])
                won = rows[result.success]
                keep_closer(task, errors, won, result.inputs[result.success], within=radius[won])
                left[won] = False
        undecided &= ~left


def attacked_by_pgd(
    task: Task,
    errors: ClosestErrors,
    chosen: Tensor,
    *,
    order: Order,
    steps: int,
    restarts: int,
    losses: Sequence[Loss],
) -> Tensor:
    """Run PGD on the samples ``(N,)`` bool, and keep what is nearer; for which there was something.

    Arguments as in :func:`~monai_ima.robustness.levelwise_pgd.levelwise_pgd`.
    """
    rows = chosen.nonzero()[:, 0]
    known = torch.searchsorted(task.eps, errors.margins[rows])
    broken_at, points = levelwise_pgd(
        task.model,
        task.inputs[rows],
        task.labels[rows],
        eps=task.eps,
        broken_at=known,
        norm=task.norm,
        order=order,
        steps=steps,
        restarts=restarts,
        losses=losses,
        priority=_certainty(task)[rows],
        bounds=task.bounds,
        index=task.index[rows],
        seed=task.seed,
        batch_size=task.batch_size,
    )
    new = broken_at < known
    keep_closer(task, errors, rows[new], points[new], within=task.eps[broken_at[new]])
    return torch.zeros_like(chosen).index_fill(0, rows[new], True)


@torch.no_grad()
def _certainty(task: Task) -> Tensor:
    """How far ahead of the others the label's logit is at each sample, ``(N,)``, whatever their scale."""
    with attacking(task.model, task.inputs) as classify:
        logits = torch.cat([classify(part) for part in task.inputs.split(task.batch_size)])
    return -logit_scale(logits) * hard_margin(logits, task.labels)


def brought_nearer(task: Task, errors: ClosestErrors, chosen: Tensor, steps: int) -> None:
    """Go from the errors of the samples ``(N,)`` bool along the boundary towards the clean ones.

    An attack within a ball stops at its first error, most often on the surface: there may be one at
    a lower level, and the margin is smaller. The way is ``steps`` steps of FMN.
    """
    for rows in task.batches(chosen):
        nearer = task.run(fmn, rows, norm=task.norm, steps=steps, start=errors.inputs[rows])
        keep_closer(task, errors, rows[nearer.success], nearer.inputs[nearer.success])


def along_the_ray(task: Task, errors: ClosestErrors) -> ClosestErrors:
    """Bisect from each clean sample straight to its misclassified point, and keep the nearest one."""
    with attacking(task.model, task.inputs) as classify:
        for rows in task.batches(errors.margins.isfinite()):
            nearer = bisect(
                classify,
                task.inputs[rows],
                errors.inputs[rows],
                task.labels[rows],
                bisections=_BISECTIONS,
                side="outside",
            )
            keep_closer(task, errors, rows, nearer)
    return errors
