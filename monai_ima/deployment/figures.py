"""How accurate and how robust a model is, as its evaluation or its training found it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_ima.deployment.trained_run import TrainedRun
from monai_ima.errors import RejectedError
from monai_ima.handlers.evaluation_progress import Progress
from monai_ima.handlers.json_file import read_json
from monai_ima.handlers.state_file import UnreadableStateError
from monai_ima.networks import weights_fingerprint


@dataclass(frozen=True)
class Figures:
    """What was measured of a model.

    Attributes:
        source: by what, and on which samples, in words.
        attack: the attacks, in words.
        curves: of each norm, as ``robustness.json`` has them.
        n: number of samples.
        patients: of patients; ``None`` where they are not known.
        class_counts: number of samples of each class; empty where it is that of the test samples.
        findings: what speaks against the clean answers, and failed checks of the attack, in words.
        warning: what a reader has to know of the data; empty if nothing.
        checks: how many checks of the attack were run, of how many; 0 of 0 after a training.
    """

    source: str
    attack: str
    curves: Sequence[Mapping[str, Any]]
    n: int
    patients: int | None
    class_counts: Sequence[int]
    findings: Sequence[str]
    warning: str
    checks: tuple[int, int]

    def metrics(self) -> dict[str, float]:
        """Clean accuracy and the area under each curve."""
        areas = {f"area_{curve['norm']}": round(curve["auc"], 4) for curve in self.curves}
        return {"accuracy": round(self.curves[0]["accuracy"][0], 4), **areas}

    @classmethod
    def of(cls, run: TrainedRun, evaluation: Path | None = None) -> Figures | None:
        """Those of an evaluation of the weights, or else of the curve at the end of the training.

        Args:
            run: of the model.
            evaluation: folder of the evaluation, by default that in the folder of the run.

        Returns:
            ``None`` if neither is there.

        Raises:
            RejectedError: if the evaluation that is named is none of these weights.
        """
        folder = run.folder / "evaluation" if evaluation is None else evaluation
        report = _report(folder)
        if report is not None and _evaluated(folder) == weights_fingerprint(run.network):
            section = report["settings"].get("section", "test")
            return cls._from(report, f"evaluation on the {section} samples", report["curves"])
        if evaluation is not None:
            raise RejectedError(
                f"expected {evaluation} to be a finished evaluation of {run.weights}, got "
                f"{'none' if report is None else 'one of other weights'}; evaluate them by monai-ima "
                f"evaluate {shlex.quote(str(run.folder))}"
            )
        report = _report(run.folder)
        if report is None or run.weights.name != "model.pt":
            return None
        return cls._from(report, "the curve at the end of the training", report["curves"][-1:])

    @classmethod
    def _from(
        cls, report: Mapping[str, Any], source: str, curves: Sequence[Mapping[str, Any]]
    ) -> Figures:
        said = [finding["verdict"] for finding in report.get("clean_findings", [])]
        failed = [
            f"{check['norm']}: {check['verdict']}"
            for check in report.get("checks", [])
            if check["passed"] is False
        ]
        checks = report.get("checks", [])
        run = sum(check["passed"] is not None for check in checks)
        warning = report.get("warning") or report["settings"].get("warning") or ""
        return cls(
            source,
            report["attack"]["description"],
            curves,
            curves[0]["n"],
            report.get("patients"),
            report.get("class_counts", []),
            said + failed,
            warning,
            (run, len(checks)),
        )


def _report(folder: Path) -> dict[str, Any] | None:
    path = folder / "robustness.json"
    if not path.is_file():
        return None
    try:
        return read_json(path)
    except UnreadableStateError as error:
        raise RejectedError(f"expected {path} to be as it was written, got {error}") from error


def _evaluated(folder: Path) -> str | None:
    """The fingerprint of the weights that an evaluation was of."""
    progress = Progress.read(folder / "progress.records")
    return None if progress is None else progress.identity.get("weights")
