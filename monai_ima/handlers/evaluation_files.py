"""What an evaluation leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from monai_ima.handlers.files import file_digest, write_whole
from monai_ima.handlers.json_file import write_json
from monai_ima.handlers.tables import curve_rows, write_table
from monai_ima.report import (
    Example,
    Units,
    as_image,
    curve_figures,
    example_figure,
    html_report,
    markdown_table,
    markdown_text,
    robustness_figure,
)

_FURTHER = ("balanced_accuracy", "patient_low", "patient_high")  # columns of robustness.csv

FILES = (
    "progress.records",
    "progress.pt",  # of an earlier version
    "report.html",
    "robustness.csv",
    "robustness.xlsx",
    "robustness.json",
    "robustness_*.png",
    "samples.csv",
    "samples.xlsx",
    "events.out.tfevents.*",
)


def write_evaluation(
    folder: Path,
    report: Mapping[str, Any],
    *,
    rows: Iterable[Mapping[str, Any]],
    answers: Mapping[str, Tensor],
    examples: Mapping[str, Sequence[Example]],
) -> None:
    """Write the report as HTML, JSON, CSV, XLSX, PNG and TensorBoard events, each file in one step.

    Args:
        folder: where they go.
        report: the content of ``robustness.json``.
        rows: of ``samples.csv``, by column.
        answers: ``labels``, ``probabilities`` of the clean samples and ``<norm>/margins``.
        examples: samples to show, by norm.
    """
    labels, probabilities = answers["labels"], answers["probabilities"]
    predictions = probabilities.argmax(dim=1)
    margins = {curve["norm"]: answers[f"{curve['norm']}/margins"] for curve in report["curves"]}
    page = html_report(
        report, margins=margins, labels=labels, probabilities=probabilities, examples=examples
    )
    write_table(folder / "samples.csv", rows)
    write_table(folder / "robustness.csv", _levels(report["curves"]))
    for curve in report["curves"]:
        figure = robustness_figure(curve)
        write_whole(folder / f"robustness_{curve['norm']}.png", figure.savefig)
    write_whole(folder / "report.html", lambda path: path.write_text(page, encoding="utf-8"))
    digests = {"samples.csv": file_digest(folder / "samples.csv")}
    write_json(folder / "robustness.json", {**report, "digests": digests})
    with SummaryWriter(str(folder), purge_step=0) as writer:
        for curve in report["curves"]:
            correct = labels == predictions
            _write_events(
                writer,
                curve,
                report,
                margins[curve["norm"]][correct],
                examples[curve["norm"]],
            )
        writer.add_text("robustness/checks", _check_table(report["checks"]), 0)


def _levels(curves: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each level of each norm, with the columns that a training run's file has."""
    rows = []
    for curve in curves:
        further = {name: curve[name] or [""] * len(curve["eps"]) for name in _FURTHER}
        columns = zip(*further.values(), strict=True)
        for row, values in zip(curve_rows(curve, epoch=""), columns, strict=True):
            rows.append({**row, **dict(zip(further, values, strict=True))})
    return rows


def _write_events(
    writer: SummaryWriter,
    curve: Mapping[str, Any],
    report: Mapping[str, Any],
    margins: Tensor,
    examples: Sequence[Example],
) -> None:
    norm, classes = curve["norm"], report["classes"]
    for eps, accuracy in zip(curve["eps"], curve["accuracy"], strict=True):
        writer.add_scalar(f"robust_accuracy/{norm}/eps_{eps:g}", accuracy, 0)
    writer.add_scalar(f"robust_accuracy/{norm}/auc", curve["auc"], 0)
    figures = curve_figures(curve, classes, margins)
    if examples:
        figures["examples"] = example_figure(
            examples,
            classes=classes,
            norm=norm,
            bounds=report["attack"]["bounds"],
            dpi=200,
            units=Units.of(report["inputs"]),
            orientation=report["inputs"]["orientation"],
        )
    for name, figure in figures.items():
        writer.add_image(f"robustness/{norm}/{name}", as_image(figure), 0, dataformats="HWC")


def _check_table(checks: Iterable[Mapping[str, Any]]) -> str:
    words = {True: "passed", False: "**FAILED**", None: "not run"}
    rows = [(c["norm"], c["name"], words[c["passed"]], markdown_text(c["verdict"])) for c in checks]
    return markdown_table([("norm", "check", "", "verdict"), *rows])
