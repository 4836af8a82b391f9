"""What a bundle's config asks for before and after a run, so that no Python stands in a bundle."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from monai.bundle.reference_resolver import ReferenceResolver
from monai.engines import SupervisedTrainer
from monai.networks.utils import eval_mode
from torch import nn
from torch.utils.data import Dataset
from torch.utils.tensorboard import SummaryWriter

from monai_ima.config_checks import complaints, needed, waiting_for, wrong_parts
from monai_ima.data import TensorSamples
from monai_ima.effective_config import current_resolver
from monai_ima.handlers import RobustnessCurveHandler
from monai_ima.handlers.checkpoint import RunCheckpoint, read_run_checkpoint
from monai_ima.handlers.files import put_back, remove_unfinished, set_aside
from monai_ima.handlers.folder_lock import make_and_lock
from monai_ima.handlers.run_record import CONFIG, OF_THE_BUNDLE, RECORD
from monai_ima.handlers.weights_keeper import KEPT, kept_weights
from monai_ima.logits import logits_of
from monai_ima.robustness.closest import check_range
from monai_ima.settings import Schema

_PACKAGE = Path(__file__).parent

_RUN_FILES = (
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
    "robustness.json",
    "robustness.png",
    "selection",
    "selection.json",
    "selection.png",
    "events.out.tfevents.*",
)


# What this package does not raise to say what is wrong.
_ACCIDENTS = (AttributeError, LookupError, NameError, TypeError)


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
        accident = not _is_ours(cause) or isinstance(cause, _ACCIDENTS)
        if accident and (id_ := _built(chain)):
            said += f" (in {id_} of the config)"
        sys.stderr.write(f"\nStopped: {said}\n")

    sys.excepthook = hook


def _is_ours(error: BaseException) -> bool:
    """Whether the error was raised by this package, which says what to do."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "")
    return module.startswith("monai_ima")


def _built(chain: list[BaseException]) -> str:
    """The part of the config that was being built or evaluated when it went wrong, if one was."""
    for error in reversed(chain):
        traceback, found = error.__traceback__, ""
        while traceback is not None:
            names = traceback.tb_frame.f_locals
            if isinstance(names.get("self"), ReferenceResolver):
                found = str(names.get("id", found))
            traceback = traceback.tb_next
        if found:
            return found
    return ""


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


def check_settings(*schemas: type[Schema], likeness: float = 0.0) -> None:
    """Refuse a config whose settings, or the arguments of whose parts, are wrong.

    To be called by an expression in the config's ``initialize``, before anything is built, read or
    written: it names all that is wrong at once.

    Args:
        schemas: what the settings of the config may be, of ``monai_ima.settings``.
        likeness: refuse only those unknown names that are as like one that means something, from
            0, not at all, to 1, equal; for a config that may lie over another bundle's, whose keys
            are its own affair.

    Raises:
        ValueError: naming each wrong setting, what was expected and what was got.
    """
    if found := complaints(current_resolver(), schemas, likeness):
        raise ValueError("; and ".join(found))


def build(id_: str, *, before: str) -> None:
    """Build all that a part of the config needs, but for what needs a certain other part.

    To be called by an expression in the config's ``initialize``: what cannot be built is refused
    before that other part, which opens the folder of the run, is.

    Args:
        id_: of the part, which is itself built only if it does not need ``before``.
        before: id of the other part.

    Raises:
        ValueError: if what is built is of another kind than what it is for takes.
    """
    resolver = current_resolver()
    late = waiting_for(resolver, before)
    for each in sorted(needed(resolver, id_) - late):
        resolver.get_resolved_content(each)
    if found := list(wrong_parts(resolver, late)):
        raise ValueError("; and ".join(found))


def check_network(
    network: nn.Module,
    samples: Dataset[Any],
    curve: RobustnessCurveHandler,
    *,
    num_classes: int,
    device: torch.device | str,
) -> None:
    """Give the network one sample, before an earlier run is moved out of the way for it.

    Args:
        network: left as found.
        samples: of which the first is taken.
        curve: of noise levels which must not reach every valid input.
        num_classes: how many logits are expected.
        device: where the network is.

    Raises:
        ValueError: naming the settings, if they do not fit the sample.
    """
    try:
        first = samples[torch.tensor([0])] if isinstance(samples, TensorSamples) else samples[0]
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if _is_ours(cause):
            raise
        raise ValueError(
            f"expected preprocessing to make an input of the first validation sample, got "
            f"{type(cause).__name__}: {cause}; correct its transforms"
        ) from error
    inputs = first["image"] if isinstance(samples, TensorSamples) else first["image"][None]
    inputs = torch.as_tensor(inputs).to(device)
    try:
        with eval_mode(network):
            outputs = network(inputs)
    except Exception as error:
        raise ValueError(
            f"expected network_def to take inputs of the shape {tuple(inputs.shape)}, got from it "
            f"{type(error).__name__}: {error}; correct its arguments, or image_size where the "
            f"bundle has it"
        ) from error
    logits = logits_of(outputs, samples=1)
    if logits.shape[1] != num_classes:
        raise ValueError(
            f"expected network_def to return a logit for each of num_classes={num_classes} classes, "
            f"got {logits.shape[1]}; correct its arguments"
        )
    check_range(curve.eps, curve.norm, inputs, curve.bounds)


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


def flag(name: str, value: object) -> bool:
    """A setting that is true or false; the command line hands over the words.

    Raises:
        ValueError: if it is neither.
    """
    word = str(value).lower()
    if word not in ("true", "false"):
        raise ValueError(f"expected {name} to be true or false, got {value!r}")
    return word == "true"


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
    make_and_lock(folder, f"--{setting}")


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
    folder.mkdir(parents=True, exist_ok=True)
    put_back(folder)
    remove_unfinished(folder, folder / KEPT, folder / "plane")
    return folder


def begin_run(
    output_dir: str | Path, trainer: SupervisedTrainer, checkpoint: object, *, resume: bool
) -> None:
    """Move an earlier run out of the way of a new one that is about to start.

    To be called by an expression at the end of the config's ``initialize``: the trainer and all
    its handlers are built, and a run that cannot be built or kept is refused with the earlier one
    where it was.

    Args:
        output_dir: folder of the run.
        trainer: of the run, not started yet.
        checkpoint: what keeps the run, checked if it is a :class:`~monai_ima.handlers.RunCheckpoint`.
        resume: the run goes on with what is in the folder, of which nothing is moved.

    Raises:
        TypeError: if a handler has a state that no checkpoint can hold.
    """
    if isinstance(checkpoint, RunCheckpoint):
        checkpoint.check_handlers(trainer)
    prepare_output_dir(output_dir, resume=resume)


def prepare_output_dir(output_dir: str | Path, *, resume: bool = False) -> Path:
    """Move the files of an earlier run in the folder of a new one out of the way.

    The folder is opened as by :func:`open_folder` before that. A new run in the same folder would overwrite the earlier one's results and draw its curves
    through that one's events in TensorBoard; its files go to ``previous-1``, ``previous-2``, ...
    below the folder.

    Args:
        output_dir: folder of the run.
        resume: the run goes on with what lies there.

    Returns:
        The folder.
    """
    folder = open_folder(output_dir)
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
                "margins of the training samples: 5 %, mean, 95 %": [
                    "Margin",
                    ["margin/mean", "margin/q05", "margin/q95"],
                ],
                "shares of the training samples: crossed within their margin; at eps_max": [
                    "Multiline",
                    [r"^margin/.*_fraction"],
                ],
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
            f"{'median':>12}  "
            + ("margin above all levels" if median is None else f"margin {median:.4g}")
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
        lines.append(f"{folder / KEPT}  weights of {len(kept)} epochs, for monai-ima select")
    lines.append(f"tensorboard --logdir {folder}")
    return "\n".join(lines)
