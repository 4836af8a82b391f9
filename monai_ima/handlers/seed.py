"""One seed an epoch, so that a resumed run draws what an uninterrupted one would have drawn."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.data.utils import set_rnd
from monai.engines import SupervisedTrainer
from monai.utils import set_determinism

from monai_ima.data.shares import transforms_seed
from monai_ima.distributed import rank

_LONGEST_RUN = 100_003  # in epochs: no two seeds share the draws of an epoch


class EpochSeedHandler:
    """Seed the random generators, and those of the training transforms, as an epoch starts.

    The order of the samples and every other draw of an epoch then depend on the seed and the epoch
    only, not on what ran before: there is no generator state for a checkpoint to keep. Several
    processes have the same seed, but for the transforms, each of which sees other samples.

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        seed = self.seed * _LONGEST_RUN + engine.state.epoch
        set_determinism(seed)
        set_rnd(getattr(engine.data_loader, "dataset", None), transforms_seed(seed, rank()))
