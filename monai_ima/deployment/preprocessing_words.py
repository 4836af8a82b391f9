"""What is done to a file before it goes into the network, in words, with the values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from monai_ima.data.intensity import TAILS

_DIRECTIONS = {
    "R": "the patient's right",
    "L": "the patient's left",
    "A": "the front",
    "P": "the back",
    "S": "the head",
    "I": "the feet",
}
_SAYS_NOTHING = ("EnsureTyped", "ToTensord")  # of the image itself
_NO_VALUES = ("_target_", "keys", "allow_missing_keys")


def preprocessing_in_words(preprocessing: Any) -> list[str]:
    """Each step of a preprocessing, in its order.

    Args:
        preprocessing: as a config has it, with plain values: a transform, or a ``Compose`` of several.

    Returns:
        A sentence for each transform that is known here; others by their name and arguments, and what
        is no transform as it is written.
    """
    return list(_steps(preprocessing))


def _steps(part: Any) -> Iterator[str]:
    if not isinstance(part, Mapping):
        yield f"`{part}`"
    elif isinstance(part.get("transforms"), list):
        for step in part["transforms"]:
            yield from _steps(step)
    else:
        name = str(part.get("_target_", "")).rpartition(".")[2]
        if name in _WORDS:
            yield _WORDS[name](part)
        elif name not in _SAYS_NOTHING:
            values = [f"{key}: {value}" for key, value in part.items() if key not in _NO_VALUES]
            yield f"`{name}`" + (f" ({', '.join(values)})" if values else "")


def _read(part: Mapping[str, Any]) -> str:
    colour = "in colour (red, green, blue)" if part.get("colour") else "in grey"
    nan = part.get("nan_value")
    missing = "" if nan is None else f"; missing values (NaN) become {nan:g}"
    return f"read {colour}, {_intensities(part.get('intensity_range'))}{missing}"


def _intensities(given: Any) -> str:
    by_itself = "each image by itself"
    match given:
        case None:
            return (
                "pictures with the whole range of their bits from 0 (black) to 1 (white), NIfTI and "
                f"DICOM {by_itself}, from its darkest (0) to its brightest value (1)"
            )
        case "minmax":
            return f"{by_itself}, from its darkest (0) to its brightest value (1)"
        case "percentiles":
            low, high = (f"{100 * tail:g}th" for tail in TAILS)
            return f"{by_itself}, from its {low} (0) to its {high} percentile (1), beyond which values are cut off"
        case [low, high]:
            return (
                f"values from {low:g} (0) to {high:g} (1) in the units of the file, such as Hounsfield "
                "units of CT, beyond which they are cut off"
            )
    return f"intensities by {given}"


def _orientation(part: Mapping[str, Any]) -> str:
    axcodes = part.get("axcodes")
    if not isinstance(axcodes, str) or not set(axcodes) <= set(_DIRECTIONS):
        return f"turned to the orientation {axcodes}"
    ways = ", ".join(_DIRECTIONS[letter] for letter in axcodes)
    return f"turned to the orientation {axcodes}: its axes rise to {ways}"


def _by(value: Any) -> str:
    return (
        " x ".join(f"{each:g}" for each in value) if isinstance(value, list | tuple) else str(value)
    )


_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "LoadIntensityd": _read,
    "Orientationd": _orientation,
    "Spacingd": lambda part: f"resampled to a spacing of {_by(part.get('pixdim'))} mm",
    "CenterSquareCropd": lambda _: (
        "cropped around its middle to equal sides, the shortest of the image"
    ),
    "CenterSpatialCropd": lambda part: f"cropped around its middle to {_by(part.get('roi_size'))}",
    "ResizeWithPadOrCropd": lambda part: (
        f"cropped or padded around its middle to {_by(part.get('spatial_size'))}"
    ),
    "Resized": lambda part: f"resized to {_by(part.get('spatial_size'))}",
    "ScaleIntensityRanged": lambda part: (
        f"values from {part.get('a_min')} to {part.get('a_max')} become {part.get('b_min')} to "
        f"{part.get('b_max')}{', beyond which they are cut off' if part.get('clip') else ''}"
    ),
}
