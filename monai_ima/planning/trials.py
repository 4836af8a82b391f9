"""Trainings with several radii, among which validation samples choose."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ignite.engine import Engine, Events
from torch import Tensor

from monai_ima.handlers import EpochSeedHandler, MarginUpdateHandler
from monai_ima.planning.pilot import samples_of, train
from monai_ima.planning.proposal import Proposal
from monai_ima.planning.training_parts import TrainingParts
from monai_ima.robustness import RobustnessCurve, closest_errors, get_protocol
from monai_ima.robustness.statistics import as_many_of_even_classes

MULTIPLES = (1.0, 2.0, 4.0)
"""Of the ``eps_max`` of a proposal; docs/results/plan.md has the measurements."""


@dataclass(frozen=True)
class Trial:
    """A training with one radius.

    Attributes:
        eps_max: largest margin.
        delta: by how much a margin grows at an update.
        epoch: the best one by validation samples, from half of the training on.
        area: of that epoch, the mean of the accuracies of validation samples without noise and, under the
            attack of the training, at ``level``; balanced, unless ``best_by`` says otherwise.
        error: its standard error, at most.
        level: the noise level in the middle of the proposal's.
        samples: how many validation samples that were.
        margin: mean margin of the training samples in the end.
    """

    eps_max: float
    delta: float
    epoch: int
    area: float
    error: float
    level: float
    samples: int
    margin: float


def of_size(proposal: Proposal, eps_max: float, margin_interval: int) -> dict[str, float]:
    """The settings of a training with another ``eps_max``, in the epochs of the proposal."""
    share = min(1.0, margin_interval / proposal.max_epochs)
    return {"eps_max": eps_max, "delta": eps_max * share}


def try_radii(
    parts: TrainingParts,
    proposal: Proposal,
    *,
    samples: int,
    largest: float = math.inf,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> list[Trial]:
    """Train with once, twice and four times the ``eps_max`` of a proposal; all else is the same.

    Args:
        parts: of the training.
        proposal: of which the epochs and the noise levels stay.
        samples: of the validation set by which epochs and radii are compared, at most.
        largest: that an ``eps_max`` is to be.
        seed: of the weights, the order of the samples and the choice of those that are looked at.
        say: is told what happens next.
    """
    trials = []
    radii = (min(multiple * proposal.eps_max, largest) for multiple in MULTIPLES)
    for eps_max in dict.fromkeys(float(f"{radius:.3g}") for radius in radii):
        say(f"training with eps_max {eps_max:g}: {proposal.max_epochs} epochs")
        radius = of_size(proposal, eps_max, parts["margin_interval"])
        parts.begin_anew(seed, **radius)
        inputs, labels = samples_of(parts, "validate", samples, seed)
        trials.append(trial(parts, proposal, inputs, labels, seed=seed, **radius))
    return trials


def trial(
    parts: TrainingParts,
    proposal: Proposal,
    inputs: Tensor,
    labels: Tensor,
    *,
    seed: int,
    eps_max: float,
    delta: float,
) -> Trial:
    """Train with one radius, and leave the network of the parts with the weights of its best epoch.

    Args:
        parts: begun anew with that ``eps_max`` and ``delta``.
        proposal: which has the epochs and the noise levels.
        inputs: ``(N, C, *)`` validation samples.
        labels: ``(N,)`` class indices.
        seed: of the order of the samples.
        eps_max: largest margin.
        delta: by how much a margin grows at an update.
    """
    objective, interval = parts["objective"], parts["margin_interval"]
    # that no margin can grow is not to be feared of a training whose network is looked at
    update = MarginUpdateHandler(
        objective, parts["margin_update::data_loader"], interval, warn=False
    )
    level = proposal.noise_levels[len(proposal.noise_levels) // 2]
    best = BestEpoch(parts, inputs, labels, level=level, first=proposal.max_epochs // 2)
    train(parts, objective, proposal.max_epochs, [EpochSeedHandler(seed), update, best])
    parts["network"].load_state_dict(best.weights)
    counting = float(len(labels))
    if parts["best_by"] == "balanced_accuracy":
        counting = as_many_of_even_classes(labels.bincount())
    error = standard_error(best.area, counting)
    margin = float(objective.margins.margins.mean())
    return Trial(eps_max, delta, best.epoch, best.area, error, level, len(labels), margin)


def settled(proposal: Proposal, trials: Sequence[Trial], margins: Tensor) -> Proposal:
    """The proposal with the radius that validation samples choose.

    Args:
        proposal: of which the epochs and the noise levels stay.
        trials: one or more.
        margins: ``(N,)`` of the plain network, 0 where it is wrong.
    """
    error = max(trials, key=lambda each: each.area).error
    radius = largest_not_worse({each.eps_max: each.area for each in trials}, error)
    (taken,) = (each for each in trials if each.eps_max == radius)
    nearer = float((margins[margins > 0] < taken.delta).double().mean())
    return replace(proposal, eps_max=taken.eps_max, delta=taken.delta, nearer=nearer)


def largest_not_worse(areas: Mapping[float, float], error: float) -> float:
    """The largest radius whose area is within one standard error of the best.

    The one-standard-error rule of Breiman et al. (Classification and Regression Trees, 1984, section
    3.4.3): few samples cannot tell such radii apart. The largest, since margins below a cap that is too
    high stop at their boundary, but none passes a cap that is too low.

    Args:
        areas: mean accuracies between 0 and 1, by radius.
        error: standard error of the best.

    Example:
        >>> largest_not_worse({1.0: 0.70, 2.0: 0.66, 4.0: 0.60}, error=0.046)
        2.0
    """
    least = max(areas.values()) - error
    return max(radius for radius, area in areas.items() if area >= least)


def standard_error(share: float, samples: float) -> float:
    """Of a share of samples, and at least that of a mean of values from 0 to 1."""
    return math.sqrt(share * (1 - share) / samples)


def in_words(trials: Sequence[Trial]) -> str:
    """How the radius was chosen."""
    areas = ", ".join(f"{each.eps_max:g}: {each.area:.3f}" for each in trials)
    error = max(trials, key=lambda each: each.area).error
    return (
        f"the largest of {len(trials)} within one standard error ({error:.2g}) of the best, by trainings "
        f"and {trials[0].samples} validation samples ({areas}; mean of the accuracies without noise and at "
        f"{trials[0].level:g})"
    )


class BestEpoch:
    """Keeps the weights of the epoch that is best on validation samples, as the bundles do.

    Every second epoch from ``first`` on is looked at, which saves three quarters of the time, and the last.

    Args:
        parts: of the training.
        inputs: ``(N, C, *)`` validation samples.
        labels: ``(N,)`` class indices.
        level: of noise, beside none.
        first: epoch.
    """

    def __init__(
        self, parts: TrainingParts, inputs: Tensor, labels: Tensor, *, level: float, first: int
    ) -> None:
        self.parts, self.inputs, self.labels = parts, inputs, labels
        self.level, self.first = level, first
        self.epoch, self.area = 0, -1.0
        self.weights: dict[str, Any] = {}

    def attach(self, trainer: Engine) -> None:
        """Look at the end of each epoch."""
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, trainer: Engine) -> None:
        """Keep the weights if they are the best so far."""
        epoch = trainer.state.epoch
        is_looked_at = epoch >= self.first and epoch % 2 == 0
        if not is_looked_at and epoch != trainer.state.max_epochs:
            return
        parts, levels = self.parts, [0.0, self.level]
        margins = closest_errors(
            parts["network"],
            self.inputs,
            self.labels,
            eps=levels,
            norm=parts["norm"],
            protocol=get_protocol("paper", steps=parts["attack_steps"], restarts=1),
            bounds=tuple(parts["bounds"]),
            batch_size=parts["evaluation_batch_size"],
        ).margins
        curve = RobustnessCurve.from_margins(margins, self.labels, eps=levels, norm=parts["norm"])
        area = curve.auc() if parts["best_by"] == "accuracy" else curve.balanced_auc()
        if area > self.area:
            weights = copy.deepcopy(parts["network"].state_dict())
            self.epoch, self.area, self.weights = epoch, area, weights
