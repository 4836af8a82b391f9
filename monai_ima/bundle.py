"""What a bundle's config asks for before and after a run, so that no Python stands in a bundle."""

from __future__ import annotations

import difflib
import inspect
import json
import logging
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from monai.bundle.reference_resolver import ReferenceResolver
from torch.utils.tensorboard import SummaryWriter

_logger = logging.getLogger(__name__)

# Keys of a bundle's train.json to which an overriding section may hold the only reference, or that
# MONAI reads by name.
_KEYS = (
    "attack_steps",
    "augmentation",
    "beta",
    "bisections",
    "bundle_root",
    "cache_rate",
    "datalist_file",
    "dataset_dir",
    "delta",
    "eps_max",
    "eval_restarts",
    "eval_steps",
    "finalize",
    "fractions",
    "imports",
    "initialize",
    "learning_rate",
    "margin_interval",
    "margin_steps",
    "margin_dataset",
    "margins",
    "num_workers",
    "patient_pattern",
    "resume",
    "robust_interval",
    "run",
    "samples_per_class",
    "val_interval",
)

_RUN_FILES = (
    "checkpoint.pt",
    "model.pt",
    "model_best.pt",
    "robustness.csv",
    "robustness.json",
    "robustness.png",
    "events.out.tfevents.*",
)


def say_errors_last() -> None:
    """After the traceback of an error that ends the program, repeat in one line what went wrong.

    MONAI wraps what goes wrong in a config into errors of its own, which end in the text of the
    expression; what the user should read then stands a screen further up.
    """

    def hook(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        sys.__excepthook__(kind, error, traceback)
        if not isinstance(error, Exception):  # Ctrl-C says enough
            return
        chain: list[BaseException] = [error]
        while chain[-1].__cause__ is not None:
            chain.append(chain[-1].__cause__)
        cause = next(filter(_is_ours, chain), chain[-1])
        sys.stderr.write(f"\nStopped: {type(cause).__name__}: {cause}\n")

    sys.excepthook = hook


def _is_ours(error: BaseException) -> bool:
    """Whether the error was raised by this package, which says what to do."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "")
    return module.startswith("monai_ima")


def check_keys() -> None:
    """Refuse a top-level key of the config that nothing refers to: a mistyped override.

    MONAI adds an unknown key in silence, and the run goes on without it. To be called by an
    expression in the config's ``initialize``.

    Raises:
        ValueError: naming the key, and the nearest of those that mean something.
    """
    config = _config_in_evaluation()
    keys = {_first(id_) for id_ in config if id_ and not id_.startswith("_")}
    texts = [value for value in config.values() if isinstance(value, str)]
    references = {
        _first(id_) for text in texts for id_ in ReferenceResolver.match_refs_pattern(text)
    }
    known = sorted(keys & references.union(_KEYS))
    unknown = sorted(keys.difference(known))
    if unknown:
        near = [difflib.get_close_matches(key, known, n=1, cutoff=0) for key in unknown]
        raise ValueError(
            f"expected settings that the config knows, got {', '.join(unknown)}; "
            f"did you mean {', '.join(names[0] for names in near)}? Known are {', '.join(known)}."
        )


def _first(id_: str) -> str:
    return id_.split(ReferenceResolver.sep, maxsplit=1)[0]


def _config_in_evaluation() -> dict[str, Any]:
    """Raw items of the config, by id.

    MONAI hands an expression the values that it refers to, and no reference to the config that it
    stands in; so look for the resolver among the callers.
    """
    for caller in inspect.stack():
        resolver = caller.frame.f_locals.get("self")
        if isinstance(resolver, ReferenceResolver):
            return {id_: item.get_config() for id_, item in resolver.items.items()}
    raise RuntimeError("check_keys is called by an expression in a MONAI config only")


def flag(name: str, value: object) -> bool:
    """A setting that is true or false; the command line hands over the words.

    Raises:
        ValueError: if it is neither.
    """
    word = str(value).lower()
    if word not in ("true", "false"):
        raise ValueError(f"expected {name} to be true or false, got {value!r}")
    return word == "true"


def check_writable(output_dir: str | Path) -> None:
    """Make the folder of a run, early, before hours are spent.

    Raises:
        OSError: if it cannot be written to.
    """
    folder = Path(output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"expected output_dir to be a folder that can be written to, got {folder}: {error}; "
            "choose another with --output_dir"
        ) from error


def prepare_output_dir(output_dir: str | Path, *, resume: bool = False) -> Path:
    """Move the files of an earlier run in the folder of a new one out of the way.

    A new run in the same folder would overwrite the earlier one's results and draw its curves
    through that one's events in TensorBoard; its files go to ``previous-1``, ``previous-2``, ...
    below the folder.

    Args:
        output_dir: folder of the run.
        resume: the run goes on with what lies there.

    Returns:
        The folder.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    earlier = [path for pattern in _RUN_FILES for path in folder.glob(pattern)]
    if earlier and not resume:
        number = 1
        while (folder / f"previous-{number}").exists():
            number += 1
        attic = folder / f"previous-{number}"
        attic.mkdir()
        for path in earlier:
            path.rename(attic / path.name)
        _logger.warning("%s held a run; its files are now in %s", folder, attic)
    return folder


def first_epoch(run_dir: Path, *, resume: bool) -> int | None:
    """The epoch with which a resumed run goes on: TensorBoard drops what it logged from there on."""
    if not resume or not (run_dir / "checkpoint.pt").exists():
        return None
    checkpoint = torch.load(run_dir / "checkpoint.pt", map_location="cpu", weights_only=True)
    return int(checkpoint["epoch"]) + 1


def add_layout(summary_writer: SummaryWriter) -> None:
    """Lay out TensorBoard's custom scalars: all noise levels in one chart, margins as a band."""
    summary_writer.add_custom_scalars(
        {
            "Robustness": {
                "accuracy at each noise level": ["Multiline", [r"^robust_accuracy/eps_.*"]],
                "area under the curve": ["Multiline", [r"^robust_accuracy/auc"]],
            },
            "Margins": {
                "5 %, mean, 95 %": ["Margin", ["margin/mean", "margin/q05", "margin/q95"]],
                "fractions": ["Multiline", [r"^margin/.*_fraction"]],
            },
            "Losses": {"terms": ["Multiline", [r"^train_loss.*"]]},
        }
    )


def summary(output_dir: str | Path) -> str:
    """The end of a run in words: its last curve as a table, and where everything was written.

    Args:
        output_dir: folder of the run.
    """
    folder = Path(output_dir)
    curve = json.loads((folder / "robustness.json").read_text())["curves"][-1]
    lines = ["", f"{'eps (' + curve['norm'] + ')':>12}  accuracy  95 % interval"]
    columns = (curve[name] for name in ("eps", "accuracy", "low", "high"))
    lines.extend(
        f"{eps:12g}  {accuracy:8.3f}  {low:.3f} to {high:.3f}"
        for eps, accuracy, low, high in zip(*columns, strict=True)
    )
    lines.append(f"{'area':>12}  {curve['auc']:8.3f}  (n = {curve['n']}, epoch {curve['epoch']})")
    lines.append("")
    lines.extend(
        f"{folder / name}  {what}"
        for name, what in {
            "model.pt": "weights after the last epoch, whose curve this is",
            "model_best.pt": "weights of the best epoch on the validation set",
            "checkpoint.pt": "everything that --resume true needs",
            "robustness.csv": "the curve; .json with classes and settings, .png the figure",
        }.items()
    )
    lines.append(f"tensorboard --logdir {folder}")
    return "\n".join(lines)
