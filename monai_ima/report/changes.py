"""What would change the answer to a case, drawn over it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray
from torch import Tensor

from monai_ima.report.change_map import Shown, draw_change_map, map_height
from monai_ima.report.drawing import ALONG, WIDTH, literal, without_formula
from monai_ima.report.palette import GREY, RED
from monai_ima.report.units import Units

_SIGNAL = 2.9  # inches
_LINE = 0.17  # inches of a line of text
_TURNS = (
    "Changed: the nearest point found at which the model gives another answer. That is where the "
    "answer changes, so that both answers are about equally probable there, by construction (0.50 "
    "each of two classes). It is no sign of doubt about this case."
)
_SCREEN = (
    "R, L: the patient's right and left; A, P: front and back; H, F: head and feet. As on a "
    "radiologist's screen, the patient's right is at the left."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """A change of a case, and what the model says of the case with it.

    Attributes:
        caption: what is to be said of it, such as its size.
        inputs: ``(C, H, W)``, ``(C, D, H, W)`` or ``(C, L)``, the changed case.
        answer: of the changed case.
    """

    caption: str
    inputs: Tensor
    answer: str


def change_figure(
    inputs: Tensor,
    answer: str,
    changes: Sequence[Change],
    *,
    bounds: tuple[float, float],
    title: str,
    units: Units | None = None,
    orientation: str | None = None,
) -> Figure:
    """A case as it is, where it is changed, and with the change: a row for each.

    Of an image the change is a map with a scale over the case in faint grey, of a volume the same in
    the three planes that are changed most. A signal is drawn as lines, the changed one over it, and
    the difference below. Where no change was found, its caption says so, and the case is not drawn
    twice.

    Args:
        inputs: the case.
        answer: of the model.
        changes: one or more, of the shape of the case; the case itself where none was found.
        bounds: range of valid inputs, drawn from black to white.
        title: above all.
        units: of the data, in which changes are said; by default in units of the input.
        orientation: of a volume, the direction in which each of its axes rises, as ``"RAS"``, by which
            its planes are named and turned; ``None`` where it is not known.
    """
    found = [change for change in changes if not torch.equal(change.inputs, inputs)]
    missed = [change.caption for change in changes if torch.equal(change.inputs, inputs)]
    is_signal = inputs.ndim < 3
    drawn = found or [Change(caption="", inputs=inputs, answer="")]
    in_full = [] if units is None or units.name == units.brief else [f"Sizes are in {units.name}."]
    notes = [
        *in_full,
        *([_TURNS] if found else []),
        *([_SCREEN] if orientation and inputs.ndim > 3 else []),
    ]
    texts = [_wrapped(text) for text in missed], [_wrapped(text, 88) for text in notes]
    lines = sum(text.count("\n") + 1 for part in texts for text in part)
    heights = [
        _SIGNAL if is_signal else map_height(_values(inputs), _values(change.inputs), orientation)
        for change in drawn
    ]
    below = (lines + 1) * _LINE
    figure = Figure(figsize=(WIDTH, 0.5 + sum(heights) + below), dpi=120, layout="constrained")
    figure.suptitle(_wrapped(title), fontsize="medium")
    *rows, end = figure.subfigures(len(drawn) + 1, squeeze=False, height_ratios=[*heights, below])[
        :, 0
    ]
    for row, change in zip(rows, drawn, strict=True):
        if change.caption:
            caption = _wrapped(change.caption)
            row.suptitle(caption, fontsize="small", x=0.02, ha="left", color=GREY)
        clean, changed = _values(inputs), _values(change.inputs)
        if is_signal:
            _draw_signal(row, clean, changed, answer, change.answer, units)
        else:
            draw_change_map(
                row,
                clean,
                changed,
                before=Shown(heading="as it is", text=answer),
                after=Shown(heading="changed", text=change.answer),
                bounds=bounds,
                units=units,
                orientation=orientation,
            )
    said = "\n".join(texts[0] + texts[1])
    end.text(0.02, 0.98, said, fontsize="x-small", va="top", ha="left", color=GREY)
    return figure


def _values(sample: Tensor) -> NDArray[np.float64]:
    values: NDArray[np.float64] = sample.detach().double().cpu().numpy()
    return values


def _wrapped(text: str, width: int = 72) -> str:
    return without_formula(textwrap.fill(text, width))


def _draw_signal(
    row: SubFigure,
    clean: NDArray[np.float64],
    changed: NDArray[np.float64],
    before: str,
    after: str,
    units: Units | None,
) -> None:
    clean, changed = np.atleast_2d(clean), np.atleast_2d(changed)
    spacing = np.ptp(clean, axis=1).max() or 1.0
    offsets = -spacing * np.arange(len(clean))[:, None]  # channels below one another
    is_changed = bool((changed != clean).any())
    above, *below = row.subplots(
        2 if is_changed else 1, sharex=True, squeeze=False, height_ratios=(2, 1)[: 1 + is_changed]
    )[:, 0]
    above.plot((clean + offsets).T, color="0.65", lw=2)
    above.set_title(f"as it is: {literal(before)}", fontsize="small", color="0.45", loc="left")
    if is_changed:
        above.plot((changed + offsets).T, color=RED, lw=0.9)
        above.set_title(f"changed: {literal(after)}", fontsize="small", color=RED, loc="right")
        scale, name = (
            (1.0, "units of the input") if units is None else (units.per_unit, units.brief)
        )
        below[0].plot(scale * (changed - clean).T, color=GREY, lw=0.8)
        below[0].set_title(
            without_formula(f"the change, in {name}"), fontsize="small", color=GREY, loc="left"
        )
        below[0].set_xlabel(ALONG, fontsize="small")
    for axes in (above, *below):
        axes.margins(x=0)
        axes.tick_params(labelsize="small")
