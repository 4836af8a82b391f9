"""The colors of all figures."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle

BLUE, ORANGE, GREEN, RED, GREY = "#1f5a85", "#b4581c", "#1d7f5f", "#b3261e", "#5f6b73"
PURPLE = "#6a3d9a"

# Okabe and Ito's colours, which most people tell apart, and two more.
SERIES = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"),
    *("#56b4e9", "#000000", "#888888", "#6a3d9a"),
)
MARKERS = "os^DvPX*<>"


def series(number: int) -> str:
    """Color of a line among many; the 10th has that of the first."""
    return SERIES[number % len(SERIES)]


def method_colors(methods: Iterable[str]) -> dict[str, str]:
    """A color for each training method: plain training grey, IMA red, the others as they come."""
    known = {"ce": "0.5", "ima": RED}
    others = cycle(color for color in SERIES if color not in ("#d55e00", "#888888"))
    return {method: known.get(method) or next(others) for method in methods}
