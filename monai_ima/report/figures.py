"""Figures of a run and of an evaluation, drawn off screen."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from monai_ima.report.palette import BLUE, GREEN, GREY, MARKERS, ORANGE, RED, SERIES, series

Curve: TypeAlias = Mapping[str, Any]  # one norm's part of robustness.json
Verdict: TypeAlias = tuple[str, str]  # what the model says, and its color

NORM_NAMES = {"linf": "L∞", "l2": "L2"}

_WIDTH = 5.2  # inches: text drawn at 10 points can still be read on a phone


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A sample as it is and attacked, with what the model says of both.

    Attributes:
        clean: ``(C, H, W)`` image, ``(C, D, H, W)`` volume or ``(C, L)`` signal.
        attacked: the same, attacked.
        clean_probabilities: ``(classes,)`` of the clean sample.
        attacked_probabilities: ``(classes,)`` of the attacked sample.
        label: true class index.
        margin: distance to the closest misclassified point found, infinite if there is none;
            ``None`` where it was not looked for.
        kind: why it is shown: ``"most fragile"``, ``"hardest to break"``.
        id: name of the sample.
        patient: name of the patient.
    """

    clean: Tensor
    attacked: Tensor
    clean_probabilities: Tensor
    attacked_probabilities: Tensor
    label: int
    margin: float | None = None
    kind: str = ""
    id: str = ""
    patient: str | None = None


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
    chance = 1 / len(curve["per_class"])
    axes.axhline(chance, color="0.75", lw=1, label=f"chance {chance:.2f}", zorder=0)
    _mark_median(axes, curve["median_margin"])
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
    figure, panels = _panels(len(shown))
    for axes, (key, name) in zip(panels, shown.items(), strict=True):
        for index, (label, values) in enumerate(zip(classes, curve[key], strict=True)):
            axes.plot(
                curve["eps"],
                _values(values),
                color=series(index),
                marker=MARKERS[index // len(SERIES) % len(MARKERS)],  # many classes are told apart
                markersize=4,
                label=_literal(label),
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
        median: half the samples lie below it; ``None`` if it is beyond the largest level.
    """
    figure, (axes,) = _panels(1)
    values = margins.detach().double().cpu().numpy()
    largest = eps[-1]
    beyond = values > largest * (1 + 1e-4)  # what rounding adds to a radius is not beyond it
    edges = np.linspace(0, largest, 25)
    counts, _ = np.histogram(np.minimum(values[~beyond], largest), edges)
    width = edges[1]
    axes.bar(edges[:-1], counts, width, align="edge", color=BLUE, ec="white", lw=0.5)
    axes.bar(
        largest + 2 * width, beyond.sum(), 2 * width, color="0.8", hatch="///", ec="white", lw=0
    )
    axes.axvline(largest, color="0.6", lw=1)
    _mark_median(axes, median)
    if median is not None:
        axes.legend(loc="upper right", fontsize="small", frameon=False)
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


def example_figure(
    examples: Sequence[Example],
    *,
    classes: Sequence[str],
    norm: str,
    bounds: tuple[float, float] | None,
    title: str = "",
) -> Figure:
    """Samples in rows: clean, the perturbation magnified, attacked, with what the model says.

    Of a volume the middle slice is shown. A signal is drawn as lines, attacked over clean, with
    the perturbation below.

    Args:
        examples: one or more, of one shape.
        classes: names of the classes.
        norm: name of the norm that margins are measured in.
        bounds: range of valid inputs, drawn from black to white; ``None``: each sample's own.
        title: above all.
    """
    is_signal = examples[0].clean.ndim < 3
    height = _signal_height if is_signal else _image_height
    figure = Figure(
        figsize=(_WIDTH, 0.3 * bool(title) + sum(height(example.clean) for example in examples)),
        dpi=120,
        layout="constrained",
    )
    if title:
        figure.suptitle(title, fontsize="medium")
    rows = figure.subfigures(len(examples), squeeze=False)[:, 0]
    for row, example in zip(rows, examples, strict=True):
        _caption(row, example, norm)
        truth = f"true: {_literal(classes[example.label])}"
        before, after = (
            _verdict(probabilities, example.label, classes)
            for probabilities in (example.clean_probabilities, example.attacked_probabilities)
        )
        if is_signal:
            _draw_signal(row, example, truth, before, after)
        else:
            _draw_images(row, example, truth, before, after, bounds)
    return figure


def as_image(figure: Figure) -> NDArray[np.uint8]:
    """The figure as ``(H, W, 3)`` pixels, for TensorBoard."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def as_svg(figure: Figure) -> bytes:
    """The figure as an SVG file, the same bytes for the same figure."""
    file = BytesIO()
    with mpl.rc_context({"svg.hashsalt": "monai_ima"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def as_png(figure: Figure, *, grey: bool) -> bytes:
    """The figure as a PNG file, the same bytes for the same figure.

    Args:
        figure: what to draw.
        grey: it shows grey pictures, for which a palette of 256 colors, half the bytes, is enough.
    """
    image = Image.fromarray(as_image(figure))
    if grey:
        image = image.quantize(method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    file = BytesIO()
    image.save(file, format="png", optimize=True)
    return file.getvalue()


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(_WIDTH, 0.9 + 2.7 * count), dpi=150, layout="constrained")
    panels = list(figure.subplots(count, squeeze=False)[:, 0])
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _draw_curve(axes: Axes, curve: Curve, color: str, label: str) -> None:
    axes.fill_between(curve["eps"], curve["low"], curve["high"], color=color, alpha=0.15, lw=0)
    axes.plot(curve["eps"], curve["accuracy"], "o-", color=color, label=label)


def _mark_median(axes: Axes, median: float | None) -> None:
    if median is not None:
        axes.axvline(median, color=RED, ls=":", label=f"median margin {median:.3g}")


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


def _literal(text: str) -> str:
    """Text as it is: no formula between dollars, and no leading underscore, which hides a line."""
    short = text if len(text) <= 28 else f"{text[:27]}…"
    return short.lstrip("_").replace("$", r"\$") or "_"


def _verdict(probabilities: Tensor, label: int, classes: Sequence[str]) -> Verdict:
    predicted = int(probabilities.argmax())
    text = f"{_literal(classes[predicted])} {float(probabilities[predicted]):.2f}"
    return text, GREEN if predicted == label else RED


def _caption(row: SubFigure, example: Example, norm: str) -> None:
    parts = [example.id[-40:]]
    if example.patient is not None:
        parts.append(f"patient {example.patient}")
    if example.margin is not None:
        distance = f"{example.margin:.3g} ({NORM_NAMES.get(norm, norm)})"
        parts.append("never broken" if math.isinf(example.margin) else f"margin {distance}")
    text = ", ".join(part for part in parts if part).replace("$", r"\$")
    if text:
        row.suptitle(textwrap.fill(text, 64), fontsize="small", x=0.02, ha="left", color=GREY)


def _gain(perturbation: NDArray[np.float64], span: float) -> tuple[float, str]:
    """Factor that makes the largest component half the range shown, and the words for it."""
    largest = np.abs(perturbation).max()
    if largest == 0:
        return 1.0, "no perturbation"
    gain = 0.5 * span / largest
    return gain, f"perturbation x {gain:.0f}" if gain >= 9.95 else f"perturbation x {gain:.1f}"


def _image_height(clean: Tensor) -> float:
    height, width = clean.shape[-2:]
    return 0.7 + 1.55 * min(max(height / width, 0.4), 2)


def _draw_images(
    row: SubFigure,
    example: Example,
    truth: str,
    before: Verdict,
    after: Verdict,
    bounds: tuple[float, float] | None,
) -> None:
    clean, attacked = (_picture(sample) for sample in (example.clean, example.attacked))
    low, high = bounds or (clean.min(), clean.max())
    span = (high - low) or 1.0
    gain, magnified = _gain(attacked - clean, span)
    columns = (
        ("clean", clean, before),
        (magnified, (low + high) / 2 + gain * (attacked - clean), ("", "black")),
        ("attacked", attacked, after),
    )
    for axes, (heading, image, (text, color)) in zip(row.subplots(1, 3), columns, strict=True):
        axes.imshow(np.clip((image - low) / span, 0, 1), cmap="gray", vmin=0, vmax=1)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(heading, fontsize="small")
        axes.set_xlabel(text, fontsize="small", color=color)
        if heading == "clean":
            axes.set_ylabel(truth, fontsize="small")


def _picture(sample: Tensor) -> NDArray[np.float64]:
    """``(H, W, 3)`` of three channels, else the first as ``(H, W)``; the middle slice of a volume."""
    values = sample.detach().double().cpu().numpy()
    if values.ndim > 3:
        values = values[:, values.shape[1] // 2]
    return np.moveaxis(values, 0, -1) if len(values) == 3 else values[0]


def _signal_height(clean: Tensor) -> float:
    channels = len(clean) if clean.ndim > 1 else 1
    return min(1.9 + 0.4 * channels, 8)


def _draw_signal(
    row: SubFigure, example: Example, truth: str, before: Verdict, after: Verdict
) -> None:
    clean, attacked = (
        np.atleast_2d(sample.detach().double().cpu().numpy())
        for sample in (example.clean, example.attacked)
    )
    spacing = np.ptp(clean, axis=1).max() or 1.0
    gain, magnified = _gain(attacked - clean, spacing)
    channels = len(clean)
    offsets = -spacing * np.arange(channels)[:, None]  # channels below one another
    heights = (2, 1) if channels == 1 else (1, 1)
    above, below = row.subplots(2, sharex=True, height_ratios=heights)
    above.plot((clean + offsets).T, color="0.65", lw=2)
    above.plot((attacked + offsets).T, color=after[1], lw=0.9)
    below.plot((gain * (attacked - clean) + offsets).T, color=GREY, lw=0.8)
    above.set_title(f"clean: {before[0]}", fontsize="small", color="0.45", loc="left")
    above.set_title(f"attacked: {after[0]}", fontsize="small", color=after[1], loc="right")
    above.set_ylabel(truth, fontsize="small")
    below.set_xlabel(magnified, fontsize="small")
    for axes in (above, below):
        axes.margins(x=0)
        axes.tick_params(labelsize="small")
    if channels > 1:
        above.set_yticks(clean[:, 0] + offsets[:, 0], range(1, channels + 1))
    below.set_yticks([])
