"""Files that are whole or not there, and none that is lost."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_logger = logging.getLogger(__name__)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Replace ``path`` by what ``write`` makes, in one step: an interruption leaves the old file.

    Args:
        path: the file; its folder is made if need be.
        write: called with another path in the same folder, where it leaves the new content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        write(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of one form, with their names above, so that no spreadsheet runs their text.

    Text that a spreadsheet would take for a formula gets an apostrophe in front, as text that has
    one; :func:`read_csv` takes it away.
    """

    def write(unfinished: Path) -> None:
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows({name: _shown(value) for name, value in row.items()} for row in rows)

    write_whole(path, write)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of what :func:`write_csv` has written, as they were."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            # of a damaged row, values may be missing, or a list of those that have no name
            {k: v.removeprefix("'") if isinstance(v, str) else v for k, v in row.items()}
            for row in csv.DictReader(file)
        ]


def _shown(value: object) -> object:
    # https://owasp.org/www-community/attacks/CSV_Injection
    runs = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "'"))
    return f"'{value}" if runs else value


def set_aside(folder: Path, patterns: Iterable[str]) -> None:
    """Move the files of an earlier run to ``previous-1``, ``previous-2``, ... below their folder.

    Args:
        folder: folder of the run.
        patterns: names of its files, with ``*`` for any text.
    """
    earlier = [path for pattern in patterns for path in folder.glob(pattern)]
    if not earlier:
        return
    number = 1
    while (folder / f"previous-{number}").exists():
        number += 1
    attic = folder / f"previous-{number}"
    attic.mkdir()
    for path in earlier:
        path.rename(attic / path.name)
    _logger.warning("%s held a run; its files are now in %s", folder, attic)
