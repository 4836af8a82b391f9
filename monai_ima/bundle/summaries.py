"""What a training and an evaluation say at their end."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from monai_ima.counts import counted
from monai_ima.handlers.weights_keeper import KEPT, kept_weights

_SHOWN = 20  # classes, of which each has a line


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
        lines += ["", *_sensitivity_lines(curve, report["classes"]), ""]
        lines.append(f"{'median':>12}  {_median_words(curve)}")
    lines += ["", *_check_lines(report["checks"])]
    if warning := report.get("warning"):
        lines.append(f"WARNING: {warning}")
    lines.append(
        f"{folder / 'report.html'}  the report; samples.xlsx (and .csv) has a row for each sample"
    )
    lines.append(f"tensorboard --logdir {shlex.quote(str(folder))}")
    return "\n".join(lines)


def _median_words(curve: dict[str, Any]) -> str:
    if curve["median_margin"] is not None:
        return f"margin {curve['median_margin']:.4g}"
    return "margin above all levels" if curve["accuracy"][0] else "of no sample: none is correct"


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
        head = f"DO NOT TRUST THIS CURVE: {counted(len(failed), 'check')} failed, {others}"
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
    by_patient = curve.get("patient_low") is not None
    ends = ("patient_low", "patient_high") if by_patient else ("low", "high")
    columns = (curve[name] for name in ("eps", "accuracy", *ends))
    epoch = f", epoch {curve['epoch']}" if "epoch" in curve else ""
    return [
        f"{'eps (' + curve['norm'] + ')':>12}  accuracy  95 % interval{' over patients' if by_patient else ''}",
        *(
            f"{eps:12g}  {accuracy:8.3f}  {low:.3f} to {high:.3f}"
            for eps, accuracy, low, high in zip(*columns, strict=True)
        ),
        f"{'area':>12}  {curve['auc']:8.3f}  (n = {curve['n']}{epoch})",
    ]


def _sensitivity_lines(curve: dict[str, Any], classes: list[str]) -> list[str]:
    """The share of each class that is recognised, clean and at each level."""
    # no row for the last classes if they have no sample
    rows = dict(zip(classes, curve["per_class"], strict=False))
    there = {name: row for name, row in rows.items() if row[0] is not None}
    worst = sorted(there, key=lambda name: there[name])[:_SHOWN]
    shown = [name for name in there if name in worst]
    width = max(12, *(len(name) for name in shown))
    head = "".join(f"  {eps:>6g}" for eps in curve["eps"])
    lines = [f"{'sensitivity':>{width}}{head}  at eps ({curve['norm']})"]
    for name in shown:
        values = "".join(f"  {value:>6.3f}" for value in there[name])
        never = "  never recognised" if there[name][0] == 0 else ""
        lines.append(f"{name:>{width}}{values}{never}")
    if len(there) > len(shown):
        lines.append(f"{'':>{width}}  of {len(there)} classes, the {_SHOWN} least recognised")
    if missing := [name for name in classes if name not in there]:
        named = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        lines.append(f"{'':>{width}}  without a sample: {named}")
    return lines


def summary(output_dir: str | Path) -> str:
    """The end of a run in words: its last curve as a table, and where everything was written.

    Args:
        output_dir: folder of the run.
    """
    folder = Path(output_dir)
    report = json.loads((folder / "robustness.json").read_text())
    curve = report["curves"][-1]
    lines = [*_finding_lines(report), "", *_curve_lines(curve)]
    lines += ["", *_sensitivity_lines(curve, report["classes"])]
    if warning := report.get("settings", {}).get("warning"):
        lines += ["", f"WARNING: {warning}"]
    lines.append("")
    lines.extend(
        f"{folder / name}  {what}"
        for name, what in {
            "model.pt": "weights after the last epoch, whose curve this is",
            "model_best.pt": "weights of the best epoch on the validation set",
            "checkpoint.pt": "everything that --resume true needs",
            "robustness.csv": "the curve; .xlsx for a spreadsheet, .json with classes and settings, .png the figure",
        }.items()
    )
    if kept := kept_weights(folder):
        lines.append(f"{folder / KEPT}  weights of {len(kept)} epochs, for monai-ima select")
    typed = shlex.quote(str(folder))
    lines.append(f"monai-ima evaluate {typed}  attacks it in both norms, and writes the report")
    lines.append(f"monai-ima export {typed}  writes it as a MONAI bundle, for monai-ima predict")
    lines.append(f"tensorboard --logdir {typed}")
    return "\n".join(lines)
