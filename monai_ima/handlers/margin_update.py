"""Algorithm 2 after an epoch."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from monai_ima.data import share_of_samples
from monai_ima.distributed import by_sample, is_first
from monai_ima.objectives import IMA, Objective

_logger = logging.getLogger(__name__)


class MarginUpdateHandler:
    """Update the margin of every training sample every few epochs, and report their spread.

    With an objective that measures no margins, as all but IMA, it does nothing.

    Put it before the handlers that log, validate or save: they see the margins of the epoch. Into
    ``engine.state.metrics`` go ``margin/mean``, ``margin/q05``, ``margin/q95`` (in units of the
    inputs), ``margin/crossed_fraction``, the samples that met the boundary within their margin,
    and ``margin/at_bound_fraction``, those whose margin is as large as it may become. Once it warns
    if most of the correctly classified samples have their boundary nearer than ``delta``, below
    which no margin goes: these cannot follow their boundary.

    Of several processes each updates its share of the samples; at the end all have all margins.

    Args:
        objective: holds the margins and the attack, if it is IMA.
        data_loader: the whole training set, without sampling and without augmentation; batches with
            ``image``, ``label`` and ``index``. Not read where margins come from the training steps.
        interval: update after every so many epochs.
        summary_writer: where the histogram ``margin/histogram`` goes, if given.
        warn: of a boundary nearer than ``delta``.

    Raises:
        ValueError: if the interval is below 1.
    """

    def __init__(
        self,
        objective: Objective,
        data_loader: Iterable[dict[str, Any]],
        interval: int = 1,
        summary_writer: SummaryWriter | None = None,
        *,
        warn: bool = True,
    ) -> None:
        if interval < 1:
            raise ValueError(f"expected an interval of at least 1 epoch, got {interval}")
        self.objective = objective
        self.data_loader = share_of_samples(data_loader)
        self.interval = interval
        self.summary_writer = summary_writer
        self.warns = warn

    def attach(self, engine: Engine) -> None:
        if isinstance(self.objective, IMA):
            engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        objective = self.objective
        assert isinstance(objective, IMA)  # or it is not attached
        margins = objective.margins
        if objective.margin_update == "step":
            distance = objective.learn_margins().cpu()
        else:
            distance = self._pass(engine, objective)
        crossed = (distance > 0) & distance.isfinite()
        values = margins.margins.cpu()
        low, high = np.quantile(values, [0.05, 0.95]).tolist()  # torch's takes 16 million at most
        at_bound = values >= margins.eps_max
        engine.state.metrics |= {
            "margin/mean": values.mean().item(),
            "margin/q05": low,
            "margin/q95": high,
            "margin/crossed_fraction": crossed.float().mean().item(),
            "margin/at_bound_fraction": at_bound.float().mean().item(),
        }
        if self.summary_writer is not None:
            self.summary_writer.add_histogram("margin/histogram", values, engine.state.epoch)
        if self.warns and (said := self._too_near(distance)) and is_first():
            self.warns = False
            _logger.warning("after epoch %d %s", engine.state.epoch, said)

    def _too_near(self, distance: Tensor) -> str:
        assert isinstance(self.objective, IMA)
        margins = self.objective.margins
        return too_near(
            distance,
            delta=margins.delta,
            eps_max=margins.eps_max,
            whose="correctly classified training samples",
        )

    def _pass(self, engine: SupervisedTrainer, objective: IMA) -> Tensor:
        """A pass of Algorithm 2; where samples met the boundary, ``(number of samples,)``."""
        margins = objective.margins.margins
        found: list[tuple[Tensor, Tensor]] = []  # which samples, and where they met the boundary
        for batch in self.data_loader:
            inputs, labels, _, extra = engine.prepare_batch(batch, engine.state.device)
            met = objective.update_margins(engine.network, inputs, labels, **extra)
            found.append((extra["index"].cpu(), met.cpu()))
        index, met = (torch.cat(parts) for parts in zip(*found, strict=True))
        values, distance = margins.cpu(), torch.full((len(margins),), torch.nan)
        index, updated, met = by_sample(index, values[index], met)
        values[index], distance[index] = updated, met.to(distance)
        margins.copy_(values)  # also what other processes have found
        return distance


def too_near(distance: Tensor, *, delta: float, eps_max: float, whose: str) -> str:
    """What is wrong with ``delta``, if the boundary is nearer for most samples; otherwise nothing.

    Args:
        distance: ``(N,)`` of the boundary from samples, 0 of what is misclassified, which does not count.
        delta: smallest margin.
        eps_max: largest margin.
        whose: name of the correctly classified samples, for the message.
    """
    correct = distance[distance > 0]
    near = int((correct < delta).sum())
    if 2 * near <= len(correct):
        return ""
    median = correct.median().item()
    smaller = median / 2
    return (
        f"the decision boundary is nearer than delta = {delta:.3g} for {near} of "
        f"{len(correct)} {whose}, at a median distance of {median:.2g}. "
        "A margin is never below delta: none of these can follow its boundary, and they are trained "
        f"with noise that is beyond it. If that stays so, set --delta {smaller:.2g}, half of that "
        f"distance, or defend against less noise: --eps_max {eps_max * smaller / delta:.2g} "
        "is smaller by as much"
    )
