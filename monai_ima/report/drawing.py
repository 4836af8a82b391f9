"""What all figures share: their width, names in them, and the files that they become."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

NORM_NAMES = {"linf": "L∞", "l2": "L2"}
ALONG = "place of the value in the signal"
WIDTH = 5.2  # inches: text drawn at 10 points can still be read on a phone


def literal(text: str) -> str:
    """Text as it is: no formula between dollars, and no underscore at its beginning, which hides a line.

    Of a long one both ends: names of classes may differ in either.
    """
    short = text if len(text) <= 28 else f"{text[:15]}…{text[-12:]}"
    return without_formula(f" {short}" if short.startswith("_") else short)


def literals(texts: Sequence[str]) -> list[str]:
    """Each of several texts as it is; those that are one where they are shortened, in full, in lines."""
    short = [literal(text) for text in texts]
    return [
        without_formula(textwrap.fill(text, 28))
        if short.count(drawn) > texts.count(text)
        else drawn
        for text, drawn in zip(texts, short, strict=True)
    ]


def without_formula(text: str) -> str:
    """Text in which a figure sees no formula between dollars; made once, or the backslash is drawn."""
    return text.replace("$", r"\$")


@contextmanager
def without_glyph_warnings() -> Iterator[None]:
    """Names in a script that the font lacks are boxes in a figure; the tables show them right."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        yield


def as_image(figure: Figure) -> NDArray[np.uint8]:
    """The figure as ``(H, W, 3)`` pixels, for TensorBoard."""
    canvas = FigureCanvasAgg(figure)
    with without_glyph_warnings():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def as_svg(figure: Figure) -> bytes:
    """The figure as an SVG file, the same bytes for the same figure."""
    file = BytesIO()
    with mpl.rc_context({"svg.hashsalt": "monai_ima"}), without_glyph_warnings():
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def as_png(figure: Figure) -> bytes:
    """The figure as a PNG file, the same bytes for the same figure."""
    file = BytesIO()
    Image.fromarray(as_image(figure)).save(file, format="png", optimize=True)
    return file.getvalue()
