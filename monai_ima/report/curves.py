"""Figures of a robustness curve, drawn off screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from monai_ima.report.drawing import NORM_NAMES, WIDTH, literals
from monai_ima.report.palette import BLUE, MARKERS, ORANGE, RED, SERIES, series
from monai_ima.report.units import rounded

Curve: TypeAlias = Mapping[str, Any]  # one norm's part of robustness.json


def curve_figure(curves: Mapping[int, Curve]) -> Figure:
    """Accuracy against the noise level: the last epoch with its interval, earlier ones in grey.

    Args:
        curves: epoch to ``RobustnessCurve.to_dict()``, in order.
    """
    figure = Figure(figsize=(5.2, 3.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    *earlier, last = curves
    for epoch in earlier:
        axes.plot(curves[epoch]["eps"], curves[epoch]["accuracy"], color="0.8", lw=1)
    if earlier:
        label = "epoch " + ", ".join(map(str, earlier))
        axes.plot([], [], color="0.8", lw=1, label=label if len(earlier) < 6 else "earlier epochs")
    curve = curves[last]
    _draw_curve(axes, curve, RED, f"epoch {last}, with 95 % interval, n = {curve['n']}")
    axes.annotate(
        f"clean {curve['accuracy'][0]:.3f}",
        (0, curve["accuracy"][0]),
        xytext=(8, 8),
        textcoords="offset points",
        color=RED,
    )
    _level_axis(axes, curve)
    _fraction_axis(axes, "accuracy under attack")
    axes.set_title(f"Robustness, area under the curve {curve['auc']:.3f}", fontsize="medium")
    axes.legend(loc="upper right", fontsize="small", frameon=False)
    return figure


def curve_figures(curve: Curve, classes: Sequence[str], margins: Tensor) -> dict[str, Figure]:
    """All figures of one norm, by name: what the report and TensorBoard show.

    Args:
        curve: one norm's part of ``robustness.json``.
        classes: names of the classes.
        margins: ``(N,)`` of the correctly classified samples.
    """
    figures = {
        "curve": robustness_figure(curve),
        "classes": class_figure(curve, classes),
        "margins": margin_figure(margins, curve["eps"], curve["median_margin"]),
    }
    if curve["white_noise"] is not None:
        figures["white_noise"] = white_noise_figure(curve)
    return figures


def robustness_figure(curve: Curve, label: str = "accuracy") -> Figure:
    """Accuracy against the noise level with its intervals, balanced accuracy, chance and median.

    Args:
        curve: one norm's curve.
        label: name of the line.
    """
    figure, (axes,) = _panels(1)
    eps = np.array(curve["eps"])
    _draw_curve(axes, curve, BLUE, f"{label}, band 95 %")
    if curve["patient_low"] is not None:
        axes.vlines(
            eps,
            curve["patient_low"],
            curve["patient_high"],
            color=BLUE,
            lw=1,
            label="95 % over patients",
        )
    axes.plot(
        eps, _values(curve["balanced_accuracy"]), "--", color=ORANGE, label="balanced accuracy"
    )
    # of the classes that there are samples of, whose mean the balanced accuracy is
    chance = 1 / sum(levels[0] is not None for levels in curve["per_class"])
    axes.axhline(chance, color="0.75", lw=1, label=f"chance {chance:.2f}", zorder=0)
    _mark_median(axes, curve["median_margin"], curve["eps"][-1])
    _level_axis(axes, curve)
    _fraction_axis(axes, "accuracy under attack")
    _legend_below(figure, axes)
    return figure


def class_figure(curve: Curve, classes: Sequence[str]) -> Figure:
    """Sensitivity, specificity and positive predictive value of each class, from top to bottom.

    Args:
        curve: one norm's curve.
        classes: names of the classes.
    """
    shown = {
        "per_class": "sensitivity",
        "specificity": "specificity",
        "positive_predictive_value": "pos. predictive value",
    }
    names = literals(list(classes))
    figure, panels = _panels(len(shown))
    for axes, (key, name) in zip(panels, shown.items(), strict=True):
        for index, (label, values) in enumerate(zip(names, curve[key], strict=True)):
            axes.plot(
                curve["eps"],
                _values(values),
                color=series(index),
                marker=MARKERS[index // len(SERIES) % len(MARKERS)],  # many classes are told apart
                markersize=4,
                label=label,
            )
        _fraction_axis(axes, f"{name} under attack")
        _level_axis(axes, curve)
    for axes in panels[:-1]:
        axes.set_xlabel("")
    _legend_below(figure, panels[0])
    return figure


def margin_figure(margins: Tensor, eps: Sequence[float], median: float | None) -> Figure:
    """Histogram of the margins, with a bar at the right for those beyond the largest level.

    Args:
        margins: ``(N,)`` of the correctly classified samples, infinite where none was found.
        eps: ``(L,)`` levels of the curve.
        median: half the samples lie below it, or at it; ``None`` if half were never broken.
    """
    figure, (axes,) = _panels(1)
    values = margins.detach().double().cpu().numpy()
    largest = eps[-1]
    beyond = values > largest
    edges = np.linspace(0, largest, 25)
    counts, _ = np.histogram(np.minimum(values[~beyond], largest), edges)
    width = edges[1]
    axes.bar(edges[:-1], counts, width, align="edge", color=BLUE, ec="white", lw=0.5)
    axes.bar(
        largest + 2 * width, beyond.sum(), 2 * width, color="0.8", hatch="///", ec="white", lw=0
    )
    axes.axvline(largest, color="0.6", lw=1)
    _mark_median(axes, median, largest)
    if median is not None:
        _legend_below(figure, axes)  # within the axes it lies on the line
    axes.set_xlim(0, largest + 3.5 * width)
    axes.set_ylim(0, 1.15 * max(1, *counts, beyond.sum()))
    ticks = edges[::6]
    axes.set_xticks([*ticks, largest + 2 * width], [*(f"{tick:.4g}" for tick in ticks), "beyond"])
    axes.get_xticklabels()[-2].set_horizontalalignment("right")
    axes.set_xlabel("margin, in units of the input")
    axes.set_ylabel("correctly classified samples")
    axes.set_title(
        f"{beyond.sum()} of {len(values)} robust at every level", fontsize="medium", loc="left"
    )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def white_noise_figure(curve: Curve) -> Figure:
    """Share of the correctly classified samples that white noise flips, beside the attack's.

    Args:
        curve: one norm's curve, with white noise.
    """
    figure, (axes,) = _panels(1)
    eps, noise = curve["eps"], curve["white_noise"]
    for kind, color in (("uniform", BLUE), ("gaussian", ORANGE)):
        axes.plot(
            eps,
            _values(noise[kind]["samples"]),
            "o-",
            color=color,
            markersize=4,
            label=f"{kind}, any of {noise['draws']} draws",
        )
        axes.plot(
            eps, _values(noise[kind]["draws"]), "--", color=color, label=f"{kind}, of all draws"
        )
    accuracy = np.array(curve["accuracy"])
    if accuracy[0] > 0:
        flipped = 1 - accuracy / accuracy[0]
        axes.plot(eps, flipped, color="0.75", lw=1, label="by the attack, for comparison", zorder=0)
    _level_axis(axes, curve)
    _fraction_axis(axes, "share flipped")
    _legend_below(figure, axes)
    return figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, 0.9 + 2.7 * count), dpi=150, layout="constrained")
    panels = list(figure.subplots(count, squeeze=False)[:, 0])
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _draw_curve(axes: Axes, curve: Curve, color: str, label: str) -> None:
    axes.fill_between(curve["eps"], curve["low"], curve["high"], color=color, alpha=0.15, lw=0)
    axes.plot(curve["eps"], curve["accuracy"], "o-", color=color, label=label)


def _mark_median(axes: Axes, median: float | None, largest: float) -> None:
    """A line at the median; where it lies beyond the largest level, its name alone."""
    if median is None:
        return
    label = f"median margin {rounded(median)}"
    if median <= largest:
        axes.axvline(median, color=RED, ls=":", label=label)
    else:
        axes.plot([], [], color=RED, ls=":", label=f"{label}, beyond the levels")


def _level_axis(axes: Axes, curve: Curve) -> None:
    norm = NORM_NAMES.get(curve["norm"], curve["norm"])
    axes.set_xlabel(f"noise level ({norm} radius, in units of the input)")
    axes.set_xlim(left=-0.02 * curve["eps"][-1])
    axes.xaxis.set_major_formatter("{x:g}")


def _fraction_axis(axes: Axes, name: str) -> None:
    axes.set_ylabel(name)
    axes.set_ylim(-0.02, 1.08)
    axes.grid(alpha=0.3)


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    columns = max(1, min(6, 74 // (8 + max(map(len, labels)))))
    figure.legend(
        handles,
        labels,
        loc="outside lower left",
        ncols=columns,
        fontsize=8.8,
        frameon=False,
    )


def _values(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)  # None becomes NaN, where a line has a gap
