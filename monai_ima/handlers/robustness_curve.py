"""The robustness curve as a handler of any MONAI evaluator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_ima.attacks import Norm, get_norm
from monai_ima.attacks.base import checked_labels
from monai_ima.distributed import by_sample, processes
from monai_ima.robustness import (
    Protocol,
    RobustnessCurve,
    closest_errors,
    get_protocol,
    noise_levels,
)

_MOST_CLASSES = 100  # of which each has its metrics


class RobustnessCurveHandler:
    """Attack every sample that a ``SupervisedEvaluator`` sees, at every noise level.

    Into ``engine.state.metrics`` go ``<tag>/eps_<eps>`` for each level, ``<tag>/auc`` and
    ``<tag>/balanced_auc``, in which each class counts alike, and with the names of at most 100 classes
    ``<class_tag>/<class>/eps_<eps>``, the accuracy in each class that there is. Put it before the
    handlers that log, which then report them like any other metric. Each evaluation
    draws the same random starts, so that two models or epochs meet the same attack. Of several
    processes each attacks the samples that its data loader gives it
    (:func:`~monai_ima.data.share_of_samples`), and all have the curve of all samples.

    Args:
        eps: noise levels, increasing, in units of the inputs; level 0 is added.
        norm: ``"linf"``, ``"l2"`` or a :class:`~monai_ima.attacks.Norm`.
        protocol: ``"minimum_norm"``, ``"strong"``, ``"paper"``, ``"screen"`` or ``"blackbox"``, or one
            with settings.
        steps: steps of the protocol's attacks, by default its own.
        restarts: random starts of ``"paper"``, by default two.
        bounds: range of valid inputs; ``None`` for inputs without a range.
        seed: seed of all that is random.
        tag: first part of the metrics' names.
        class_names: names of the classes, if the metrics are to have the sensitivity of each.
        class_tag: first part of these metrics' names.

    Raises:
        ValueError: if the levels are not increasing, or norm, protocol or a setting of it do not
            exist.
    """

    def __init__(
        self,
        eps: Sequence[float],
        norm: Norm | str,
        *,
        protocol: Protocol | str = "minimum_norm",
        steps: int | None = None,
        restarts: int | None = None,
        bounds: tuple[float, float] | None = (0.0, 1.0),
        seed: int = 0,
        tag: str = "robust_accuracy",
        class_names: Sequence[str] = (),
        class_tag: str = "sensitivity",
    ) -> None:
        self.eps = noise_levels(eps)
        self.norm = get_norm(norm)
        self.protocol = get_protocol(protocol, steps=steps, restarts=restarts)
        self.bounds = bounds
        self.seed = seed
        self.tag = tag
        self.class_names = tuple(class_names)
        self.class_tag = class_tag
        self.curve: RobustnessCurve | None = None
        self._found: list[tuple[Tensor, Tensor, Tensor]] = []  # places, margins, labels

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self.started)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.attack)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.completed)

    def started(self, engine: SupervisedEvaluator) -> None:  # noqa: ARG002  Ignite hands the engine over
        self._found = []

    def attack(self, engine: SupervisedEvaluator) -> None:
        """Attack the batch at hand."""
        labels = checked_labels(engine.state.output[Keys.LABEL])
        places = places_of(engine, seen=sum(len(labels) for *_, labels in self._found))
        errors = closest_errors(
            engine.network,
            engine.state.output[Keys.IMAGE],
            labels,
            eps=self.eps,
            norm=self.norm,
            protocol=self.protocol,
            bounds=self.bounds,
            index=places,
            seed=self.seed,
        )
        self._found.append((places, errors.margins.cpu(), labels.cpu()))

    def completed(self, engine: SupervisedEvaluator) -> None:
        """Make the curve of all batches, and hand its values to the engine."""
        found = (torch.cat(parts) for parts in zip(*self._found, strict=True))
        _, margins, labels = by_sample(*found)
        self.curve = RobustnessCurve.from_margins(margins, labels, eps=self.eps, norm=self.norm)
        metrics, levels = engine.state.metrics, self.eps.tolist()
        for eps, accuracy in zip(levels, self.curve.accuracy.tolist(), strict=True):
            metrics[f"{self.tag}/eps_{eps:g}"] = accuracy
        metrics[f"{self.tag}/auc"] = self.curve.auc()
        metrics[f"{self.tag}/balanced_auc"] = self.curve.balanced_auc()
        if len(self.class_names) <= _MOST_CLASSES:
            # no row for the last classes if they have no sample
            for name, row in zip(self.class_names, self.curve.per_class.tolist(), strict=False):
                for eps, accuracy in zip(levels, row, strict=True):
                    if not math.isnan(accuracy):
                        metrics[f"{self.class_tag}/{name}/eps_{eps:g}"] = accuracy


def places_of(engine: SupervisedEvaluator, *, seen: int) -> Tensor:
    """The places in the data set of the samples in a batch, after those that were seen already."""
    labels = checked_labels(engine.state.output[Keys.LABEL])
    if processes() == 1:
        return torch.arange(seen, seen + len(labels))
    batch = engine.state.batch
    if not isinstance(batch, Mapping) or "index" not in batch:
        raise ValueError(
            "expected batches with image, label and index in each of several processes, where the "
            "index tells which samples of the data set are in a batch; add the index to each sample"
        )
    return torch.as_tensor(batch["index"]).cpu()
