"""A file that grows by records, each of which is read only if it is as it was written."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from monai_ima.handlers.files import append, write_whole
from monai_ima.handlers.state_file import UnreadableStateError
from monai_ima.networks.checkpoint_file import nature

_KIND = b"monai_ima records "
_HEAD = _KIND + b"2\n"
_LENGTH = 8  # bytes of a record's length, little-endian
_DIGEST = hashlib.sha256().digest_size


class RecordFile:
    """Records of tensors and plain values by name, one behind the other.

    Each is its length, its digest and its content. The digest covers the records before it as
    well, so that none can be left out or come twice.

    Args:
        path: of the file, which need not exist.

    Attributes:
        dropped: bytes at the end that :meth:`read` found cut short or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped = 0
        self._end = 0
        self._last = b""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was read or appended yet: the first record replaces the file."""
        return self._end == 0

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a record behind those that were read or appended, in place of what is there.

        Raises:
            OSError: if it cannot be written, as on a full disk.
        """
        stream = io.BytesIO()
        torch.save(dict(record), stream)
        content = stream.getvalue()
        digest = self._digest(content)
        framed = len(content).to_bytes(_LENGTH, "little") + digest + content
        if self.is_empty:
            framed = _HEAD + framed
            write_whole(self.path, lambda unfinished: unfinished.write_bytes(framed))
        else:
            append(self.path, framed, self._end)
        self._end += len(framed)
        self._last = digest

    def read(self) -> Iterator[dict[str, Any]]:
        """The records, on the CPU, up to the first that is cut short or damaged.

        Raises:
            UnreadableStateError: if there is none, or the file is of another kind or version.
        """
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            head = file.read(len(_HEAD))
            if head != _HEAD:
                raise UnreadableStateError(
                    f"a file of format {head[len(_KIND) :].strip().decode(errors='replace')}, where "
                    "this monai_ima has 2: go on with the one that wrote it"
                    if head.startswith(_KIND)
                    else nature(self.path)
                )
            end = len(_HEAD)
            while end < size:
                length = int.from_bytes(file.read(_LENGTH), "little")
                digest = file.read(_DIGEST)
                if length > size - file.tell():
                    break
                content = file.read(length)
                if digest != self._digest(content):
                    break
                end = self._end = file.tell()
                self._last = digest
                yield _loaded(content)
        self.dropped = size - end
        if self.is_empty:
            raise UnreadableStateError("a damaged file")

    def _digest(self, content: bytes) -> bytes:
        return hashlib.sha256(self._last + content).digest()


def _loaded(content: bytes) -> dict[str, Any]:
    try:
        record = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # from the unpickler of any file: KeyError, EOFError and many more
        raise UnreadableStateError("a file of another kind") from error
    if not isinstance(record, dict):
        raise UnreadableStateError("a file of another kind")
    return record
