"""What is known of a data set, and what is found in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from monai_ima.data.sample import Sample, Sections
from monai_ima.data_report.facts import ImageFacts

Weight: TypeAlias = Literal["problem", "warning", "note"]


@dataclass(frozen=True)
class Survey:
    """A data set, and what its files say.

    Attributes:
        classes: their names, in the order of the labels.
        sections: the samples by section, or by the fold that they are the test of.
        facts: of the images that can be read, by path.
        unreadable: why the others cannot, by path.
        left_out: ``sections`` are without these.
        each_image_is_a_patient: nothing is known of patients.
        in_given_range: levels were scaled by an ``intensity_range`` that was asked for.
    """

    classes: tuple[str, ...]
    sections: Sections
    facts: Mapping[str, ImageFacts]
    unreadable: Mapping[str, str]
    left_out: bool = False
    each_image_is_a_patient: bool = False
    in_given_range: bool = False

    @property
    def samples(self) -> list[Sample]:
        return [sample for samples in self.sections.values() for sample in samples]

    @property
    def of_volumes(self) -> bool:
        """All images that can be read are volumes."""
        return bool(self.facts) and all(len(one.size) > 2 for one in self.facts.values())

    @property
    def readable(self) -> list[tuple[Sample, ImageFacts]]:
        return [(s, self.facts[s.path]) for s in self.samples if s.path in self.facts]


@dataclass(frozen=True)
class Finding:
    """Something that a person has to know of the data.

    Attributes:
        weight: a problem is in the way of a training, a warning makes its results doubtful, a note
            is to be known.
        title: what was found.
        why: why it matters.
        to_do: what to do about it.
        names: the files or patients.
        pictures: groups of images to show, by path, each with its words.
        heading: of the columns of ``rows``.
        rows: a table.
    """

    weight: Weight
    title: str
    why: str
    to_do: str
    names: tuple[str, ...] = ()
    pictures: tuple[tuple[str, tuple[str, ...]], ...] = ()
    heading: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = field(default=())
