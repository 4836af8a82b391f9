"""The files of a folder that a person put there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

_UNPACKED_BESIDE = "__MACOSX"  # what macOS puts into archives beside the files that were packed


def files_below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """All files in a folder and below, through links, without those that are hidden.

    Raises:
        ValueError: if a link leads to a folder above it.
    """
    above |= {folder.resolve()}
    yield from files_in(folder)
    for inner in folders_in(folder):
        if inner.resolve() in above:
            raise ValueError(
                f"expected a tree of folders, got {inner}, a link to a folder above it; remove it"
            )
        yield from files_below(inner, above)


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without those that are hidden."""
    return sorted(path for path in _visible(folder) if path.is_dir())


def files_in(folder: Path) -> Iterator[Path]:
    """The files in a folder, without those that are hidden."""
    return (path for path in _visible(folder) if not path.is_dir())


def by_suffix(files: Iterable[Path]) -> Counter[str]:
    """How many files there are of each suffix."""
    return Counter(file.suffix.lower() or "without a suffix" for file in files)


def counts_in_words(counts: Counter[str]) -> str:
    """How many files there are of each suffix, in a line."""
    return ", ".join(f"{number} {suffix}" for suffix, number in sorted(counts.items()))


def _visible(folder: Path) -> Iterator[Path]:
    return (
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name != _UNPACKED_BESIDE
    )
