"""A folder of data that appears whole or not at all, and is not written a second time."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def write_whole(
    root: Path,
    settings: Mapping[str, object],
    *,
    settings_file: str,
    kind: str,
    write: Callable[[Path], None],
) -> bool:
    """Write a folder in one step, with the settings that it was written with beside the data.

    Args:
        root: the folder; its parents are made. If it was written with the same settings, it is left
            untouched.
        settings: all that the data depend on, as JSON has it.
        settings_file: the name of the file in ``root`` that holds the settings.
        kind: what is written, with its article, as errors call it.
        write: fills the empty folder that it is given.

    Returns:
        Whether it was written now.

    Raises:
        ValueError: if ``root`` holds anything else.
    """
    if _is_written(root, settings, settings_file, kind):
        return False
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as scratch:
        # a folder of its own inside: TemporaryDirectory's is readable by its owner only
        draft = Path(scratch) / "complete"
        draft.mkdir()
        write(draft)
        (draft / settings_file).write_text(json.dumps(settings, indent=2) + "\n")
        try:
            draft.rename(root)
        except OSError:
            # another process may have finished first
            if not _is_written(root, settings, settings_file, kind):
                raise
            return False
    return True


def _is_written(root: Path, settings: Mapping[str, object], settings_file: str, kind: str) -> bool:
    """Whether ``root`` holds this very data set; False if nothing is there, else an error."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    record = root / settings_file
    advice = "choose another folder, or remove this one yourself if nothing in it is needed"
    if not record.is_file():
        raise ValueError(
            f"expected {root} to be absent, empty or {kind}, "
            f"got something without {settings_file}: {advice}"
        )
    found = record.read_text("utf-8", errors="replace")
    try:
        same = json.loads(found) == settings
    except ValueError:
        same = False
    if not same:
        raise ValueError(
            f"expected {root} to be written with {json.dumps(settings)}, "
            f"got {' '.join(found.split())} in {settings_file}: {advice}"
        )
    return True
