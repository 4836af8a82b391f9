"""Whether a class can be told from the kind of its files, without a look at what they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEAST_ACCURACY = 0.6  # balanced; 0.5 is guessing
MOST_CHANCE = 0.01  # p-value, adjusted for all features and classes
_FOLDS = 5
_BINS = 8
_PERMUTATIONS = 999

_Ints = NDArray[np.int64]


class Shortcut(NamedTuple):
    """A property of files from which a class can be told.

    ``sensitivity`` is the share of its images that the property alone recognises, ``specificity``
    that of the others that it leaves alone, of patients that the rule was not made from; ``p`` the
    chance that any property would tell any class so well if it had nothing to do with it.
    """

    feature: str
    label: int
    sensitivity: float
    specificity: float
    p: float

    @property
    def accuracy(self) -> float:
        """The balanced accuracy, of which 0.5 is guessing."""
        return (self.sensitivity + self.specificity) / 2


def shortcuts(
    features: Mapping[str, Sequence[Any]],
    labels: Sequence[int],
    patients: Sequence[str],
    *,
    seed: int = 0,
) -> list[Shortcut]:
    """Find the properties from which one class can be told from the others.

    A property alone decides, by the values (or eighths of all values) that are relatively more
    frequent in the class; five parts of the patients take turns as those that it is tried on. It is
    found if its balanced accuracy is at least ``LEAST_ACCURACY`` and beyond what 999 permutations
    of the patients' classes reach with the best property and class, so that small sets give no
    false alarms.

    Args:
        features: by name, a value for each of N images: numbers, or anything else that is equal or
            not.
        labels: N class indices.
        patients: N names.
        seed: of the parts and permutations.

    Returns:
        At most one class for each feature, the best told first.
    """
    told = np.asarray(labels, dtype=np.int64)
    classes = int(told.max(initial=-1)) + 1
    codes = {name: code for name, values in features.items() if (code := _codes(values)).any()}
    if not codes or len(set(labels)) < 2:
        return []
    _, person = np.unique(np.asarray(patients), return_inverse=True)
    people = int(person.max()) + 1
    rng = np.random.default_rng(seed)
    fold = (rng.permutation(people) % _FOLDS)[person]
    usual = _most_frequent(person, told, people, classes)
    of_chance = []
    for _ in range(_PERMUTATIONS):
        permuted = rng.permutation(usual)[person]
        of_chance.append(
            max(_rates(code, permuted, fold, classes).mean(axis=0).max() for code in codes.values())
        )
    found = []
    for name, code in codes.items():
        rates = _rates(code, told, fold, classes)
        label = int(rates.mean(axis=0).argmax())
        accuracy = rates[:, label].mean()
        p = (1 + sum(other >= accuracy for other in of_chance)) / (1 + _PERMUTATIONS)
        if accuracy >= LEAST_ACCURACY and p <= MOST_CHANCE:
            sensitivity, specificity = map(float, rates[:, label])
            found.append(Shortcut(name, label, sensitivity, specificity, float(p)))
    return sorted(found, key=lambda shortcut: -shortcut.accuracy)


def _codes(values: Sequence[Any]) -> _Ints:
    """Which of a few values each image has; of many numbers, in which eighth its own is."""
    different = sorted(set(values))
    if len(different) <= _BINS or not isinstance(different[0], int | float):
        places = {value: place for place, value in enumerate(different)}
        return np.array([places[value] for value in values])
    numbers = np.asarray(values, dtype=float)
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, _BINS + 1)[1:-1]))
    return np.searchsorted(edges, numbers, side="left")


def _most_frequent(person: _Ints, labels: _Ints, people: int, classes: int) -> _Ints:
    """The usual class of each patient."""
    counts = np.zeros((people, classes), dtype=np.int64)
    np.add.at(counts, (person, labels), 1)
    most: _Ints = counts.argmax(axis=1)
    return most


def _rates(code: _Ints, labels: _Ints, fold: _Ints, classes: int) -> NDArray[np.float64]:
    """Sensitivity and specificity ``(2, C)`` of a property for each class, of patients left out."""
    values = int(code.max()) + 1
    places = np.ravel_multi_index((fold, code, labels), (_FOLDS, values, classes))
    tried = np.bincount(places, minlength=_FOLDS * values * classes)
    tried = tried.reshape(_FOLDS, values, classes)
    others = tried.sum(axis=2, keepdims=True) - tried
    learnt, learnt_others = (counts.sum(axis=0) - counts for counts in (tried, others))
    frequent, frequent_others = (
        counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        for counts in (learnt, learnt_others)
    )
    is_class = frequent > frequent_others
    sensitivity = (tried * is_class).sum(axis=(0, 1)) / np.maximum(tried.sum(axis=(0, 1)), 1)
    specificity = (others * ~is_class).sum(axis=(0, 1)) / np.maximum(others.sum(axis=(0, 1)), 1)
    return np.stack([sensitivity, specificity])
