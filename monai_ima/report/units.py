"""Noise levels in the units that the reader of a report knows: grey levels, Hounsfield units, millivolts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_ima.data import TensorSamples
from monai_ima.data.image_formats import kind_of
from monai_ima.data.intensity import TAILS

_GREY_LEVELS = 255  # from black to white, of an image of 8 bits
_GREY = f"grey levels of {_GREY_LEVELS}"
_SHARE = "percent of the image's brightness range"
_PERCENTILES = f"{_SHARE} ({' to '.join(f'{100 * tail:g}th' for tail in TAILS)} percentile)"
_MINMAX = f"{_SHARE} (darkest to brightest value)"
_BEAT = "percent of the signal's range"
BEAT_UNITS = {"name": _BEAT, "per_unit": 100.0}
"""Units of heartbeats that are scaled by their own range or that of some seconds, as for :func:`image_units`."""


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

    @property
    def column(self) -> str:
        """What a column of a table in these units is called, as ``"grey_levels"``."""
        if self.name == _GREY:
            return "grey_levels"
        return "percent_of_range" if self.name.startswith((_SHARE, _BEAT)) else "data_units"

    @property
    def brief(self) -> str:
        """The name without what is said of it in brackets."""
        return self.name.partition(" (")[0]

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

    def words(self, eps: float, norm: str, *, brief: bool = False) -> str:
        """The same with the name of the unit, or its brief one."""
        number, name = rounded(self.each(eps, norm)), self.brief if brief else self.name
        return f"{number} {_singular(name) if number == '1' else name}"


def rounded(value: float, digits: int = 3) -> str:
    """A number to so many digits, without an exponent up to a million.

    Example:
        >>> rounded(1234.5), rounded(0.012345)
        ('1230', '0.0123')
    """
    return f"{float(f'{value:.{digits}g}'):g}"


def _singular(name: str) -> str:
    """The name of one unit: its noun has no s before what is said of it, and a name of a person keeps its."""
    return re.sub(r"\b([a-z]*[a-rt-z])s(?= of |$)", r"\1", name, count=1)


def image_units(
    bounds: Sequence[float] | None,
    intensity_range: Sequence[float] | str | None = None,
    samples: TensorSamples | Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any] | None:
    """Units of images: those of the files where a window of them was taken, otherwise grey levels.

    An image that was scaled by its own content, as MR and all volumes without a window are, has no
    unit: there it is a share of what became black to white.

    Args:
        bounds: range of the network's inputs, from black to white; ``None`` where there is none.
        intensity_range: what became that range: low and high of a window, in units of the files, or
            ``"percentiles"`` or ``"minmax"`` of each image.
        samples: whose ``image`` is the path of a file. Without a range, those of NIfTI and DICOM are
            scaled by themselves, from their darkest to their brightest value.

    Returns:
        ``name`` and ``per_unit``; ``None`` without bounds.

    Example:
        >>> image_units([0, 1], [-160, 240])
        {'name': 'units of the files', 'per_unit': 400.0}
    """
    if bounds is None:
        return None
    low, high = map(float, bounds)
    files = () if isinstance(samples, TensorSamples) else samples
    if intensity_range is None and any(map(_is_scaled_by_itself, files)):
        intensity_range = "minmax"
    match intensity_range:
        case None:
            name, black_to_white = _GREY, float(_GREY_LEVELS)
        case str():
            name, black_to_white = (
                _PERCENTILES if intensity_range == "percentiles" else _MINMAX,
                100.0,
            )
        case _:
            darkest, brightest = map(float, intensity_range)
            name, black_to_white = "units of the files", brightest - darkest
    return {"name": name, "per_unit": black_to_white / (high - low)}


def _is_scaled_by_itself(sample: Mapping[str, Any]) -> bool:
    image = sample.get("image")
    return isinstance(image, str | Path) and kind_of(Path(image)) != "picture"


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
