"""Which bundle trains on a data set, and with which settings: those that the data ask for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_ima.data.images import LEAST_KEPT
from monai_ima.data_report.facts import ImageFacts
from monai_ima.data_report.survey import Survey

_SIDE = 32  # voxels of 1 mm, of which volume_ima takes a cube
_MOST_SIDE = 64  # voxels; a training on twice as many takes eight times as long
_EIGHTH = 8


@dataclass(frozen=True)
class FittingBundle:
    """A bundle for a data set.

    Attributes:
        name: ``oct_ima`` for pictures and slices, ``volume_ima`` for volumes.
        settings: by name, those that are not as they are in the bundle.
        reasons: for some of these, why.
    """

    name: str
    settings: Mapping[str, Any]
    reasons: Mapping[str, str]


def fitting_bundle(survey: Survey, reading: Mapping[str, Any]) -> FittingBundle:
    """The bundle for what was read, with the settings that its training needs.

    Args:
        survey: the data set.
        reading: settings with which it was read, that a training must have as well.
    """
    facts = list(survey.facts.values())
    found = _of_volumes(facts) if survey.of_volumes else _of_pictures(facts)
    settings: dict[str, Any] = {"num_classes": len(survey.classes), **reading}
    reasons = {}
    for name, value, reason in found:
        settings[name] = value
        reasons[name] = reason
    return FittingBundle("volume_ima" if survey.of_volumes else "oct_ima", settings, reasons)


def _of_pictures(facts: Sequence[ImageFacts]) -> Iterable[tuple[str, Any, str]]:
    colour = sum(one.in_colour for one in facts)
    if 2 * colour > len(facts):
        yield "colour", True, f"{colour} of {len(facts)} images are in colour"
    oblong = [one.path for one in facts if min(one.size) / max(one.size) < LEAST_KEPT]
    if oblong:
        yield (
            "crop",
            False,
            f"a square in the middle is less than a quarter of {oblong[0]}: images are resized whole",
        )


def _of_volumes(facts: Sequence[ImageFacts]) -> Iterable[tuple[str, Any, str]]:
    """A box that holds the largest volume, of voxels that are no smaller than they have to be."""
    largest = np.max([one.extent for one in facts if one.extent], axis=0)
    if largest.max() <= _SIDE:
        return
    spacing = max(1.0, math.ceil(2 * float(largest.max()) / _MOST_SIDE) / 2)
    sides = [_EIGHTH * math.ceil(side / spacing / _EIGHTH) for side in largest.tolist()]
    said = " x ".join(f"{side:.0f}" for side in largest)
    yield (
        "image_size",
        sides,
        f"volumes are up to {said} mm, of which the middle {_SIDE} mm would be left; smaller is faster",
    )
    if spacing > 1:
        yield (
            "spacing",
            [spacing] * 3,
            f"that these are no more than {_MOST_SIDE} voxels; smaller voxels show more and take longer",
        )
