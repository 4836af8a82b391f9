"""Files that are whole or not there, and none that is lost."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

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
