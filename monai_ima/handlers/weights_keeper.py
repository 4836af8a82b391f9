"""The weights of epochs along the way, each a model with its own balance of accuracy and robustness."""

from __future__ import annotations

from pathlib import Path

from ignite.engine import Engine
from torch import nn

from monai_ima.counts import checked_count
from monai_ima.distributed import is_first
from monai_ima.handlers.files import write_whole
from monai_ima.handlers.interval import epochs_and_last
from monai_ima.handlers.run_record import RunDescription
from monai_ima.networks.sealed_file import save_sealed

KEPT = "kept_weights"


class WeightsKeeper:
    """Keep the network's weights every few epochs, and after the last, in ``kept_weights``.

    MONAI's ``CheckpointSaver`` would leave half a file of a run that is killed while it writes, and
    leave the last epoch out where the interval does. Each file is a ``state_dict`` of plain tensors.

    Args:
        network: whose weights.
        output_dir: folder of the run.
        interval: keep those of every so many epochs; ``0`` for none at all.
        description: what the run is; the weights say that they are of it.

    Raises:
        ValueError: if the interval is not a whole number, or negative.
    """

    def __init__(
        self,
        network: nn.Module,
        output_dir: str | Path,
        interval: int,
        description: RunDescription | None = None,
    ) -> None:
        self.network = network
        self.folder = Path(output_dir) / KEPT
        self.interval = checked_count("interval", interval, at_least=0)
        self.run = None if description is None else description.record.run

    def attach(self, engine: Engine) -> None:
        if self.interval and is_first():
            engine.add_event_handler(epochs_and_last(self.interval), self)

    def __call__(self, engine: Engine) -> None:
        """Write the weights as they are."""
        write_whole(
            self.folder / f"epoch_{engine.state.epoch:04}.pt",
            lambda path: save_sealed(self.network.state_dict(), path, self.run),
        )


def kept_weights(run_dir: Path) -> dict[int, Path]:
    """The files that :class:`WeightsKeeper` left in a run, by epoch in order."""
    files = sorted((run_dir / KEPT).glob("epoch_*.pt"))
    return {int(path.stem.removeprefix("epoch_")): path for path in files}
