"""A file of ``torch.save`` that says what each of its bytes was when it was written.

The digest is the comment of the archive, which torch and others pass over. Without it, checksums
cover the records alone: names, sizes and what lies between may change unnoticed.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch

_MARK = b"monai_ima sha256 "
_LENGTH = len(_MARK) + 2 * hashlib.sha256().digest_size  # not a power of 2: no flip makes it 0
_CHUNK = 1 << 20


def save_sealed(content: object, path: Path) -> None:
    """Write what ``torch.load`` reads, with a digest of all bytes at the end."""
    torch.save(content, path)
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)  # the length of the comment, which torch leaves empty
        file.write(_LENGTH.to_bytes(2, "little"))
        end = file.seek(0, os.SEEK_END)
        file.write(_seal(file, end))


def is_as_sealed(path: Path) -> bool | None:
    """Whether every byte of an archive is as it was written; ``None`` if it has no digest."""
    with zipfile.ZipFile(path) as archive:
        comment = archive.comment
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END) - _LENGTH
        file.seek(max(end, 0))
        last = file.read()
        if not last.startswith(_MARK) and len(comment) != _LENGTH:
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
