"""One seed an epoch, so that a resumed run draws what an uninterrupted one would have drawn."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.utils import set_determinism


class EpochSeedHandler:
    """Seed every random generator with ``seed + epoch`` as an epoch starts.

    The order of the samples and every other draw of an epoch then depend on the seed and the epoch
    only, not on what ran before: there is no generator state for a checkpoint to keep.

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        set_determinism(seed=self.seed + engine.state.epoch)
