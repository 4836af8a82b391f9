"""Parts of a config in words, for a reader who knows no config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_ima.effective_config import EffectiveConfig

_STEPS = {  # what a step of the preprocessing does
    "LoadIntensityd": "read the file as intensities from 0 to 1",
    "CenterSquareCropd": "cut out the central square",
    "Resized": "resize",
    "Orientationd": "turn to an orientation",
    "Spacingd": "resample to a spacing in mm",
    "ResizeWithPadOrCropd": "crop or pad",
    "ScaleIntensityd": "scale the intensities",
    "ScaleIntensityRanged": "take a window of the intensities",
}


def part_in_words(*keys: str) -> str | None:
    """What a part is made of, with its main arguments; to be called by an expression in a config.

    Args:
        keys: places of the config; the first that has a part is told.

    Returns:
        A transform in its steps, anything else by its name; ``None`` where no place has a part.
    """
    config = EffectiveConfig()
    for key in keys:
        if key in config and config.raw(key) is not None:
            return in_words(config.values(key))
    return None


def in_words(part: Any) -> str:
    """A part, as :meth:`EffectiveConfig.values` gives it, in words.

    Example:
        >>> in_words({"_target_": "Resized", "keys": "image", "spatial_size": [64, 64]})
        'resize (Resized: spatial_size 64 x 64)'
    """
    if not isinstance(part, Mapping) or "_target_" not in part:
        return str(part)
    name = str(part["_target_"]).rpartition(".")[2]
    if name == "Compose":
        return ", then ".join(
            in_words(step)
            for step in part.get("transforms", [])
            if not (isinstance(step, Mapping) and step.get("_disabled_"))
        )
    told = [
        f"{key} {_value(value)}"
        for key, value in part.items()
        if value is not None and key != "keys" and not key.startswith("_")
    ]
    arguments = ", ".join(told)
    if name in _STEPS:
        return f"{_STEPS[name]} ({name}{arguments and f': {arguments}'})"
    return f"{name} ({arguments})" if arguments else name


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        numbers = all(isinstance(each, int) and not isinstance(each, bool) for each in value)
        return (" x " if numbers else ", ").join(map(_value, value))
    if isinstance(value, Mapping) and "_target_" in value:
        return in_words(value)
    return str(value)
