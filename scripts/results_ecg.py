"""Print every table of docs/results/ecg.md, from the runs in results/ecg.

    python scripts/results_ecg.py

The runs are made by ``monai-ima reproduce ecg``; their names say what was trained:

    random          the default size of bundles/ecg_ima, the paper's split
    inter_patient   the default size, no patient on two sides: --split inter_patient
    large           the largest training made, the paper's split
    unsampled       plain training on all beats in their natural proportions, whole test set
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from monai_ima.errors import RejectedError
from monai_ima.experiments import evaluated, read_results, results_figure
from monai_ima.experiments.result_tables import area_table, curve_table, spread
from monai_ima.experiments.results import by_method
from monai_ima.report import markdown_table
from monai_ima.robustness import confusion

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("random", "inter_patient", "large", "unsampled")
NORMS = ("linf", "l2")
SHOWN = {"linf": (0, 0.05, 0.1, 0.2), "l2": (0, 0.25, 0.5, 1)}


def main() -> None:
    """Print the tables, each under its name, and draw the figures beside the runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "ecg")
    results = parser.parse_args().results
    try:
        for name, norm in ((name, norm) for name in NAMES for norm in NORMS):
            if runs := read_results(results, name, norm):
                results_figure(runs, "balanced_accuracy").savefig(results / f"{name}_{norm}.png")
                for kind, text in tables(runs).items():
                    print(f"<!-- {name} {norm} {kind} -->\n{text}\n")
    except RejectedError as reason:
        parser.exit(2, f"results_ecg.py: {reason}\n")


def tables(runs: list[dict[str, Any]]) -> dict[str, str]:
    """All tables of runs that share data, size and norm."""
    return {
        "balanced": curve_table(runs, "balanced_accuracy"),
        "evaluated": evaluated(runs),
        "areas": area_table(runs, "balanced_accuracy"),
        "plain": plain_table(runs),
        "classes": class_table(runs),
    }


def plain_table(runs: list[dict[str, Any]]) -> str:
    """Accuracy in the natural proportions of the classes, a line a method."""
    levels = [f"{eps:g}" for eps in runs[0]["curve"]["eps"]]
    lines = [["method", *levels]]
    for method, same in by_method(runs).items():
        columns = zip(*(plain_accuracy(run).tolist() for run in same), strict=True)
        lines.append([method, *map(spread, columns)])
    return markdown_table(lines)


def class_table(runs: list[dict[str, Any]]) -> str:
    """Sensitivity and positive predictive value of each class at some levels, mean over the seeds."""
    curve, classes = runs[0]["curve"], runs[0]["classes"]
    columns = [curve["eps"].index(eps) for eps in SHOWN[runs[0]["norm"]]]
    heading = ["method", "class", "in the test"]
    heading += [f"{short} at {curve['eps'][c]:g}" for short in ("Se", "+P") for c in columns]
    lines = [heading]
    for method, same in by_method(runs).items():
        for number, name in enumerate(classes):
            counts = [sum(label == number for label in run["labels"]) for run in same]
            values = [
                averaged([per_class(run)[number, c].item() for run in same])
                for per_class in (sensitivity, positive_predictive_value)
                for c in columns
            ]
            lines.append([method, name, f"{mean(counts):.0f}", *values])
    return markdown_table(lines)


def averaged(values: list[float]) -> str:
    """Mean of those that are numbers: nobody may be given a class."""
    numbers = [value for value in values if not math.isnan(value)]
    return f"{mean(numbers):.3f}" if numbers else "none"


def given(run: dict[str, Any]) -> Tensor:
    """``(L, C, C)`` shares of each true class (rows) that are given each class, at each level."""
    labels = torch.tensor(run["labels"])
    margins = torch.tensor([torch.inf if m is None else m for m in run["margins"]])
    broken_as = torch.tensor([-1 if b is None else b for b in run["broken_as"]])
    columns = [torch.where(margins > eps, labels, broken_as) for eps in run["curve"]["eps"]]
    counts = confusion(torch.stack(columns, dim=1), labels, len(run["classes"])).double()
    return counts / counts.sum(dim=2, keepdim=True)


def sensitivity(run: dict[str, Any]) -> Tensor:
    """``(C, L)``."""
    return given(run).diagonal(dim1=1, dim2=2).T


def positive_predictive_value(run: dict[str, Any]) -> Tensor:
    """``(C, L)`` in the natural proportions of the classes, NaN where nobody is given a class."""
    proportions = given(run) * natural(run)[:, None]
    return (proportions.diagonal(dim1=1, dim2=2) / proportions.nansum(dim=1)).T


def plain_accuracy(run: dict[str, Any]) -> Tensor:
    """``(L,)`` in the natural proportions of the classes."""
    return (sensitivity(run) * natural(run)[:, None]).nansum(dim=0)


def natural(run: dict[str, Any]) -> Tensor:
    """``(C,)`` how frequent each class is in the whole test set."""
    return torch.tensor(run["settings"]["test_shares"], dtype=torch.float64)


if __name__ == "__main__":
    main()
