"""Noise levels in the units that the reader of a report knows: grey levels, Hounsfield units, millivolts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_GREY_LEVELS = 255  # from black to white, of an image of 8 bits


@dataclass(frozen=True)
class Units:
    """Units of the data.

    Attributes:
        name: of the unit, in the plural, as ``"grey levels of 255"``.
        per_unit: how many of them one unit of the network's inputs is.
        values: number of values of one input, as of its pixels.
    """

    name: str
    per_unit: float
    values: int

    @classmethod
    def of(cls, inputs: Mapping[str, Any]) -> Units | None:
        """Those of the part ``inputs`` of ``robustness.json``; ``None`` where they are not known."""
        units = inputs["units"]
        return None if units is None else cls(**units, values=math.prod(inputs["shape"]))

    def each(self, eps: float, norm: str) -> float:
        """A noise level as the change of every value, in these units.

        In L2 the change that, made to every value alike, has the level as its length: the root mean
        square of any noise of that length.
        """
        return eps * self.per_unit * (self.values**-0.5 if norm == "l2" else 1.0)

    def words(self, eps: float, norm: str) -> str:
        """The same with the name of the unit."""
        rounded = float(f"{self.each(eps, norm):.3g}")  # and 1000, not 1e+03
        return f"{rounded:g} {self.name}"


def image_units(
    bounds: Sequence[float] | None, intensity_range: Sequence[float] | str | None = None
) -> dict[str, Any] | None:
    """Units of images: those of the files where a window of them was taken, grey levels otherwise.

    Args:
        bounds: range of the network's inputs, from black to white; ``None`` where there is none.
        intensity_range: low and high of the window, in units of the files, that became that range.

    Returns:
        ``name`` and ``per_unit``; ``None`` without bounds.

    Example:
        >>> image_units([0, 1], [-160, 240])
        {'name': 'units of the files', 'per_unit': 400.0}
    """
    if bounds is None:
        return None
    low, high = map(float, bounds)
    if intensity_range is None or isinstance(intensity_range, str):
        return {"name": f"grey levels of {_GREY_LEVELS}", "per_unit": _GREY_LEVELS / (high - low)}
    darkest, brightest = map(float, intensity_range)
    return {"name": "units of the files", "per_unit": (brightest - darkest) / (high - low)}


def value_name(shape: Sequence[int]) -> str:
    """What a reader calls one value of an input of a shape ``(C, *)``.

    Example:
        >>> value_name((1, 64, 64))
        'pixel'
    """
    return {3: "pixel", 4: "voxel"}.get(len(shape), "value")


def size_in_words(shape: Sequence[int]) -> str:
    """The size of one input of a shape ``(C, *)``.

    Example:
        >>> size_in_words((3, 64, 48))
        '64 x 48 pixels in 3 channels'
    """
    channels, *sides = shape
    sides, channels = (sides, channels) if sides else ([channels], 1)
    size = f"{' x '.join(map(str, sides))} {value_name(shape)}s"
    return f"{size} in {channels} channels" if channels > 1 else size
