"""What a run leaves behind, and how it goes on from there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from torch import nn

from monai_ima.distributed import by_first, from_all, is_first, this_launch
from monai_ima.handlers.files import write_whole
from monai_ima.handlers.handler_states import states_of_handlers
from monai_ima.handlers.run_record import RECORD, RunDescription, differences
from monai_ima.handlers.state_file import (
    UnreadableStateError,
    is_readable,
    read_state,
    write_state,
)
from monai_ima.handlers.weights_keeper import kept_weights
from monai_ima.networks.sealed_file import save_sealed

_logger = logging.getLogger(__name__)


class RunCheckpoint:
    """Keep ``model.pt``, ``model_best.pt`` and ``checkpoint.pt`` after each epoch, and resume.

    Unlike MONAI's ``CheckpointSaver`` it replaces each file in one step, so that a run killed while
    it writes has lost nothing, and it restores the epoch and the best metric. Random generators
    need no restoring under :class:`~monai_ima.handlers.EpochSeedHandler`. It saves when all other
    handlers of the epoch have run. What has a state among these, as the schedule of a learning rate
    does, is kept and restored. Of several processes the first one writes, and all read.

    Args:
        output_dir: folder of the three files.
        network: its ``state_dict`` alone is ``model.pt`` (last epoch) and ``model_best.pt``.
        state: further objects with ``state_dict`` and ``load_state_dict`` that a resume needs.
        identity: plain values and trees of these, by name, that must be the same when a run is
            resumed, such as the fingerprint of the training data.
        evaluator: its metric ``key_metric``, after an epoch in which it ran, chooses the best model.
        key_metric: name in ``evaluator.state.metrics``; larger is better.
        resume: go on from ``checkpoint.pt``.
        description: what the run is; written when it starts, and what is resumed was accepted. The
            weights say that they are of this run.

    Raises:
        FileExistsError: on starting anew, if the folder has the files of an earlier run.
        FileNotFoundError: on starting, if there is nothing to resume from.
        TypeError: on starting, if a handler has a state that no checkpoint can hold.
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
        description: RunDescription | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.objects = {"network": network, **state}
        self.identity = dict(identity)
        self.evaluator = evaluator
        self.key_metric = key_metric
        self.resume = resume
        self.description = description
        self.has_begun = False
        self.best: dict[str, float | int] | None = None
        self.handlers: dict[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.started)

    def check_handlers(self, engine: SupervisedTrainer) -> None:
        """Find what the handlers remember, which needs the folder for nothing.

        Raises:
            TypeError: if a handler has a state that no checkpoint can hold.
        """
        self.handlers = states_of_handlers((engine, self.evaluator), self.objects.values())

    def started(self, engine: SupervisedTrainer) -> None:
        """Resume, and from here on save after every other handler."""
        self.check_handlers(engine)
        if self.resume:
            self.load(engine)
            _check_together(engine.state.epoch, self.output_dir)
        elif not self.has_begun:
            by_first(self._check_no_other_run)
        self.has_begun = True
        if self.description is not None and is_first():
            self.description.write(self.output_dir)
        if not engine.has_event_handler(self.save):
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
        if not is_first():
            return
        checkpoint: dict[str, Any] = {
            "epoch": epoch,
            "best": self.best,
            "identity": self.identity,
            "objects": {name: part.state_dict() for name, part in self.objects.items()},
            "handlers": {name: part.state_dict() for name, part in self.handlers.items()},
        }
        if (launch := this_launch()) is not None:
            checkpoint["launch"] = launch
        if engine.scaler is not None:
            checkpoint["scaler"] = engine.scaler.state_dict()
        write_state(self.output_dir / "checkpoint.pt", checkpoint)

    def load(self, engine: SupervisedTrainer) -> None:
        """Bring the run to where its checkpoint left it."""
        path = self.output_dir / "checkpoint.pt"
        checkpoint = read_run_checkpoint(self.output_dir)
        self._check_identity(path, checkpoint["identity"])
        kept = checkpoint.get("handlers", {})
        if kept.keys() != self.handlers.keys():
            raise ValueError(
                f"expected the handlers with a state that {path} has, {', '.join(kept) or 'none'}, "
                f"got {', '.join(self.handlers) or 'none'}; resume with the handlers of that run, or "
                "start a new run in another output_dir"
            )
        try:
            for name, part in self.objects.items():
                part.load_state_dict(checkpoint["objects"][name])
            for name, part in self.handlers.items():
                part.load_state_dict(kept[name])
            if engine.scaler is not None and "scaler" in checkpoint:
                engine.scaler.load_state_dict(checkpoint["scaler"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            said = " ".join(str(error).split())
            raise ValueError(_cannot_resume(path, f"one with another state: {said}")) from error
        self.best = checkpoint["best"]
        engine.state.epoch = checkpoint["epoch"]
        engine.state.iteration = checkpoint["epoch"] * engine.state.epoch_length
        _logger.info("resumed after epoch %d from %s", engine.state.epoch, path)

    def _check_no_other_run(self) -> None:
        """Reject a folder with files that this run would replace."""
        names = ("checkpoint.pt", "model.pt", "model_best.pt", RECORD)
        if found := [name for name in names if (self.output_dir / name).exists()]:
            raise FileExistsError(
                f"expected no earlier run in {self.output_dir} when a new one starts, got "
                f"{', '.join(found)}; evaluate initialize of the config before its trainer runs, or "
                "call monai_ima.bundle.prepare_output_dir: these files are then moved to previous-1, "
                "-2, ...; or choose another output_dir, or resume"
            )

    def _check_identity(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Reject a checkpoint that belongs to another run, naming what differs."""
        unknown = [name for name in self.identity if name not in identity]
        if unknown:
            _logger.warning(
                "%s is of an older monai_ima and does not say with which %s it was made: see to it "
                "that they are the same",
                path,
                ", ".join(unknown),
            )
        known = {name: value for name, value in self.identity.items() if name in identity}
        different = list(differences(identity, known))
        if different:
            (name, old, new), *others = different
            raise ValueError(
                f"expected the same {name} as in {path}, {old!r}, got {new!r}"
                + "".join(f", and {name}, {old!r}, got {new!r}" for name, old, new in others[:4])
                + "; resume with the settings and data of that run, "
                "or start a new run in another output_dir"
            )

    def _write(self, name: str, content: object) -> None:
        if is_first():
            run = None if self.description is None else self.description.record.run
            write_whole(self.output_dir / name, lambda path: save_sealed(content, path, run))


def read_run_checkpoint(run_dir: Path) -> dict[str, Any]:
    """What :class:`RunCheckpoint` has kept in ``checkpoint.pt`` of a run, on the CPU.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, of another kind or version, or holds what no run would write;
            naming the last weights of the run that are intact.
    """
    path = run_dir / "checkpoint.pt"
    if not path.exists():
        raise FileNotFoundError(
            f"expected {path} to resume from, found none; "
            "set output_dir to the folder of the run, or leave resume out to start anew"
        )
    try:
        checkpoint = read_state(path, ("epoch", "best", "identity", "objects"))
    except UnreadableStateError as error:
        raise ValueError(_cannot_resume(path, str(error))) from error
    if not _is_plausible(**checkpoint):
        epoch, best = checkpoint["epoch"], checkpoint["best"]
        raise ValueError(
            _cannot_resume(path, f"one that no run writes, of epoch {epoch!r} and best {best!r}")
        )
    return checkpoint


def _check_together(epoch: int, output_dir: Path) -> None:
    """See that all processes go on from the same checkpoint."""
    epochs = from_all(epoch)
    if len(set(epochs)) > 1:
        raise ValueError(
            f"expected every process to go on after the same epoch of {output_dir}, got "
            f"{', '.join(map(str, epochs))}; put output_dir on a file system that all machines share"
        )


def _is_plausible(
    *, epoch: object, best: object, identity: object, objects: object, **_: Any
) -> bool:
    if type(epoch) is not int or epoch < 1:
        return False
    if not isinstance(identity, dict) or not isinstance(objects, dict):
        return False
    match best:
        case None:
            return True
        case {"value": float(), "epoch": int(of)}:
            return 1 <= of <= epoch
    return False


def _cannot_resume(path: Path, got: str) -> str:
    """What is wrong with a checkpoint, and what to do."""
    run_dir = path.parent
    weights = [run_dir / "model.pt", run_dir / "model_best.pt"]
    weights += reversed(kept_weights(run_dir).values())
    good = next(filter(is_readable, weights), None)
    return (
        f"expected {path} to be the checkpoint of this run, got {got}; put a good copy in its place, "
        "or leave --resume out: the run starts anew, and these files are kept in previous-1, -2, ..."
        + (f" The weights in {good} are intact and can be evaluated" if good else "")
    )
