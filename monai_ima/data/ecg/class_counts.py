"""Whether every class has enough beats to be learnt and tested, under each of the splits."""

from __future__ import annotations

from typing import NamedTuple

from monai_ima.data.ecg.dataset import EcgBeats
from monai_ima.data.ecg.split import DS1, DS2, PACED, PROTOCOLS, split_beats

FEWEST = 10
"""Beats of a class in a set: one of fewer moves its sensitivity by more than a tenth."""


class SmallClass(NamedTuple):
    """A class with few beats, or none, in one of the sets.

    Attributes:
        name: of the class.
        beats: how many there are in each set, by its name.
    """

    name: str
    beats: dict[str, int]


def fitting_protocols(beats: EcgBeats) -> tuple[str, ...]:
    """The splits that these beats can have: ``inter_patient`` is of the MIT-BIH records alone."""
    of_mit_bih = set(beats.records.tolist()) <= {*DS1, *DS2, *PACED}
    return PROTOCOLS if of_mit_bih else PROTOCOLS[:1]


def small_classes(beats: EcgBeats, protocol: str, seed: int = 0) -> list[SmallClass]:
    """Classes with fewer than ten beats in training, validation or test.

    Args:
        beats: all.
        protocol: of the split, as for :func:`split_beats`.
        seed: likewise.

    Raises:
        ValueError: if a set has no beat at all.
    """
    split = split_beats(beats, protocol, seed)
    counts = {
        name: {
            section: int((beats.labels[getattr(split, section)] == label).sum())
            for section in ("training", "validation", "test")
        }
        for label, name in enumerate(beats.classes)
    }
    return [SmallClass(name, of) for name, of in counts.items() if min(of.values()) < FEWEST]
