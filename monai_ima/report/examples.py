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

from monai_ima.report.change_map import Shown, draw_change_map, map_height
from monai_ima.report.drawing import ALONG, NORM_NAMES, WIDTH, literal, without_formula
from monai_ima.report.palette import GREEN, GREY, RED
from monai_ima.report.units import Units, rounded

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
    units: Units | None = None,
    orientation: str | None = None,
) -> Figure:
    """Samples in rows: clean, a map of the change with a scale, attacked, with what the model says.

    Of a volume the three planes that are changed most are shown, below one another. A signal is drawn
    as lines, attacked over clean, with the change below, larger, on a scale of its own. A sample for
    which nothing was found is drawn once.

    Args:
        examples: one or more, of one shape.
        classes: names of the classes.
        norm: name of the norm that margins are measured in.
        bounds: range of valid inputs, drawn from black to white; ``None``: each sample's own.
        title: above all.
        dpi: pixels of an inch; the figure is some five inches wide.
        units: of the data, in which changes are said; by default in units of the input.
        orientation: of a volume, the direction in which each of its axes rises, as ``"RAS"``, by which
            its planes are named and turned; ``None`` where it is not known.
    """
    is_signal = examples[0].clean.ndim < 3
    heights = [
        _signal_height(example.clean)
        if is_signal
        else 0.2 + map_height(_values(example.clean), _values(example.attacked), orientation)
        for example in examples
    ]
    figure = Figure(
        figsize=(WIDTH, 0.3 * bool(title) + sum(heights)), dpi=dpi, layout="constrained"
    )
    if title:
        figure.suptitle(title, fontsize="medium")
    rows = figure.subfigures(len(examples), squeeze=False, height_ratios=heights)[:, 0]
    for row, example in zip(rows, examples, strict=True):
        _caption(row, example, norm, classes)
        truth = f"true: {literal(classes[example.label])}"
        before, after = (
            _verdict(probabilities, example.label, classes)
            for probabilities in (example.clean_probabilities, example.attacked_probabilities)
        )
        if is_signal:
            _draw_signal(row, example, truth, before, after, units)
        else:
            draw_change_map(
                row,
                _values(example.clean),
                _values(example.attacked),
                before=Shown(heading="clean", text=before[0], color=before[1]),
                after=Shown(heading="attacked", text=after[0], color=after[1]),
                bounds=bounds or (float(example.clean.min()), float(example.clean.max())),
                units=units,
                orientation=orientation,
                side=truth,
            )
    return figure


def _values(sample: Tensor) -> NDArray[np.float64]:
    values: NDArray[np.float64] = sample.detach().double().cpu().numpy()
    return values


def _verdict(probabilities: Tensor, label: int, classes: Sequence[str]) -> Verdict:
    predicted = int(probabilities.argmax())
    text = f"{classes[predicted]} {float(probabilities[predicted]):.2f}"
    return text, GREEN if predicted == label else RED


def _caption(row: SubFigure, example: Example, norm: str, classes: Sequence[str]) -> None:
    parts = [example.id[-40:]]
    if example.patient is not None:
        parts.append(f"patient {example.patient}")
    if example.margin is not None:
        parts.append(_distance(example.margin, norm, example))
    said = [without_formula(part) for part in parts if part]
    if example.clean.ndim > 3:  # whose planes have their names where an image has its class
        said.append(f"true: {literal(classes[example.label])}")
    if text := ", ".join(said):
        row.suptitle(textwrap.fill(text, 64), fontsize="small", x=0.02, ha="left", color=GREY)


def _distance(margin: float, norm: str, example: Example) -> str:
    if not math.isinf(margin):
        return f"margin {rounded(margin)} ({NORM_NAMES.get(norm, norm)})"
    if int(example.attacked_probabilities.argmax()) == example.label:
        return "no error found at any level"
    # what is shown was made after the measurement, by PGD at the largest level
    return "counted as robust, yet PGD finds an error afterwards: the attack was too weak for it"


def _signal_height(clean: Tensor) -> float:
    channels = len(clean) if clean.ndim > 1 else 1
    return min(1.9 + 0.4 * channels, 8)


def _draw_signal(
    row: SubFigure,
    example: Example,
    truth: str,
    before: Verdict,
    after: Verdict,
    units: Units | None,
) -> None:
    clean, attacked = (
        np.atleast_2d(_values(sample)) for sample in (example.clean, example.attacked)
    )
    change, channels = attacked - clean, len(clean)
    is_changed = bool(change.any())
    spacing = np.ptp(clean, axis=1).max() or 1.0
    below_one_another = -np.arange(channels)[:, None]
    offsets = spacing * below_one_another
    heights = (2, 1) if channels == 1 else (1, 1)
    above, *below = row.subplots(
        1 + is_changed, sharex=True, squeeze=False, height_ratios=heights[: 1 + is_changed]
    )[:, 0]
    above.plot((clean + offsets).T, color="0.65", lw=2)
    above.set_title(f"clean: {literal(before[0])}", fontsize="small", color="0.45", loc="left")
    above.set_ylabel(truth, fontsize="small")
    if is_changed:
        scale, name = (
            (1.0, "units of the input") if units is None else (units.per_unit, units.brief)
        )
        above.plot((attacked + offsets).T, color=after[1], lw=0.9)
        above.set_title(
            f"attacked: {literal(after[0])}", fontsize="small", color=after[1], loc="right"
        )
        largest = float(np.abs(change).max())
        apart = 2 * largest * below_one_another
        below[0].plot(scale * (change + apart).T, color=GREY, lw=0.8)
        label = without_formula(f"the change, in {name}")
        if channels > 1:
            label += f"; at most {rounded(scale * largest, 2)}"
            below[0].set_yticks([])
        below[0].set_title(label, fontsize="small", color=GREY, loc="left")
        below[0].set_xlabel(ALONG, fontsize="small")
    for axes in (above, *below):
        axes.margins(x=0)
        axes.tick_params(labelsize="small")
    if channels > 1:
        above.set_yticks(clean[:, 0] + offsets[:, 0], range(1, channels + 1))
