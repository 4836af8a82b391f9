"""What is known of a sample: as a list has it, as a number, and as MONAI reads it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from monai_ima.data.table_words import SECTIONS_BY_WORD, plain

SECTIONS = ("training", "validation", "test")


class Entry(NamedTuple):
    """One image as a list or a folder has it.

    ``path`` is relative to the data set's folder, with forward slashes; absolute where it leaves
    that folder, and empty where the list names none. ``label`` is a class name, the list's number
    of the class, or none. ``patient`` is empty where it is not known. ``raw`` is what the list has,
    for messages.
    """

    path: str
    label: str | int | None
    patient: str
    raw: object = None


@dataclass(frozen=True)
class Listing:
    """What a file that lists samples, or a tree of folders, has to say.

    Attributes:
        source: the file or folder.
        classes: the names of the classes, by the numbers used for them in ``source``; empty
            where it declares none. Those of folders are the folders that there are.
        sections: the entries by section, one of ``SECTIONS`` where the name means one of these.
    """

    source: Path
    classes: dict[int, str]
    sections: dict[str, list[Entry]]

    @property
    def of_folders(self) -> bool:
        return self.source.is_dir()


class Sample(NamedTuple):
    """One image with its class as a number, of which ``path`` and ``patient`` are an entry's."""

    path: str
    label: int
    patient: str


Sections = dict[str, list[Sample]]


@dataclass(frozen=True)
class Cohort:
    """The samples of a data set before they are split, or as they are split already.

    Attributes:
        source: the list or the folder.
        classes: their names, in the order of the labels.
        sections: training, alone or beside what the source itself has set aside.
    """

    source: Path
    classes: tuple[str, ...]
    sections: Sections


@dataclass(frozen=True)
class Datalist:
    """The samples of a data set as MONAI reads them.

    An item is ``{"image": path, "label": int, "patient": str, "index": int, "id": str}``; ``index``
    is its position within its section, which for training is the key of the margin store, ``id``
    its path relative to the data set's folder.
    ``fingerprint`` is the SHA-256 of the training items' relative paths and labels in their order:
    two runs with the same fingerprint mean the same sample by the same index.
    """

    classes: tuple[str, ...]
    training: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    test: list[dict[str, Any]]
    fingerprint: str


@dataclass(frozen=True)
class SampleList:
    """The samples of an evaluation as MONAI reads them.

    An item is ``{"image": path, "label": int, "patient": str, "index": int, "id": str}``: ``index``
    is its position, ``id`` its path relative to the data set's folder, and ``patient`` is empty
    where it is not known (MONAI's data loaders cannot batch ``None``). ``fingerprint`` is the
    SHA-256 of the ids and labels in their order.
    """

    classes: tuple[str, ...]
    items: list[dict[str, Any]]
    fingerprint: str


def section_named(name: str) -> str:
    """The section that a name such as "train", "Val" or "Validierung" means, or the name itself."""
    is_word = re.fullmatch(r"[\w\s-]+", unicodedata.normalize("NFKC", name))
    return SECTIONS_BY_WORD.get(plain(name), name) if is_word else name
