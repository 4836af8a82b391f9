"""A JSON file that is read again: it says what its content was when it was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_ima.handlers.files import write_whole
from monai_ima.handlers.state_file import UnreadableStateError

_DIGEST = "sha256"


def write_json(path: Path, content: Mapping[str, Any], indent: int = 2) -> None:
    """Replace a file in one step by plain values by name, and a digest of them."""
    text = json.dumps({**content, _DIGEST: digest(content)}, indent=indent)
    write_whole(path, lambda unfinished: unfinished.write_text(text + "\n", encoding="utf-8"))


def read_json(path: Path) -> dict[str, Any]:
    """The content of what :func:`write_json` has written; older files have no digest.

    Args:
        path: an existing file.

    Raises:
        UnreadableStateError: if it is damaged, of another kind, or was changed.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON
        raise UnreadableStateError(f"a damaged file: {error}") from error
    if not isinstance(content, dict):
        raise UnreadableStateError("a file of another kind")
    if content.pop(_DIGEST, digest(content)) != digest(content):
        raise UnreadableStateError("a file that was changed after it had been written")
    return content


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of plain values, whatever the order of their names, as a file will have them."""
    values = json.loads(json.dumps({k: v for k, v in content.items() if k != _DIGEST}))
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
