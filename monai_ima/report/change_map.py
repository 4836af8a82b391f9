"""A case as it is, a map of where and how much it is changed, and the changed case, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import SubFigure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from monai_ima.report.drawing import literal, without_formula
from monai_ima.report.palette import BLUE, GREY, PURPLE, RED
from monai_ima.report.units import Units, rounded
from monai_ima.report.views import View, views

_FAINT = 0.35  # of the case's contrast below the map, so that colours are those of the scale
_PAPER = "#e6e6e6"  # the mean of what is below, where nothing is changed
# Percentile of the changes at which a scale ends: one pixel should not make all others pale.
_END = 99
_SIGNED = LinearSegmentedColormap.from_list("signed", [BLUE, _PAPER, RED])
_UNSIGNED = LinearSegmentedColormap.from_list("unsigned", [_PAPER, PURPLE])
_BAR, _LABELS, _HEADER = 0.12, 0.55, 0.75  # inches


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One of both pictures of a case.

    Attributes:
        heading: above it.
        text: below it, as what the model says.
        color: of that text.
    """

    heading: str
    text: str
    color: str = "black"


def map_height(
    clean: NDArray[np.float64], changed: NDArray[np.float64], orientation: str | None
) -> float:
    """Inches that :func:`draw_change_map` takes for a case."""
    heights = [_height(view, clean) for view in views(changed - clean, orientation)]
    return _HEADER + sum(heights) + _BAR + _LABELS


def draw_change_map(
    row: SubFigure,
    clean: NDArray[np.float64],
    changed: NDArray[np.float64],
    *,
    before: Shown,
    after: Shown,
    bounds: tuple[float, float],
    units: Units | None = None,
    orientation: str | None = None,
    side: str = "",
) -> None:
    """Draw a case, the map of its change with a scale, and the changed case.

    The map lies over the case, in faint grey. Of one channel brighter is red and darker blue; of
    several, as of colours, it is the largest change of any of them, whatever its direction. The scale
    ends where 1 % of what is changed is changed by more. A case that is not changed is drawn once.

    Args:
        row: to draw in.
        clean: ``(C, H, W)`` image or ``(C, D, H, W)`` volume, of which the three planes that are
            changed most are shown.
        changed: the same, changed.
        before: what is said of the case as it is.
        after: what is said of it changed.
        bounds: range of values, drawn from black to white.
        units: of the data, in which the scale is; by default in units of the input.
        orientation: see :func:`~monai_ima.report.views.views`.
        side: what is written at the left of an image; a plane of a volume has its name there.
    """
    change = changed - clean
    shown = views(change, orientation)
    ratios = [_height(view, clean) for view in shown]
    if not change.any():
        cells = row.subplots(len(shown), 3, squeeze=False, height_ratios=ratios)
        for number, view in enumerate(shown):
            _draw_picture(cells[number, 0], view.of(clean), bounds, view)
            _say_at_side(cells[number, 0], view, side)
            for unused in cells[number, 1:]:
                unused.set_axis_off()
        cells[0, 0].set_title(before.heading, fontsize="small")
        cells[-1, 0].set_xlabel(literal(before.text), fontsize="small", color=before.color)
        return
    size = _size(change)
    values = np.abs(np.concatenate([_size(view.of(change)).ravel() for view in shown]))
    changes = values[values > 0] if values.any() else np.abs(size[size != 0])
    end = float(np.percentile(changes, _END))
    cells = row.subplots(len(shown) + 1, 3, squeeze=False, height_ratios=[*ratios, _BAR])
    for number, view in enumerate(shown):
        left, middle, right = cells[number]
        _draw_picture(left, view.of(clean), bounds, view)
        _draw_map(middle, view.of(clean), _size(view.of(change)) / end, bounds, view)
        _draw_picture(right, view.of(changed), bounds, view)
        _say_at_side(left, view, side)
    for place, (heading, column) in enumerate(
        ((before.heading, before), ("the change", None), (after.heading, after))
    ):
        cells[0, place].set_title(heading, fontsize="small")
        if column is not None:
            cells[-2, place].set_xlabel(literal(column.text), fontsize="small", color=column.color)
            cells[-1, place].set_axis_off()
    _draw_scale(cells[-1, 1], end, float(np.abs(size).max()), len(clean) == 1, units)


def _size(change: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of ``(C, *)``, the change of one channel with its sign, of several the largest without."""
    size: NDArray[np.float64] = change[0] if len(change) == 1 else np.abs(change).max(axis=0)
    return size


def _height(view: View, clean: NDArray[np.float64]) -> float:
    """Inches of a view."""
    height, width = view.of(clean).shape[1:]
    return float(1.55 * min(max(height / width, 0.4), 2.0))


def _grey(plane: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.float64]:
    """A plane ``(C, H, W)`` from 0, black, to 1, white: ``(H, W, 3)`` of three channels, else the first."""
    low, span = bounds[0], (bounds[1] - bounds[0]) or 1.0
    picture = np.moveaxis(plane, 0, -1) if len(plane) == 3 else plane[0]
    return np.clip((picture - low) / span, 0, 1)


def _draw_picture(
    axes: Axes, plane: NDArray[np.float64], bounds: tuple[float, float], view: View
) -> None:
    axes.imshow(_grey(plane, bounds), cmap="gray", vmin=0, vmax=1)
    _finish(axes, view)


def _draw_map(
    axes: Axes,
    plane: NDArray[np.float64],
    share: NDArray[np.float64],
    bounds: tuple[float, float],
    view: View,
) -> None:
    """The change as shares of the scale, over the plane in faint grey."""
    grey = _grey(plane, bounds)
    grey = grey.mean(axis=-1) if grey.ndim == 3 else grey  # red over a red lesion is not seen
    axes.imshow(1 - _FAINT * (1 - grey), cmap="gray", vmin=0, vmax=1)
    strongest = (RED, BLUE) if len(plane) == 1 else (PURPLE, PURPLE)
    colors = np.where(share[..., None] > 0, *(to_rgb(color) for color in strongest))
    axes.imshow(np.concatenate([colors, np.abs(share)[..., None].clip(0, 1)], axis=-1))
    _finish(axes, view)


def _say_at_side(axes: Axes, view: View, side: str) -> None:
    axes.set_ylabel(view.name.replace(", ", "\n") or side, fontsize="small")


def _finish(axes: Axes, view: View) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    places: Sequence[tuple[float, float, dict[str, Any]]] = (
        (0.03, 0.5, {"ha": "left", "va": "center"}),
        (0.97, 0.5, {"ha": "right", "va": "center"}),
        (0.5, 0.97, {"ha": "center", "va": "top"}),
        (0.5, 0.03, {"ha": "center", "va": "bottom"}),
    )
    for letter, (x, y, where) in zip(view.edges, places, strict=False):
        axes.text(
            *(x, y, letter),
            transform=axes.transAxes,
            color="#ffe14d",
            fontsize="x-small",
            fontweight="bold",
            path_effects=[withStroke(linewidth=1.6, foreground="black")],
            **where,
        )


def _draw_scale(
    axes: Axes, end: float, largest: float, is_signed: bool, units: Units | None
) -> None:
    per_unit, name = (1.0, "units of the input") if units is None else (units.per_unit, units.brief)
    low = -end if is_signed else 0.0
    is_beyond = largest > 1.01 * end
    beyond = ("both" if is_signed else "max") if is_beyond else "neither"
    bar = axes.figure.colorbar(
        ScalarMappable(Normalize(low, end), _SIGNED if is_signed else _UNSIGNED),
        cax=axes,
        orientation="horizontal",
        extend=beyond,
    )
    ticks = [low, 0.0, end] if is_signed else [0.0, end]
    labels = [rounded(tick * per_unit, 2) for tick in ticks]
    bar.set_ticks(ticks, labels=labels, fontsize="x-small")
    what = "darker (-) or brighter (+)" if is_signed else "largest change of a colour"
    label = without_formula(textwrap.fill(f"{what}, {name}", 34))
    bar.set_label(label, fontsize="x-small", color=GREY)
