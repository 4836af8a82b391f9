"""What would change the answer to a case, drawn over it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray
from torch import Tensor

from monai_ima.report.drawing import WIDTH, literal, most_changed, plane_height, planes
from monai_ima.report.palette import BLUE, GREY, RED

_OPAQUE = 0.7  # of the largest change, so that the image is seen below it


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
) -> Figure:
    """A case as it is, where it is changed, and with the change: a row for each.

    Brighter is red and darker blue, the stronger the more, over the case in grey. Of a volume, the three planes that are
    changed most are shown. A signal is drawn as lines, the changed one over it, and the difference below.

    Args:
        inputs: the case.
        answer: of the model.
        changes: one or more, of the shape of the case.
        bounds: range of valid inputs, drawn from black to white.
        title: above all.
    """
    is_signal = inputs.ndim < 3
    heights = 2.9 if is_signal else _image_height(inputs)
    figure = Figure(figsize=(WIDTH, 0.5 + heights * len(changes)), dpi=120, layout="constrained")
    figure.suptitle(_wrapped(title), fontsize="medium")
    rows = figure.subfigures(len(changes), squeeze=False)[:, 0]
    for row, change in zip(rows, changes, strict=True):
        row.suptitle(_wrapped(change.caption), fontsize="small", x=0.02, ha="left", color=GREY)
        draw = _draw_signal if is_signal else _draw_image
        draw(row, _values(inputs), _values(change.inputs), answer, change.answer, bounds)
    return figure


def _values(sample: Tensor) -> NDArray[np.float64]:
    values: NDArray[np.float64] = sample.detach().double().cpu().numpy()
    return values


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 72).replace("$", r"\$")


def _image_height(inputs: Tensor) -> float:
    return 0.75 + plane_height(inputs.shape[1:])


def _draw_image(
    row: SubFigure,
    clean: NDArray[np.float64],
    changed: NDArray[np.float64],
    before: str,
    after: str,
    bounds: tuple[float, float],
) -> None:
    low, span = bounds[0], bounds[1] - bounds[0]
    largest = np.abs((changed - clean).mean(axis=0)).max() or 1.0
    where = most_changed(changed - clean) if clean.ndim > 3 else ()
    cleans, changeds = (planes(each, where) if where else [each] for each in (clean, changed))
    cells = row.subplots(len(cleans), 3, squeeze=False)
    for place, (before_, after_) in enumerate(zip(cleans, changeds, strict=True)):
        change = (after_ - before_).mean(axis=0)
        colors = np.where(change[..., None] > 0, to_rgb(RED), to_rgb(BLUE))
        overlay = np.concatenate([colors, _OPAQUE * np.abs(change)[..., None] / largest], axis=-1)
        columns = (
            ("as it is", before_, before),
            ("the change", before_, "red brighter, blue darker"),
            ("changed", after_, after),
        )
        for axes, (heading, image, text) in zip(cells[place], columns, strict=True):
            picture = np.moveaxis(image, 0, -1) if len(image) == 3 else image[0]
            is_change = heading == "the change"
            if is_change and picture.ndim == 3:
                picture = picture.mean(axis=-1)  # red over a red lesion is not seen
            axes.imshow(np.clip((picture - low) / span, 0, 1), cmap="gray", vmin=0, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([])
            if is_change:
                axes.imshow(overlay)
            if place == 0:
                axes.set_title(heading, fontsize="small")
            if place == len(cleans) - 1:
                axes.set_xlabel(
                    literal(text), fontsize="small", color=GREY if is_change else "black"
                )
        if where:
            plane = f"plane {where[place] + 1} of {clean.shape[1 + place]}"
            cells[place, 0].set_ylabel(plane, fontsize="small")


def _draw_signal(
    row: SubFigure,
    clean: NDArray[np.float64],
    changed: NDArray[np.float64],
    before: str,
    after: str,
    bounds: tuple[float, float],
) -> None:
    del bounds  # a signal is drawn as large as it is
    clean, changed = np.atleast_2d(clean), np.atleast_2d(changed)
    spacing = np.ptp(clean, axis=1).max() or 1.0
    offsets = -spacing * np.arange(len(clean))[:, None]  # channels below one another
    above, below = row.subplots(2, sharex=True, height_ratios=(2, 1))
    above.plot((clean + offsets).T, color="0.65", lw=2)
    above.plot((changed + offsets).T, color=RED, lw=0.9)
    below.plot((changed - clean).T, color=GREY, lw=0.8)
    above.set_title(f"as it is: {literal(before)}", fontsize="small", color="0.45", loc="left")
    above.set_title(f"changed: {literal(after)}", fontsize="small", color=RED, loc="right")
    below.set_ylabel("change", fontsize="small")
    for axes in (above, below):
        axes.margins(x=0)
        axes.tick_params(labelsize="small")
