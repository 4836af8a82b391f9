"""Files that are whole or not there, and none that is lost."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

_logger = logging.getLogger(__name__)
_PART = 1 << 20  # bytes of a file that are read at once
_UNFINISHED = re.compile(r"\..+(?P<suffix>\.[^.]+)\.(?P<pid>\d{1,9})(?P=suffix)")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Replace ``path`` by what ``write`` makes, in one step: an interruption leaves the old file.

    The content is on the disk before the name is, so that a loss of power leaves no half of it.
    What a process leaves that is killed meanwhile, :func:`remove_unfinished` removes.

    Args:
        path: the file, whose name has a suffix; its folder is made if need be.
        write: called with another path in the same folder, where it leaves the new content.

    Raises:
        OSError: if it cannot be written, as on a full disk.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        with _said_with_room(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write(unfinished)
            _flush(unfinished)
            unfinished.replace(path)
            _flush_names(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def append(path: Path, content: bytes, at: int) -> None:
    """Write behind the first ``at`` bytes of a file, in place of what is there.

    When this returns, the content is on the disk; an interruption may leave a part of it.

    Args:
        path: an existing file.
        content: what is to be written.
        at: length of the part that stays as it is, whatever happens.

    Raises:
        OSError: if it cannot be written, as on a full disk.
    """
    with _said_with_room(path), path.open("r+b") as file:
        file.truncate(at)
        file.seek(at)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _said_with_room(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not isinstance(error, OSError) and not _is_of_writer(error):
            raise
        raise OSError(
            f"expected to write {path}, got: {' '.join(str(error).split())}; {_room(path.parent)}. "
            "What was there before is as it was: see to it that the folder can be written to, then "
            "go on with --resume true, or with the same command if it is an evaluation"
        ) from error


def remove_unfinished(*folders: Path) -> None:
    """Remove what processes that were killed within :func:`write_whole` left in these folders.

    Args:
        *folders: which need not exist; folders in them are not looked into.
    """
    for path in (path for folder in folders if folder.is_dir() for path in folder.iterdir()):
        named = _UNFINISHED.fullmatch(path.name)
        if named is None or not path.is_file() or path.is_symlink():
            continue
        pid = int(named["pid"])
        if pid == os.getpid() or not _is_running(pid):  # in a container, numbers come again
            path.unlink(missing_ok=True)
            _logger.info("removed %s, which a run that was killed had not finished", path)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _flush(path: Path) -> None:
    """Return when a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_names(folder: Path) -> None:
    """Return when the names in a folder are on the disk, as far as its file system can tell."""
    with contextlib.suppress(OSError):  # some network file systems flush no folders
        _flush(folder)


def _is_of_writer(error: RuntimeError) -> bool:
    """Whether torch, which has no OSError of its own, could not write."""
    return any(word in str(error) for word in ("inline_container", "StreamWriter", "directory"))


def _room(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no folder {folder} any more"
    return f"{shutil.disk_usage(folder).free / 1e6:.0f} MB are free in {folder}"


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows of one form, at least one, with their names above; no spreadsheet runs their text.

    A file that is not ASCII begins with a byte order mark, without which Excel garbles umlauts. Text that a spreadsheet would take for a formula gets an apostrophe in front, as text that has
    one; :func:`read_csv` takes it away.
    """

    def write(unfinished: Path) -> None:
        text = io.StringIO()
        left = iter(rows)
        first = next(left)
        writer = csv.DictWriter(text, first)
        writer.writeheader()
        writer.writerows(
            {name: _shown(value) for name, value in row.items()} for row in chain([first], left)
        )
        encoding = "utf-8" if text.getvalue().isascii() else "utf-8-sig"
        # names of files need be no Unicode
        unfinished.write_text(text.getvalue(), encoding, "backslashreplace", newline="")

    write_whole(path, write)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of what :func:`write_csv` has written, as they were."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [
            # of a damaged row, values may be missing, or a list of those that have no name
            {k: v.removeprefix("'") if isinstance(v, str) else v for k, v in row.items()}
            for row in csv.DictReader(file)
        ]


def file_digest(path: Path) -> str:
    """SHA-256 of all bytes of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_PART):
            digest.update(part)
    return digest.hexdigest()


def _shown(value: object) -> object:
    # https://owasp.org/www-community/attacks/CSV_Injection
    runs = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "'"))
    return f"'{value}" if runs else value


def set_aside(folder: Path, patterns: Iterable[str]) -> None:
    """Move the files of an earlier run to ``previous-1``, ``previous-2``, ... below their folder.

    All of them or none: they gather in a hidden folder, which gets its name when it is complete.
    If the process is killed before that, :func:`put_back` moves them back.

    Args:
        folder: folder of the run.
        patterns: names of its files, with ``*`` for any text.
    """
    earlier = [path for pattern in patterns for path in folder.glob(pattern)]
    if not earlier:
        return
    attic = _next_attic(folder)
    unfinished = folder / f".{attic.name}"
    unfinished.mkdir()
    for path in earlier:
        path.rename(unfinished / path.name)
    _flush_names(unfinished)
    unfinished.rename(attic)
    _flush_names(folder)
    _logger.warning("%s held a run; its files are now in %s", folder, attic)


def put_back(folder: Path) -> None:
    """Undo a :func:`set_aside` within which a process was killed; to be called before anything else.

    Args:
        folder: folder of the run, which need not exist.
    """
    for unfinished in sorted(folder.glob(".previous-*")):
        moved = list(unfinished.iterdir())
        if any((folder / path.name).exists() for path in moved):  # somebody has written since
            unfinished.rename(_next_attic(folder))
            continue
        for path in moved:
            path.rename(folder / path.name)
        _flush_names(folder)
        unfinished.rmdir()
        _logger.info(
            "%s: a run that was killed had begun to move these files; they are back", folder
        )


def _next_attic(folder: Path) -> Path:
    number = 1
    while (folder / f"previous-{number}").exists():
        number += 1
    return folder / f"previous-{number}"
