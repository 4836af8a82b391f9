"""Words for samples, numbers and lists in findings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from monai_ima.data.sample import Sample
from monai_ima.data_report.survey import Survey


def sections_of_patients(survey: Survey) -> dict[str, list[str]]:
    """The sections that each patient is in."""
    sections: dict[str, list[str]] = defaultdict(list)
    for section, samples in survey.sections.items():
        for patient in {sample.patient for sample in samples}:
            sections[patient].append(section)
    return sections


def section_of_paths(survey: Survey) -> dict[str, str]:
    """The section of each sample."""
    return {s.path: section for section, samples in survey.sections.items() for s in samples}


def differ(samples: Iterable[Sample], section: Mapping[str, str]) -> bool:
    """Two of them are of different patients, classes or sections."""
    return any(
        (a.patient, a.label, section[a.path]) != (b.patient, b.label, section[b.path])
        for a, b in combinations(samples, 2)
    )


def said(sample: Sample, survey: Survey, section: Mapping[str, str]) -> str:
    """A sample with its patient, class and section."""
    patient = "" if survey.each_image_is_a_patient else f"patient {sample.patient}, "
    return f"{sample.path} ({patient}{survey.classes[sample.label]}, {section[sample.path]})"


def counted(things: Iterable[object], noun: str) -> str:
    """How many things there are, with their noun."""
    number = len(list(things))
    return f"{number} {noun}{'' if number == 1 else 's'}"


def few(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def percent(share: float) -> str:
    """A share of the whole."""
    return "under 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def plain(value: object) -> str:
    """A value without needless digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
