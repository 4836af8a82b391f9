"""What became of each class, in the proportions that the classes have where the test set comes from.

Runs are those of result files, whose settings say how frequent each class is there: ``test_shares``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from monai_ima.experiments.result_tables import spread
from monai_ima.experiments.results import by_method
from monai_ima.report import markdown_table
from monai_ima.robustness import confusion

Run = dict[str, Any]  # the content of a result file


def class_tables(runs: Sequence[Run], shown: Sequence[float]) -> dict[str, str]:
    """What is printed of classes after :func:`~monai_ima.experiments.tables`, by what it shows.

    Args:
        runs: as :func:`~monai_ima.experiments.read_results` reads them.
        shown: at which of their levels each class is.
    """
    return {"plain": plain_table(runs), "classes": class_table(runs, shown)}


def plain_table(runs: Sequence[Run]) -> str:
    """Accuracy in the natural proportions of the classes, a line a method."""
    levels = [f"{eps:g}" for eps in runs[0]["curve"]["eps"]]
    lines = [["method", *levels]]
    for method, same in by_method(runs).items():
        columns = zip(*(plain_accuracy(run).tolist() for run in same), strict=True)
        lines.append([method, *map(spread, columns)])
    return markdown_table(lines)


def class_table(runs: Sequence[Run], shown: Sequence[float]) -> str:
    """Sensitivity and positive predictive value of each class, mean over the seeds.

    Args:
        runs: as :func:`~monai_ima.experiments.read_results` reads them.
        shown: at which of their levels.
    """
    curve, classes = runs[0]["curve"], runs[0]["classes"]
    columns = [curve["eps"].index(eps) for eps in shown]
    heading = ["method", "class", "in the test"]
    heading += [f"{short} at {curve['eps'][c]:g}" for short in ("Se", "+P") for c in columns]
    lines = [heading]
    for method, same in by_method(runs).items():
        for number, name in enumerate(classes):
            counts = [sum(label == number for label in run["labels"]) for run in same]
            values = [
                _averaged([per_class(run)[number, c].item() for run in same])
                for per_class in (sensitivity, positive_predictive_value)
                for c in columns
            ]
            lines.append([method, name, f"{mean(counts):.0f}", *values])
    return markdown_table(lines)


def _averaged(values: list[float]) -> str:
    """Mean of those that are numbers: nobody may be given a class."""
    numbers = [value for value in values if not math.isnan(value)]
    return f"{mean(numbers):.3f}" if numbers else "none"


def _given(run: Run) -> Tensor:
    """``(L, C, C)`` shares of each true class (rows) that are given each class, at each level."""
    labels = torch.tensor(run["labels"])
    margins = torch.tensor([torch.inf if m is None else m for m in run["margins"]])
    broken_as = torch.tensor([-1 if b is None else b for b in run["broken_as"]])
    columns = [torch.where(margins > eps, labels, broken_as) for eps in run["curve"]["eps"]]
    counts = confusion(torch.stack(columns, dim=1), labels, len(run["classes"])).double()
    return counts / counts.sum(dim=2, keepdim=True)


def sensitivity(run: Run) -> Tensor:
    """``(C, L)``."""
    return _given(run).diagonal(dim1=1, dim2=2).T


def positive_predictive_value(run: Run) -> Tensor:
    """``(C, L)`` in the natural proportions of the classes, NaN where nobody is given a class."""
    proportions = _given(run) * _natural(run)[:, None]
    return (proportions.diagonal(dim1=1, dim2=2) / proportions.nansum(dim=1)).T


def plain_accuracy(run: Run) -> Tensor:
    """``(L,)`` in the natural proportions of the classes."""
    return (sensitivity(run) * _natural(run)[:, None]).nansum(dim=0)


def _natural(run: Run) -> Tensor:
    """``(C,)`` how frequent each class is in the whole test set."""
    return torch.tensor(run["settings"]["test_shares"], dtype=torch.float64)
