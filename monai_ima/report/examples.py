"""Examples: samples as they are and attacked, with what the model says of both."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray
from torch import Tensor

from monai_ima.report.drawing import (
    NORM_NAMES,
    WIDTH,
    literal,
    most_changed,
    plane_height,
    planes,
)
from monai_ima.report.palette import GREEN, GREY, RED

Verdict: TypeAlias = tuple[str, str]  # what the model says, and its color


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


def example_figure(
    examples: Sequence[Example],
    *,
    classes: Sequence[str],
    norm: str,
    bounds: tuple[float, float] | None,
    title: str = "",
    dpi: int = 120,
) -> Figure:
    """Samples in rows: clean, the perturbation magnified, attacked, with what the model says.

    Of a volume the three planes that are changed most are shown, below one another, and the caption
    says which. A signal is drawn as lines, attacked over clean, with the
    perturbation below.

    Args:
        examples: one or more, of one shape.
        classes: names of the classes.
        norm: name of the norm that margins are measured in.
        bounds: range of valid inputs, drawn from black to white; ``None``: each sample's own.
        title: above all.
        dpi: pixels of an inch; the figure is some five inches wide.
    """
    is_signal = examples[0].clean.ndim < 3
    height = _signal_height if is_signal else _image_height
    figure = Figure(
        figsize=(WIDTH, 0.3 * bool(title) + sum(height(example.clean) for example in examples)),
        dpi=dpi,
        layout="constrained",
    )
    if title:
        figure.suptitle(title, fontsize="medium")
    rows = figure.subfigures(len(examples), squeeze=False)[:, 0]
    for row, example in zip(rows, examples, strict=True):
        _caption(row, example, norm)
        truth = f"true: {literal(classes[example.label])}"
        before, after = (
            _verdict(probabilities, example.label, classes)
            for probabilities in (example.clean_probabilities, example.attacked_probabilities)
        )
        if is_signal:
            _draw_signal(row, example, truth, before, after)
        else:
            _draw_images(row, example, truth, before, after, bounds)
    return figure


def _verdict(probabilities: Tensor, label: int, classes: Sequence[str]) -> Verdict:
    predicted = int(probabilities.argmax())
    text = f"{literal(classes[predicted])} {float(probabilities[predicted]):.2f}"
    return text, GREEN if predicted == label else RED


def _caption(row: SubFigure, example: Example, norm: str) -> None:
    parts = [example.id[-40:]]
    if example.patient is not None:
        parts.append(f"patient {example.patient}")
    if example.margin is not None:
        distance = f"{example.margin:.3g} ({NORM_NAMES.get(norm, norm)})"
        parts.append("never broken" if math.isinf(example.margin) else f"margin {distance}")
    text = ", ".join(part for part in parts if part).replace("$", r"\$")
    if example.clean.ndim > 3:
        text = f"{text}, planes through voxel {most_changed(_changed(example))}"
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
    return 0.7 + plane_height(clean.shape[1:])


def _draw_images(
    row: SubFigure,
    example: Example,
    truth: str,
    before: Verdict,
    after: Verdict,
    bounds: tuple[float, float] | None,
) -> None:
    cleans, attackeds = (_pictures(sample, example) for sample in (example.clean, example.attacked))
    low, high = bounds or (float(example.clean.min()), float(example.clean.max()))
    span = (high - low) or 1.0
    gain, magnified = _gain(_changed(example), span)
    cells = row.subplots(len(cleans), 3, squeeze=False)
    for place, (clean, attacked) in enumerate(zip(cleans, attackeds, strict=True)):
        columns = (
            ("clean", clean, before),
            (magnified, (low + high) / 2 + gain * (attacked - clean), ("", "black")),
            ("attacked", attacked, after),
        )
        for axes, (heading, image, (text, color)) in zip(cells[place], columns, strict=True):
            axes.imshow(np.clip((image - low) / span, 0, 1), cmap="gray", vmin=0, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([])
            if place == 0:
                axes.set_title(heading, fontsize="small")
            if place == len(cleans) - 1:
                axes.set_xlabel(text, fontsize="small", color=color)
            if heading == "clean" and place == len(cleans) // 2:
                axes.set_ylabel(truth, fontsize="small")


def _changed(example: Example) -> NDArray[np.float64]:
    difference = example.attacked.detach().double() - example.clean.detach().double()
    return difference.cpu().numpy()


def _pictures(sample: Tensor, example: Example) -> list[NDArray[np.float64]]:
    """``(H, W, 3)`` of three channels, else the first as ``(H, W)``; of a volume three planes."""
    values = sample.detach().double().cpu().numpy()
    shown = planes(values, most_changed(_changed(example))) if values.ndim > 3 else [values]
    return [np.moveaxis(plane, 0, -1) if len(plane) == 3 else plane[0] for plane in shown]


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
