"""Settings with which a long training takes less, and how long it then takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monai_ima.planning.pilot import Times
from monai_ima.planning.training_parts import TrainingParts

LONG = 1800.0
"""Seconds, from which a training is long."""
_RARELY = 4  # epochs from one validation to the next
_LEAST_SIDE = 16  # pixels or voxels of an image at half its size


@dataclass(frozen=True)
class Quicker:
    """Settings that make a training take less.

    Attributes:
        settings: by name.
        seconds: that the training then takes, about.
        price: what is lost, in words.
    """

    settings: Mapping[str, Any]
    seconds: float
    price: str

    @property
    def words(self) -> str:
        """The settings as a command has them."""
        given = ((name, json.dumps(value)) for name, value in self.settings.items())
        return " ".join(
            f"--{name} {repr(value) if value[0] == '[' else value}" for name, value in given
        )


def quicker(parts: TrainingParts, times: Times, *, epochs: int) -> list[Quicker]:
    """What a long training can be spared; nothing for one that is not long.

    Validations and curves left out are what was measured less. Images of half the size have a fourth
    of the pixels, or an eighth of the voxels, and passes take as much less: on hippocampus volumes of
    48 x 56 x 48 a seventh was measured. On a GPU, which small images do not fill, it may be less.

    Args:
        parts: of the training.
        times: that its parts take.
        epochs: of it.
    """
    intervals = {
        name: int(parts[name]) for name in ("margin_interval", "val_interval", "robust_interval")
    }
    seconds = times.training(epochs=epochs, **intervals)
    if seconds < LONG:
        return []
    rarely = {"val_interval": max(_RARELY, intervals["val_interval"]), "robust_interval": 0}
    found = []
    if rarely != {name: intervals[name] for name in rarely}:
        found.append(
            Quicker(
                rarely,
                times.training(epochs=epochs, **{**intervals, **rarely}),
                "the network at the end is the same; the best epoch is chosen among fewer",
            )
        )
    size = parts["image_size"] if "image_size" in parts.parser else None
    if size and all(side % 2 == 0 and side // 2 >= _LEAST_SIDE for side in size):
        half: dict[str, Any] = {"image_size": [side // 2 for side in size]}
        if "spacing" in parts.parser:
            half["spacing"] = [2 * mm for mm in parts["spacing"]]
        share = "a fourth of the pixels" if len(size) == 2 else "an eighth of the voxels"
        found.append(
            Quicker(
                half, seconds / 2 ** len(size), f"{share}, which show less; plan anew with these"
            )
        )
    return found
