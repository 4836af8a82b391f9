"""A file in which a run or an evaluation keeps its state, read only if it is as it was written."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from monai_ima.handlers.files import write_whole
from monai_ima.networks.checkpoint_file import is_intact, nature
from monai_ima.networks.sealed_file import save_sealed

_FORMAT = 1


class UnreadableStateError(ValueError):
    """What a file is instead of the state that it should hold, in words."""


def write_state(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file in one step by tensors and plain values, by name."""
    write_whole(path, lambda unfinished: save_sealed({"format": _FORMAT, **content}, unfinished))


def read_state(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """The content of what :func:`write_state` has written, on the CPU.

    Args:
        path: an existing file.
        names: that the content must have.

    Raises:
        UnreadableStateError: if the file is damaged, of another kind or of another version.
    """
    if not is_intact(path):  # first, because zipfile.is_zipfile raises for some damaged archives
        raise UnreadableStateError("a damaged file")
    if not zipfile.is_zipfile(path):
        raise UnreadableStateError(nature(path))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # from the unpickler of any file: KeyError, EOFError and many more
        raise UnreadableStateError("a file of another kind") from error
    if not isinstance(content, dict):
        raise UnreadableStateError("a file of another kind")
    version = content.pop("format", _FORMAT)  # earlier files have no number
    if version != _FORMAT:
        raise UnreadableStateError(
            f"a file of format {version!r}, where this monai_ima has {_FORMAT}: go on with the one "
            "that wrote it"
        )
    if missing := [name for name in names if name not in content]:
        raise UnreadableStateError(
            f"a file without {', '.join(missing)}, of another kind or of an older monai_ima"
        )
    return content


def is_readable(path: Path) -> bool:
    """Whether a file of ``torch.save`` is there and as it was written."""
    return path.is_file() and is_intact(path) and zipfile.is_zipfile(path)
