"""The folder of a run: claimed, cleared of an earlier run, or gone on with."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from monai.engines import SupervisedTrainer

from monai_ima.bundle.config_values import flag
from monai_ima.distributed import by_first, this_launch
from monai_ima.handlers.checkpoint import RunCheckpoint, read_run_checkpoint
from monai_ima.handlers.files import put_back, remove_unfinished, set_aside
from monai_ima.handlers.folder_lock import make_and_lock
from monai_ima.handlers.run_record import CONFIG, OF_THE_BUNDLE, RECORD
from monai_ima.handlers.weights_keeper import KEPT

_RUN_FILES = (
    "bundle",
    "checkpoint.pt",
    CONFIG,
    *OF_THE_BUNDLE,
    RECORD,
    "model.pt",
    "margins.gif",
    "model_best.pt",
    "model_selected.pt",
    KEPT,
    "plane",
    "robustness.csv",
    "robustness.xlsx",
    "robustness.json",
    "robustness.png",
    "selection",
    "selection.json",
    "selection.png",
    "events.out.tfevents.*",
)


def claim_folder(folder: str | Path, setting: str = "output_dir") -> None:
    """Make a folder, and keep other commands out of it until this one ends.

    To be called by an expression in the config's ``initialize``: before hours are spent, and before
    anything is read or written there.

    Args:
        folder: of a run or an evaluation. An evaluation in a folder below a training's is another.
        setting: that names it.

    Raises:
        FolderInUseError: if another command is in it, naming its host and process.
        OSError: if it cannot be written to.
    """
    by_first(partial(make_and_lock, folder, f"--{setting}"))


def open_folder(output_dir: str | Path) -> Path:
    """Make the folder of a run, or tidy up in it.

    What an earlier run that was killed had not finished is removed, and what it had half moved is
    moved back. Everything else there stays as it is.

    Args:
        output_dir: folder of the run.

    Returns:
        The folder.
    """
    folder = Path(output_dir)

    def tidy_up() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        put_back(folder)
        remove_unfinished(folder, folder / KEPT, folder / "plane")

    by_first(tidy_up)
    return folder


def begin_run(
    output_dir: str | Path, trainer: SupervisedTrainer, checkpoint: object, *, resume: bool
) -> None:
    """Move an earlier run out of the way of a new one that is about to start.

    To be called by an expression at the end of the config's ``initialize``: the trainer and all
    its handlers are built, and a run that cannot be built or kept is rejected with the earlier one
    where it was.

    Args:
        output_dir: folder of the run.
        trainer: of the run, not started yet.
        checkpoint: what keeps the run, checked if it is a :class:`~monai_ima.handlers.RunCheckpoint`.
        resume: the run goes on with what is in the folder, of which nothing is moved.

    Raises:
        TypeError: if a handler has a state that no checkpoint can hold.
        ValueError: if ``resume``, the config's ``resuming``, is neither true nor false.
    """
    if isinstance(checkpoint, RunCheckpoint):
        checkpoint.check_handlers(trainer)
    prepare_output_dir(output_dir, resume=flag("resuming", resume))


def prepare_output_dir(output_dir: str | Path, *, resume: bool = False) -> Path:
    """Move the files of an earlier run in the folder of a new one out of the way.

    The folder is opened as by :func:`open_folder` before that. A new run in the same folder would
    overwrite the earlier one's results and draw its curves through that one's events in
    TensorBoard; its files go to ``previous-1``, ``previous-2``, ... below the folder.

    Args:
        output_dir: folder of the run.
        resume: the run goes on with what lies there.

    Returns:
        The folder.
    """
    folder = open_folder(output_dir)
    if not resume:
        by_first(partial(set_aside, folder, _RUN_FILES))
    return folder


def is_restarted(run_dir: str | Path) -> bool:
    """Whether the call of torchrun that has started this process has brought the run to a checkpoint.

    Torchrun starts all processes anew when one has died. To be called by an expression in a config:
    the run then goes on from there. The checkpoint of an earlier call is left to ``resume``.

    Args:
        run_dir: folder of the run.

    Raises:
        ValueError: if the checkpoint is damaged, or of another kind or version.
    """
    folder = Path(run_dir)

    def has_checkpoint() -> bool:
        launch = this_launch()
        if launch is None or not (folder / "checkpoint.pt").exists():
            return False
        return bool(read_run_checkpoint(folder).get("launch") == launch)

    return by_first(has_checkpoint)


def first_epoch(run_dir: Path, *, resume: bool) -> int | None:
    """The epoch with which a resumed run goes on: TensorBoard drops what it logged from there on."""
    if not resume or not (run_dir / "checkpoint.pt").exists():
        return None
    return int(read_run_checkpoint(run_dir)["epoch"]) + 1
