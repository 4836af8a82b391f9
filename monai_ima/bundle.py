"""What a bundle's config asks for before and after a run, so that no Python stands in a bundle."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from monai.bundle.reference_resolver import ReferenceResolver
from torch.utils.tensorboard import SummaryWriter

from monai_ima.attacks.base import checked_count
from monai_ima.effective_config import current_resolver
from monai_ima.handlers.checkpoint import read_run_checkpoint
from monai_ima.handlers.files import remove_unfinished, set_aside
from monai_ima.handlers.run_record import CONFIG, LOGGING, RECORD
from monai_ima.handlers.weights_keeper import KEPT, kept_weights

# Keys of a bundle's train.json to which an overriding section may hold the only reference, or that
# MONAI reads by name.
_KEYS = (
    "allow_outside",
    "attack_steps",
    "augmentation",
    "beta",
    "bisections",
    "bundle_root",
    "cache_rate",
    "class_column",
    "crop",
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
    "keep_interval",
    "learning_rate",
    "margin_interval",
    "margin_steps",
    "margin_dataset",
    "margins",
    "nan_value",
    "num_workers",
    "path_column",
    "patient_column",
    "patient_pattern",
    "plane_interval",
    "resume",
    "robust_interval",
    "run",
    "samples_per_class",
    "split_column",
    "val_interval",
)

_PACKAGE = Path(__file__).parent

_RUN_FILES = (
    "checkpoint.pt",
    CONFIG,
    LOGGING,
    RECORD,
    "model.pt",
    "margins.gif",
    "model_best.pt",
    "model_selected.pt",
    KEPT,
    "plane",
    "robustness.csv",
    "robustness.json",
    "robustness.png",
    "selection",
    "selection.json",
    "selection.png",
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
        said = _said_by_worker(str(cause)) or f"{type(cause).__name__}: {cause}"
        sys.stderr.write(f"\nStopped: {said}\n")

    sys.excepthook = hook


def _is_ours(error: BaseException) -> bool:
    """Whether the error was raised by this package, which says what to do."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "")
    return module.startswith("monai_ima")


def _said_by_worker(text: str) -> str:
    """What went wrong in a loading process, of which torch hands on no more than the traceback.

    Empty if ``text`` is no such traceback.
    """
    if not re.match(r"Caught \w+ in DataLoader worker process", text):
        return ""
    between = re.compile(
        r"\n\n(?:The above exception was the direct|During handling of the above) .*\n"
    )
    tracebacks = between.split(text)
    ours = [block for block in tracebacks if _raised_in(block).is_relative_to(_PACKAGE)]
    # what was raised stands behind the last line of code, which is indented
    *_, said = re.split(r"\n +.*(?=\n\S)", (ours or tracebacks)[0])
    return said.strip()


def _raised_in(traceback: str) -> Path:
    return Path(traceback.rpartition('  File "')[2].partition('"')[0])


def check_single_process() -> None:
    """Reject a config that is made for one process on each of several, as ``torchrun`` starts them.

    Each would make the whole run, and all would write to one folder. To be called by an expression
    in the config's ``initialize``, before anything is read or written.

    Raises:
        RuntimeError: on every one of them, if there are several.
    """
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes != "1":
        raise RuntimeError(
            f"expected one process, got WORLD_SIZE={processes} (this is rank "
            f"{os.environ.get('RANK', 'unknown')}), as torchrun sets it: this config would make the "
            f"whole run in each of them, in one folder; start it by python -m monai.bundle run, "
            f"without torchrun or with --nproc_per_node=1, or unset WORLD_SIZE"
        )


def check_keys(likeness: float = 0.0) -> None:
    """Refuse a top-level key of the config that nothing refers to: a mistyped override.

    MONAI adds an unknown key in silence, and the run goes on without it. To be called by an
    expression in the config's ``initialize``.

    Args:
        likeness: refuse only what is as like one that means something, from 0, not at all, to 1,
            equal; for a config that may lie over another bundle's, whose keys are its own affair.

    Raises:
        ValueError: naming the key, and the nearest of those that mean something.
    """
    config = current_resolver().items
    keys = {_first(id_) for id_ in config if id_ and not id_.startswith("_")}
    texts = [text for item in config.values() if isinstance(text := item.get_config(), str)]
    references = {
        _first(id_) for text in texts for id_ in ReferenceResolver.match_refs_pattern(text)
    }
    known = sorted(keys & references.union(_KEYS))
    near = {
        key: difflib.get_close_matches(key, known, n=1, cutoff=likeness)
        for key in sorted(keys.difference(known))
    }
    if unknown := [key for key, names in near.items() if names]:
        raise ValueError(
            f"expected settings that the config knows, got {', '.join(unknown)}; "
            f"did you mean {', '.join(near[key][0] for key in unknown)}? "
            f"Known are {', '.join(known)}."
        )


_REQUIRED = object()


def given(key: str, default: Any = _REQUIRED) -> Any:
    """What another file of the config, or the command line, gives a key that this one leaves open.

    A reference to a key that nobody gives would be an error of MONAI's. To be called by an
    expression in a config.

    Args:
        key: top-level key of the config.
        default: what is meant where nobody gives the key.

    Raises:
        ValueError: if nobody gives the key, and there is no default.
    """
    resolver = current_resolver()
    if key in resolver.items:
        return resolver.get_resolved_content(key)
    if default is _REQUIRED:
        raise ValueError(
            f"expected a {key}, got none; add --{key} ..., or a file that has it to --config_file"
        )
    return default


def _first(id_: str) -> str:
    return id_.split(ReferenceResolver.sep, maxsplit=1)[0]


def flag(name: str, value: object) -> bool:
    """A setting that is true or false; the command line hands over the words.

    Raises:
        ValueError: if it is neither.
    """
    word = str(value).lower()
    if word not in ("true", "false"):
        raise ValueError(f"expected {name} to be true or false, got {value!r}")
    return word == "true"


def check_intervals(*, at_least: int = 0, **intervals: int) -> None:
    """Refuse numbers of epochs that are none, before the folder of a run is touched.

    Args:
        at_least: the smallest that has a meaning: 0 where it means never, or after the last epoch
            only.
        **intervals: the settings by name.

    Raises:
        ValueError: naming the setting.
    """
    for name, interval in intervals.items():
        checked_count(name, interval, at_least)


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

    What an earlier run that was killed had not finished is removed.

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
    remove_unfinished(folder, folder / KEPT, folder / "plane")
    if not resume:
        set_aside(folder, _RUN_FILES)
    return folder


def first_epoch(run_dir: Path, *, resume: bool) -> int | None:
    """The epoch with which a resumed run goes on: TensorBoard drops what it logged from there on."""
    if not resume or not (run_dir / "checkpoint.pt").exists():
        return None
    return int(read_run_checkpoint(run_dir)["epoch"]) + 1


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


def evaluation_summary(output_dir: str | Path) -> str:
    """The end of an evaluation in words: each curve, whether to believe it, where the report is.

    Args:
        output_dir: folder of the evaluation.
    """
    folder = Path(output_dir)
    report = json.loads((folder / "robustness.json").read_text())
    lines = [
        *_finding_lines(report),
        "",
        f"{report['attack']['protocol']}: {report['attack']['description']}",
    ]
    for curve in report["curves"]:
        lines += ["", *_curve_lines(curve)]
        median = curve["median_margin"]
        lines.append(
            f"{'half lost at':>12}  " + ("no level" if median is None else f"{median:.4g}")
        )
    lines += ["", *_check_lines(report["checks"])]
    if warning := report.get("warning"):
        lines.append(f"WARNING: {warning}")
    lines.append(f"{folder / 'report.html'}  the report; samples.csv has a row for each sample")
    lines.append(f"tensorboard --logdir {folder}")
    return "\n".join(lines)


def _finding_lines(report: dict[str, Any]) -> list[str]:
    """What speaks against the clean answers, before anything that is built on them."""
    findings = report.get("clean_findings", [])
    lines = [f"  {finding['verdict']}. {finding['advice']}." for finding in findings]
    return (
        ["", "CLEAN ACCURACY FIRST: the classifier or its data are in doubt", *lines]
        if lines
        else []
    )


def _check_lines(checks: list[dict[str, Any]]) -> list[str]:
    """How many checks passed, failed and were not run, and what the latter two say."""
    if not checks:
        return ["no checks were made"]
    passed, failed, skipped = (
        [check for check in checks if check["passed"] is result] for result in (True, False, None)
    )
    others = f"{len(passed)} passed, {len(skipped)} not run"
    if failed:
        count = "1 check" if len(failed) == 1 else f"{len(failed)} checks"
        head = f"DO NOT TRUST THIS CURVE: {count} failed, {others}"
    elif not passed:
        head = f"NO CHECK WAS RUN, of {len(skipped)}: nothing says whether to believe the curve"
    elif len(passed) <= len(skipped):
        head = f"ONLY {len(passed)} of {len(checks)} checks were run: none failed, {others}"
    else:
        head = f"checks: none failed, {others}"
    lines = [f"  {check['norm']} {check['name']}: {check['verdict']}" for check in failed]
    reasons: dict[str, list[str]] = {}
    for check in skipped:
        reasons.setdefault(check["verdict"], []).append(f"{check['norm']} {check['name']}")
    lines += [f"  {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return [head, *lines]


def _curve_lines(curve: dict[str, Any]) -> list[str]:
    columns = (curve[name] for name in ("eps", "accuracy", "low", "high"))
    epoch = f", epoch {curve['epoch']}" if "epoch" in curve else ""
    return [
        f"{'eps (' + curve['norm'] + ')':>12}  accuracy  95 % interval",
        *(
            f"{eps:12g}  {accuracy:8.3f}  {low:.3f} to {high:.3f}"
            for eps, accuracy, low, high in zip(*columns, strict=True)
        ),
        f"{'area':>12}  {curve['auc']:8.3f}  (n = {curve['n']}{epoch})",
    ]


def summary(output_dir: str | Path) -> str:
    """The end of a run in words: its last curve as a table, and where everything was written.

    Args:
        output_dir: folder of the run.
    """
    folder = Path(output_dir)
    report = json.loads((folder / "robustness.json").read_text())
    lines = [*_finding_lines(report), "", *_curve_lines(report["curves"][-1])]
    if warning := report.get("settings", {}).get("warning"):
        lines += ["", f"WARNING: {warning}"]
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
    if kept := kept_weights(folder):
        lines.append(
            f"{folder / KEPT}  weights of {len(kept)} epochs, for scripts/select_checkpoint.py"
        )
    lines.append(f"tensorboard --logdir {folder}")
    return "\n".join(lines)
