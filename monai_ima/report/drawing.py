"""What all figures share: their width, names in them, and the files that they become."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

NORM_NAMES = {"linf": "L∞", "l2": "L2"}
WIDTH = 5.2  # inches: text drawn at 10 points can still be read on a phone


def literal(text: str) -> str:
    """Text as it is: no formula between dollars, and no leading underscore, which hides a line."""
    short = text if len(text) <= 28 else f"{text[:27]}…"
    return short.lstrip("_").replace("$", r"\$") or "_"


def most_changed(change: NDArray[np.float64]) -> tuple[int, ...]:
    """Along each axis the place whose plane is changed most, the middle where nothing is.

    Args:
        change: ``(C, D, H, W)`` of a volume. Single voxels say nothing: an attack in Linf changes
            nearly all by as much.
    """
    size = np.abs(change).sum(axis=0)
    if not size.any():
        return tuple(side // 2 for side in size.shape)
    others = [tuple(set(range(size.ndim)) - {axis}) for axis in range(size.ndim)]
    return tuple(int(size.sum(axis=axes).argmax()) for axes in others)


def planes(values: NDArray[np.float64], where: tuple[int, ...]) -> list[NDArray[np.float64]]:
    """``(C, H, W)`` through a place of a volume ``(C, D, H, W)``, one across each of its axes."""
    return [np.take(values, place, axis=1 + axis) for axis, place in enumerate(where)]


def plane_height(shape: Sequence[int]) -> float:
    """Inches of a plane ``(H, W)``, or of the three of a volume ``(D, H, W)`` below one another."""
    if len(shape) > 2:
        return sum(plane_height([*shape[:axis], *shape[axis + 1 :]]) for axis in range(3))
    height, width = shape
    return 1.55 * min(max(height / width, 0.4), 2)


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
