"""Which number a label of a list means: names and numbers to places in the order of the classes."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from monai_ima.data.sample import Entry, Listing
from monai_ima.data.table_words import one_spelling

_logger = logging.getLogger(__name__)

# 2, and 2.0 or 2,0 as pandas writes it in a column with gaps; not 1,000
_WHOLE = re.compile(r"([+-]?\d+)(\.0*|,0{0,2})?")
_MOST_CLASSES = 10_000  # that have no names: a wrong label is likelier than more


@dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Attributes:
        names: in the order of the model's outputs.
        listed: the names in the order in which ``source`` numbers them.
        numbers: the number of each of these in ``source``.
        source: the list or folder.
    """

    names: tuple[str, ...]
    listed: tuple[str, ...]
    numbers: tuple[int, ...]
    source: Path

    def index(self, label: str | int | None) -> int:
        """The place of a label's class among the names.

        Raises:
            ValueError: if it is none.
        """
        if isinstance(label, str) and label in self.listed:
            return self.names.index(label)
        number = _whole(label)
        if isinstance(label, str) and str(number) in self.listed:
            return self.names.index(str(number))
        if number in self.numbers:
            return self.names.index(self.listed[self.numbers.index(number)])
        places = tuple(range(len(self.numbers)))
        numbers = (
            f"a number from 0 to {places[-1]}"
            if self.numbers == places
            else f"one of the numbers {shortened(self.numbers)}"
        )
        raise ValueError(
            f"expected every label in {self.source} to be one of {shortened(self.listed)} or "
            f"{numbers}, got {label!r}; correct the label, or the classes or num_classes given"
        )


def classes_of(
    listing: Listing, *, order: tuple[str, ...] | None = None, num_classes: int | None = None
) -> Classes:
    """The classes that a list declares, or else those of its labels.

    Names are sorted, numbers by their value. Numbers that the list declares, or writes as text, and
    that are not 0, 1, 2, ... are mapped to these in their order, which the log says.

    Args:
        listing: what the list says.
        order: names of all classes in the order of the model's outputs.
        num_classes: how many there are; for numbers without names.

    Raises:
        ValueError: if ``order`` has other names than the list declares, or the numbers are too
            many.
    """
    source, declared = listing.source, listing.classes
    numbers = tuple(sorted(declared))
    if declared:
        listed = tuple(declared[number] for number in numbers)
        if order and listing.of_folders and (unknown := [n for n in listed if n not in order]):
            raise ValueError(
                f"expected every folder in {source} to be one of the classes {', '.join(order)}, "
                f"got {', '.join(unknown)}; correct classes, or take the folder away"
            )
        if order and not listing.of_folders and set(order) != set(listed):
            raise ValueError(
                f"expected classes to order those that {source} declares, {', '.join(listed)}, "
                f"got {', '.join(order)}; give the same names"
            )
    else:
        entries = [entry for section in listing.sections.values() for entry in section]
        listed = order or _names_in(entries, num_classes, source)
        numbers = tuple(range(len(listed)))
    if order is None:
        _say_mapping(source, listed, numbers if declared else _numbers(listed))
    return Classes(order or listed, listed, numbers, source)


def sorted_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names as text, numbers by their value."""
    names = sorted(names)
    return tuple(sorted(names, key=int) if all(name.isdecimal() for name in names) else names)


def checked_names(classes: Iterable[str]) -> tuple[str, ...]:
    """The names of all classes as a user gives them.

    Raises:
        ValueError: if they are not different names in a list.
    """
    if isinstance(classes, str) or not classes or len(set(classes)) != len(list(classes)):
        raise ValueError(
            f"expected classes to be a list of different names, got {classes!r}; name every class "
            f"once, in the order of the model's outputs"
        )
    return tuple(one_spelling(str(name)) for name in classes)


def shortened(values: Iterable[object], most: int = 20, between: str = ", ") -> str:
    """The values in a line, of many the first only."""
    texts = [str(value) for value in values]
    return between.join(texts[:most]) + (f" and {len(texts) - most} more" if texts[most:] else "")


def _names_in(entries: list[Entry], num_classes: int | None, source: Path) -> tuple[str, ...]:
    texts = {entry.label for entry in entries if isinstance(entry.label, str)}
    wholes = {_whole(text) for text in texts}
    numbers = {number for number in wholes if number is not None and number >= 0}
    if texts and numbers == wholes:
        if num_classes is not None and max(numbers) < num_classes <= _MOST_CLASSES:
            numbers = set(range(num_classes))  # of which some may lack samples
        return tuple(str(number) for number in sorted(numbers))
    if texts:
        return sorted_names(texts)
    largest = max((e.label for e in entries if isinstance(e.label, int)), default=-1)
    count = largest + 1 if num_classes is None else num_classes
    if count > _MOST_CLASSES:
        raise ValueError(
            f"expected at most {_MOST_CLASSES:,} classes that are numbers without names, got the "
            f"label {largest} in {source} and num_classes {num_classes}; correct them, or name the "
            f"classes in the list"
        )
    return tuple(str(label) for label in range(count))


def _numbers(names: tuple[str, ...]) -> tuple[int, ...]:
    """The names as numbers; empty if they are not."""
    return tuple(map(int, names)) if all(name.isdecimal() for name in names) else ()


def _say_mapping(source: Path, names: tuple[str, ...], numbers: tuple[int, ...]) -> None:
    if not numbers or numbers == tuple(range(len(numbers))):
        return
    places = [
        f"{number} is {place}"
        if name == str(number)
        else f"{name}, {number} in the list, is {place}"
        for place, (name, number) in enumerate(zip(names, numbers, strict=True))
    ]
    _logger.warning(
        "the classes of %s are not numbered 0 to %d and are now: %s",
        source,
        len(numbers) - 1,
        shortened(places, between="; "),
    )


def _whole(label: str | int | None) -> int | None:
    if isinstance(label, str):
        match = _WHOLE.fullmatch(label.strip())
        return int(match[1]) if match else None
    return label
