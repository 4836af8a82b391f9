"""A progress bar over the whole run, and a line for each epoch."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from monai_ima.distributed import is_first

_logger = logging.getLogger(__name__)


class ProgressHandler:
    """One bar from the first epoch to the last with the time left, and the metrics of each epoch.

    Put it after the handlers that compute metrics. Log lines are printed above the bar meanwhile,
    and not across it.

    Args:
        metrics: names to show, of the engine's metrics and of the evaluator's.
        evaluator: validates the network, within the epochs of the engine.
    """

    def __init__(self, metrics: Sequence[str], evaluator: Engine) -> None:
        self.metrics = metrics
        self.evaluator = evaluator
        self.bar: tqdm[None] | None = None
        self._redirection = ExitStack()
        self._next_loss = 0.0

    def attach(self, engine: Engine) -> None:
        if not is_first():
            return
        engine.add_event_handler(Events.EPOCH_STARTED, self.epoch_started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)
        engine.add_event_handler(Events.COMPLETED, self.completed)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.failed)

    def epoch_started(self, engine: SupervisedTrainer) -> None:
        if self.bar is not None:
            return
        self._redirection.enter_context(logging_redirect_tqdm())
        epochs, epoch_length = engine.state.max_epochs, engine.state.epoch_length
        self.bar = tqdm(
            total=epochs * epoch_length,
            initial=(engine.state.epoch - 1) * epoch_length,  # a resumed run starts further on
            desc="training",
            dynamic_ncols=True,
        )

    def iteration_completed(self, engine: SupervisedTrainer) -> None:
        if self.bar is not None:
            epoch, output = engine.state.epoch, engine.state.output
            batch = output if isinstance(output, dict) else output[0]  # the first of its samples
            self.bar.set_description(f"epoch {epoch}/{engine.state.max_epochs}", refresh=False)
            if time.monotonic() >= self._next_loss:  # to read it, the host waits for the device
                self._next_loss = time.monotonic() + self.bar.mininterval
                loss = torch.as_tensor(batch["loss"]).item()
                self.bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            self.bar.update()

    def epoch_completed(self, engine: SupervisedTrainer) -> None:
        found = dict(engine.state.metrics)
        if self.evaluator.state.epoch == engine.state.epoch:
            found |= self.evaluator.state.metrics
        shown = "  ".join(f"{name} {found[name]:.3f}" for name in self.metrics if name in found)
        _logger.info("epoch %d/%d  %s", engine.state.epoch, engine.state.max_epochs, shown)

    def completed(self, engine: Engine) -> None:  # noqa: ARG002  Ignite hands the engine over
        if self.bar is not None:
            self.bar.close()
        self._redirection.close()

    def failed(self, engine: Engine, error: BaseException) -> None:
        """Leave the console to the error."""
        self.completed(engine)
        raise error
