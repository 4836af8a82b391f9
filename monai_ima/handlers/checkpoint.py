"""What a run leaves behind, and how it goes on from there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from torch import nn

from monai_ima.handlers.files import write_whole

_logger = logging.getLogger(__name__)


class RunCheckpoint:
    """Keep ``model.pt``, ``model_best.pt`` and ``checkpoint.pt`` after each epoch, and resume.

    Unlike MONAI's ``CheckpointSaver`` it replaces each file in one step, so that a run killed while
    it writes has lost nothing, and it restores the epoch and the best metric. Random generators
    need no restoring under :class:`~monai_ima.handlers.EpochSeedHandler`. Put it last in the list
    of handlers: what comes after it belongs to an epoch that a resume does not repeat.

    Args:
        output_dir: folder of the three files.
        network: its ``state_dict`` alone is ``model.pt`` (last epoch) and ``model_best.pt``.
        state: further objects with ``state_dict`` and ``load_state_dict`` that a resume needs.
        identity: plain values, by name, that must be the same when a run is resumed, such as the
            fingerprint of the training data.
        evaluator: its metric ``key_metric``, after an epoch in which it ran, chooses the best model.
        key_metric: name in ``evaluator.state.metrics``; larger is better.
        resume: go on from ``checkpoint.pt``.

    Raises:
        FileNotFoundError: on starting, if there is nothing to resume from.
        ValueError: on starting, if the checkpoint belongs to another run.
    """

    def __init__(
        self,
        output_dir: str | Path,
        *,
        network: nn.Module,
        state: Mapping[str, Any],
        identity: Mapping[str, Any],
        evaluator: Engine,
        key_metric: str,
        resume: bool = False,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.objects = {"network": network, **state}
        self.identity = dict(identity)
        self.evaluator = evaluator
        self.key_metric = key_metric
        self.resume = resume
        self.best: dict[str, float | int] | None = None

    def attach(self, engine: Engine) -> None:
        if self.resume:
            engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def save(self, engine: SupervisedTrainer) -> None:
        """Write the files of the epoch that is complete."""
        epoch = engine.state.epoch
        weights = self.objects["network"].state_dict()
        if self.evaluator.state.epoch == epoch:
            value = float(self.evaluator.state.metrics[self.key_metric])
            if self.best is None or value > self.best["value"]:
                self.best = {"value": value, "epoch": epoch}
                self._write("model_best.pt", weights)
        self._write("model.pt", weights)
        checkpoint: dict[str, Any] = {
            "epoch": epoch,
            "best": self.best,
            "identity": self.identity,
            "objects": {name: part.state_dict() for name, part in self.objects.items()},
        }
        if engine.scaler is not None:
            checkpoint["scaler"] = engine.scaler.state_dict()
        self._write("checkpoint.pt", checkpoint)

    def load(self, engine: SupervisedTrainer) -> None:
        """Bring the run to where its checkpoint left it."""
        path = self.output_dir / "checkpoint.pt"
        if not path.exists():
            raise FileNotFoundError(
                f"expected {path} to resume from, found none; "
                "set output_dir to the folder of the run, or leave resume out to start anew"
            )
        checkpoint = torch.load(path, map_location=engine.state.device, weights_only=True)
        for name, value in self.identity.items():
            if checkpoint["identity"].get(name) != value:
                raise ValueError(
                    f"expected the same {name} as in {path}, {checkpoint['identity'].get(name)!r}, "
                    f"got {value!r}; resume with the settings and data of that run, "
                    "or start a new run in another output_dir"
                )
        for name, part in self.objects.items():
            part.load_state_dict(checkpoint["objects"][name])
        if engine.scaler is not None and "scaler" in checkpoint:
            engine.scaler.load_state_dict(checkpoint["scaler"])
        self.best = checkpoint["best"]
        engine.state.epoch = checkpoint["epoch"]
        engine.state.iteration = checkpoint["epoch"] * engine.state.epoch_length
        _logger.info("resumed after epoch %d from %s", engine.state.epoch, path)

    def _write(self, name: str, content: object) -> None:
        write_whole(self.output_dir / name, lambda path: torch.save(content, path))
