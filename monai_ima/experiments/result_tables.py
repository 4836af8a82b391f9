"""Results of one size and norm as tables and as a figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean
from typing import Any

import torch
from matplotlib.figure import Figure

from monai_ima.experiments.areas import area, differences_of_areas, half_widths, interval_unit
from monai_ima.experiments.results import by_method, evaluated
from monai_ima.report import NORM_NAMES, markdown_table
from monai_ima.report.palette import method_colors
from monai_ima.robustness import percentile_interval
from monai_ima.robustness.uncertainty import ENOUGH_PATIENTS

Runs = Sequence[dict[str, Any]]


def tables(runs: Runs, accuracy: str) -> dict[str, str]:
    """All that is printed of runs of one name and norm, by what it shows.

    Args:
        runs: as :func:`~monai_ima.experiments.read_results` reads them.
        accuracy: ``"accuracy"`` or ``"balanced_accuracy"``, of which the areas are as well.
    """
    return {
        "curves": curve_table(runs, accuracy),
        "evaluated": evaluated(runs),
        "areas": area_table(runs, accuracy),
    }


def curve_table(runs: Runs, accuracy: str) -> str:
    """The paper's table: accuracy at each level, a line a method.

    Mean and range over its seeds; of one run, with :func:`~monai_ima.experiments.areas.half_widths`.
    """
    unit = interval_unit(runs)
    levels = [f"{eps:g}" for eps in runs[0]["curve"]["eps"]]
    lines = [["method", "runs", *levels, "area", "minutes"]]
    for method, same in by_method(runs).items():
        columns = list(zip(*(run["curve"][accuracy] for run in same), strict=True))
        cells = [spread(column) for column in columns]
        if len(same) == 1 and unit:
            halves = half_widths(same[0], accuracy, unit).tolist()
            cells = [f"{cell} ± {half:.3f}" for cell, half in zip(cells, halves, strict=True)]
        areas = [area(run, accuracy) for run in same]
        lines.append([method, str(len(same)), *cells, spread(areas), _minutes(same)])
    return markdown_table(lines)


def _minutes(runs: Runs) -> str:
    """Mean time of the trainings; of one that was cut off it is not known."""
    seconds = [run["seconds"] for run in runs]
    return "unknown" if None in seconds else f"{mean(seconds) / 60:.1f}"


def area_table(runs: Runs, accuracy: str) -> str:
    """Area under IMA's curve less that of each other method, on the same samples, and its interval.

    Seed by seed the same patients, or samples, are drawn for both; the mean over the seeds is what
    varies.
    """
    methods, unit = by_method(runs), interval_unit(runs)
    ours = {run["seed"]: run for run in methods.get("ima", [])}
    drawn = f"over {unit}, " if unit else ""
    heading = f"95 % interval {drawn}of these trainings"
    lines = [["IMA less", "seeds", "area", heading]]
    for method, theirs in methods.items():
        pairs = [(ours[run["seed"]], run) for run in theirs if run["seed"] in ours]
        if method == "ima" or not pairs:
            continue
        found = [differences_of_areas(*pair, accuracy, unit) for pair in pairs]
        areas = torch.stack(found).mean(dim=0)
        interval = f"none: fewer than {ENOUGH_PATIENTS} patients"
        if unit:
            low, high = percentile_interval(areas[1:]).tolist()
            interval = f"{low:+.3f} to {high:+.3f}"
        lines.append([method, str(len(pairs)), f"{areas[0].item():+.3f}", interval])
    return markdown_table(lines) if len(lines) > 1 else ""  # nothing to compare


def spread(values: Iterable[float]) -> str:
    """Mean, and the range where there is more than one value.

    Example:
        >>> spread([0.5, 0.25])
        '0.375 (0.250 to 0.500)'
    """
    values = list(values)
    shown = [f"{value:.3f}" for value in (mean(values), min(values), max(values))]
    average, low, high = ("0.000" if text == "-0.000" else text for text in shown)
    return average if len(values) == 1 else f"{average} ({low} to {high})"


def results_figure(runs: Runs, accuracy: str) -> Figure:
    """Accuracy against the noise level, a line a method, with the range over its seeds."""
    figure = Figure(figsize=(6.4, 4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    methods = by_method(runs)
    colors = method_colors(methods)
    for method, same in methods.items():
        curves = torch.tensor([run["curve"][accuracy] for run in same], dtype=torch.float64)
        eps = same[0]["curve"]["eps"]
        width, color = 2.2 if method == "ima" else 1.2, colors[method]
        axes.plot(eps, curves.mean(dim=0), "o-", ms=3, lw=width, color=color, label=method)
        low, high = curves.amin(dim=0), curves.amax(dim=0)
        axes.fill_between(eps, low, high, color=color, alpha=0.15, lw=0)
    axes.set_xlabel(f"noise level ({NORM_NAMES[runs[0]['norm']]})")
    axes.set_ylabel(accuracy.replace("_", " ") + " under attack")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure
