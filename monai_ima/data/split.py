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

    Args:
        samples: in any order, which does not matter.
        fractions: shares of training, validation and test; positive, their sum is 1.
        seed: what the order of equally large patients depends on.
    """
    return deal_by_patient(samples, dict(zip(SECTIONS, fractions, strict=True)), seed)


def deal_by_patient(samples: Iterable[Sample], shares: Mapping[str, float], seed: int) -> Sections:
    """Deal samples to parts by patient so that every class comes near the share of each part.

    Greedy: the patients, largest first and at random among equals, go one by one to the part that
    is emptiest in their classes. Those with samples in several classes count in all of them.

    Args:
        samples: in any order, which does not matter.
        shares: by part; positive.
        seed: what the order of equally large patients depends on.
    """
    samples = sorted(samples)  # else the order enters by the rounding of sums, which breaks ties
    by_patient: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_patient[sample.patient].append(sample)
    class_size = Counter(sample.label for sample in samples)
    filled: dict[str, Counter[int]] = {part: Counter() for part in shares}
    dealt: Sections = {part: [] for part in shares}

    for patient in sorted(by_patient, key=lambda p: (-len(by_patient[p]), _chance(seed, p))):
        own = Counter(sample.label for sample in by_patient[patient])
        fullness = {
            part: sum(n * filled[part][label] / class_size[label] for label, n in own.items())
            / shares[part]
            for part in shares
        }
        emptiest = min(shares, key=fullness.__getitem__)
        dealt[emptiest] += by_patient[patient]
        filled[emptiest] += own
    return {part: sorted(chosen) for part, chosen in dealt.items()}


def folds_by_patient(samples: Iterable[Sample], folds: int, seed: int) -> list[Sections]:
    """Splits for cross-validation: every patient is in the test of one, in the validation of another.

    The samples are dealt to as many equal parts; split number k tests on part k, validates on the
    next, and trains on the others.

    Args:
        samples: in any order, which does not matter.
        folds: how many splits, at least 3.
        seed: as for :func:`deal_by_patient`.
    """
    parts = list(deal_by_patient(samples, {str(n): 1.0 for n in range(folds)}, seed).values())
    splits: list[Sections] = []
    for number in range(folds):
        test, validation, *others = parts[number:] + parts[:number]
        training = sorted(sample for part in others for sample in part)
        splits.append({"training": training, "validation": validation, "test": test})
    return splits


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
