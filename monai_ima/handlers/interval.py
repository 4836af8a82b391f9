"""Every few epochs, and always after the last one."""

from __future__ import annotations

from ignite.engine import Engine, Events
from ignite.engine.events import CallableEventWithFilter
from monai.engines import Evaluator
from monai.handlers import ValidationHandler


def epochs_and_last(interval: int) -> CallableEventWithFilter:
    """The completion of every so many epochs, ``0`` for none, and of the last one."""

    def is_due(engine: Engine, epoch: int) -> bool:
        return epoch == engine.state.max_epochs or (interval > 0 and epoch % interval == 0)

    return Events.EPOCH_COMPLETED(event_filter=is_due)


class ValidateAtEnd(ValidationHandler):
    """MONAI's ``ValidationHandler`` that also runs after the last epoch, whatever the interval.

    Args:
        validator: evaluator to run.
        interval: run it every so many epochs; ``0`` for the last epoch only.

    Raises:
        ValueError: if the interval is negative.
    """

    def __init__(self, validator: Evaluator, interval: int = 0) -> None:
        if interval < 0:
            raise ValueError(f"expected an interval of 0 or more epochs, got {interval}")
        super().__init__(interval, validator)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(epochs_and_last(self.interval), self)
