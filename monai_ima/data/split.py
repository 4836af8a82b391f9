"""Splits by patient, so that nobody is on two sides."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from monai_ima.data.sample import SECTIONS, Sample, Sections

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


def split_by_patient(samples: Iterable[Sample], fractions: Sequence[float], seed: int) -> Sections:
    """Split samples by patient so that every class comes near the fractions of each section.

    Greedy: the patients, largest first and at random among equals, go one by one to the section
    that is emptiest in their classes. Those with samples in several classes count in all of them.

    Args:
        samples: in any order, which does not matter.
        fractions: shares of training, validation and test; positive, their sum is 1.
        seed: what the order of equally large patients depends on.
    """
    samples = sorted(samples)  # else the order enters by the rounding of sums, which breaks ties
    by_patient: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_patient[sample.patient].append(sample)
    class_size = Counter(sample.label for sample in samples)
    filled: dict[str, Counter[int]] = {section: Counter() for section in SECTIONS}
    shares = dict(zip(SECTIONS, fractions, strict=True))
    split: Sections = {section: [] for section in SECTIONS}

    for patient in sorted(by_patient, key=lambda p: (-len(by_patient[p]), _chance(seed, p))):
        own = Counter(sample.label for sample in by_patient[patient])
        fullness = {
            section: sum(n * filled[section][label] / class_size[label] for label, n in own.items())
            / shares[section]
            for section in SECTIONS
        }
        emptiest = min(SECTIONS, key=fullness.__getitem__)
        split[emptiest] += by_patient[patient]
        filled[emptiest] += own
    return {section: sorted(chosen) for section, chosen in split.items()}


def draw(samples: list[Sample], per_class: int, seed: int) -> list[Sample]:
    """At most that many samples of each class at random, in their order."""
    by_class: dict[int, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda s: _chance(seed, s.path)):
        by_class[sample.label].append(sample)
    drawn = {sample for members in by_class.values() for sample in members[:per_class]}
    return [sample for sample in samples if sample in drawn]


def check_no_shared_patient(sections: Mapping[str, list[Sample]], source: Path) -> None:
    """Reject a split that has a patient on two sides.

    Raises:
        ValueError: naming one.
    """
    sides: dict[str, set[str]] = defaultdict(set)
    for section, samples in sections.items():
        for sample in samples:
            sides[sample.patient].add(section)
    if shared := sorted(patient for patient, where in sides.items() if len(where) > 1):
        example = " and ".join(name for name in SECTIONS if name in sides[shared[0]])
        raise ValueError(
            f"expected no patient on two sides of the split in {source}, got {len(shared)}, like "
            f"patient {shared[0]} in {example}; move each to one side, or leave the split to be made"
        )


def _chance(seed: int, name: str) -> bytes:
    # A hash instead of a shuffle: the same on every version of Python, and a sample more or less
    # leaves the order of the others alone.
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
