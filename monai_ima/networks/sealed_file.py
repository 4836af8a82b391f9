"""A file of ``torch.save`` that says what each of its bytes was when it was written, and by which run.

Both are the comment of the archive, which torch and others pass over. Without the digest, checksums
cover the records alone: names, sizes and what lies between may change unnoticed.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch

_MARK = b"monai_ima sha256 "
_DIGITS = 2 * hashlib.sha256().digest_size
_LENGTH = len(_MARK) + _DIGITS
_RUN = b"run %s "
_LENGTHS = (_LENGTH, len(_RUN % (b"0" * _DIGITS)) + _LENGTH)  # no power of 2: no flip makes it 0
_CHUNK = 1 << 20


def save_sealed(content: object, path: Path, run: str | None = None) -> None:
    """Write what ``torch.load`` reads, with a digest of all bytes at the end.

    Args:
        content: what is read.
        path: of the file.
        run: which run writes it, a SHA-256 in hexadecimal digits; :func:`writing_run` finds it.
    """
    torch.save(content, path)
    writer = b"" if run is None else _RUN % run.encode()
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)  # the length of the comment, which torch leaves empty
        file.write((len(writer) + _LENGTH).to_bytes(2, "little") + writer)
        end = file.seek(0, os.SEEK_END)
        file.write(_seal(file, end))


def writing_run(path: Path) -> str | None:
    """The run that has written an intact file; ``None`` if the file does not say."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        said = re.fullmatch(_RUN % b"([0-9a-f]+)" + _MARK + b".*", archive.comment)
    return None if said is None else said[1].decode()


def is_as_sealed(path: Path) -> bool | None:
    """Whether every byte of an archive is as it was written; ``None`` if it has no digest."""
    with zipfile.ZipFile(path) as archive:
        comment = archive.comment
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END) - _LENGTH
        file.seek(max(end, 0))
        last = file.read()
        if not last.startswith(_MARK) and len(comment) not in _LENGTHS:
            return None
        return last == _seal(file, end)


def _seal(file: BinaryIO, end: int) -> bytes:
    """The comment for a file of which the first ``end`` bytes are written."""
    digest = hashlib.sha256()
    file.seek(0)
    while part := file.read(min(_CHUNK, end - file.tell())):
        digest.update(part)
    file.seek(end)
    return _MARK + digest.hexdigest().encode()
