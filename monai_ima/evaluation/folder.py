"""What an evaluation left in its folder, read and checked."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from monai_ima.errors import RejectedError
from monai_ima.handlers.files import file_digest, read_csv
from monai_ima.handlers.json_file import read_json
from monai_ima.handlers.run_record import RunRecord, read_record
from monai_ima.handlers.state_file import UnreadableStateError


@dataclass(frozen=True)
class EvaluatedCurve:
    """What an evaluation found in one norm.

    Attributes:
        eps: the L levels.
        robust: ``(N, L)`` bool, the samples in the order of their ids that are robust at each level.
        low: lower end of the 95 % interval of the accuracy at each level.
        high: its upper end.
        median_margin: the noise at which half of the correctly classified samples are misclassified;
            ``None`` if fewer are, at any level.
    """

    eps: list[float]
    robust: Tensor
    low: list[float]
    high: list[float]
    median_margin: float | None


@dataclass(frozen=True)
class Evaluation:
    """An evaluation.

    Attributes:
        name: what it is called in a comparison.
        protocol: of its attack, and which version of it.
        attack: all that was set of its attack, by the names of ``robustness.json``.
        labels: the class of each sample, by ids in order.
        patients: likewise, "" where unknown.
        curves: one for each norm.
        warning: what a reader has to know of the data; empty if nothing.
        trained: what the training of the model has written of itself, if it has.
    """

    name: str
    protocol: str
    attack: dict[str, Any]
    labels: dict[str, str]
    patients: dict[str, str]
    curves: dict[str, EvaluatedCurve]
    warning: str
    trained: RunRecord | None


def read_report(folder: Path) -> dict[str, Any]:
    """The content of an evaluation's ``robustness.json``.

    Raises:
        RejectedError: if it is not there, or cannot be read.
    """
    path = folder / "robustness.json"
    if not path.exists() and (folder / "progress.records").exists():
        raise RejectedError(
            f"the evaluation in {folder} is not finished; run it again with the same settings, it "
            "goes on from where it was"
        )
    _check_there(path)
    try:
        return read_json(path)
    except UnreadableStateError as error:
        raise RejectedError(
            f"expected {path} to be the report of an evaluation, got {error}; run the evaluation again"
        ) from error


def read_samples(folder: Path) -> list[dict[str, str]]:
    """The rows of an evaluation's ``samples.csv``, in their order.

    Raises:
        RejectedError: if it is not there, or not as an evaluation leaves it.
    """
    path = folder / "samples.csv"
    _check_there(path)
    try:
        rows = read_csv(path)
    except (csv.Error, UnicodeDecodeError) as error:
        raise RejectedError(f"{path} cannot be read ({error}); run the evaluation again") from error
    if not rows:
        raise RejectedError(f"there is no sample in {path}; run the evaluation again")
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise RejectedError(
                f"expected sample {number} of {path} to have the columns of the heading, got more "
                "or fewer; run the evaluation again"
            )
    return rows


def _check_there(path: Path) -> None:
    if not path.exists():
        raise RejectedError(
            f"there is no {path}; expected {path.parent} to be the output folder of an evaluation, "
            "which holds robustness.json and samples.csv"
        )


def read_evaluation(folder: Path, name: str) -> Evaluation:
    """An evaluation from its folder, of which the two files must agree.

    Args:
        folder: output folder of the evaluation.
        name: what it is to be called.

    Raises:
        RejectedError: if it is not finished, or the files are damaged or not of one evaluation.
    """
    report, samples = read_report(folder), read_samples(folder)
    _check_digest(report, folder / "samples.csv")
    try:
        _check_different_ids(samples, folder)
        samples.sort(key=lambda row: row["id"])
        return Evaluation(
            name,
            _protocol(report["attack"]),
            report["attack"],
            {sample["id"]: sample["label"] for sample in samples},
            {sample["id"]: sample["patient"] for sample in samples},
            {curve["norm"]: _curve(curve, samples, folder) for curve in report["curves"]},
            report["warning"],
            read_record(Path(report.get("settings", {}).get("model") or folder).parent),
        )
    except KeyError as error:
        raise RejectedError(
            f"expected robustness.json and samples.csv in {folder} to be the report and the samples "
            f"of an evaluation, but there is no {error} in them; run the evaluation again"
        ) from error
    except RejectedError:
        raise
    except (AttributeError, TypeError, ValueError) as error:
        raise RejectedError(
            f"{folder / 'robustness.json'} or {folder / 'samples.csv'} cannot be read ({error}); run "
            "the evaluation again"
        ) from error


def _check_digest(report: dict[str, Any], path: Path) -> None:
    digests = report.get("digests", {})  # older reports have none
    if path.name in digests and digests[path.name] != file_digest(path):
        raise RejectedError(
            f"expected {path} to be as the evaluation wrote it, got a file that was changed or "
            "damaged, or of another evaluation than robustness.json beside it; run it again"
        )


def _check_different_ids(samples: Sequence[dict[str, str]], folder: Path) -> None:
    for sample, times in Counter(row["id"] for row in samples).items():
        if times > 1:
            raise RejectedError(
                f"expected different ids in {folder / 'samples.csv'}, got {sample!r} {times} times; "
                "evaluate data whose samples have names of their own"
            )


def _protocol(attack: dict[str, Any]) -> str:
    """Its name, and its version, which older evaluations do not have."""
    name: str = attack["protocol"]
    return f"{name}, version {attack['version']}" if "version" in attack else name


def _curve(
    curve: dict[str, Any], samples: Sequence[dict[str, str]], folder: Path
) -> EvaluatedCurve:
    """From the levels at which samples were misclassified, which must add up to the report's curve."""
    norm, eps = curve["norm"], [_level(eps) for eps in curve["eps"]]
    robust = torch.ones(len(samples), len(eps), dtype=torch.bool)
    for at_levels, sample in zip(robust, samples, strict=True):
        if broke_at := sample[f"broke_at_{norm}"]:
            if _level(broke_at) not in eps:
                raise ValueError(
                    f"{sample['id']} is misclassified from {broke_at} on, which is none of {eps}"
                )
            at_levels[eps.index(_level(broke_at)) :] = False
    numbers = robust.sum(dim=0).tolist()
    for level, number, said in zip(eps, numbers, curve["accuracy"], strict=True):
        if len(robust) != curve["n"] or round(said * curve["n"]) != number:
            raise RejectedError(
                f"in {folder / 'samples.csv'}, {number} of {len(robust)} samples are robust at "
                f"{level:g} ({norm}), but robustness.json beside it says {said * curve['n']:.6g} of "
                f"{curve['n']}: they are not of one evaluation; run it again"
            )
    low, high = (curve[f"patient_{end}"] or curve[end] for end in ("low", "high"))
    return EvaluatedCurve(eps, robust, low, high, curve["median_margin"])


def _level(text: str | float) -> float:
    """Equal for what was equal before it was written, in whatever precision."""
    return float(f"{float(text):.6g}")
