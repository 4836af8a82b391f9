"""The text of a file, whichever of the usual codes it is in."""

from __future__ import annotations

import codecs
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_logger = logging.getLogger(__name__)

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, with which it begins
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def decoded(file: Path, *, fall_back: bool = True) -> str:
    """Read text in UTF-8, or in UTF-16 or UTF-32 with their mark.

    Args:
        file: of the text.
        fall_back: read what is neither as Windows' cp1252, which the log says.

    Raises:
        ValueError: if it is none of these.
    """
    content = file.read_bytes()
    marked = next((e for mark, e in _BYTE_ORDER_MARKS.items() if content.startswith(mark)), None)
    try:
        text = content.decode(marked or "utf-8")
    except UnicodeDecodeError as error:
        try:
            if marked or not fall_back:
                raise
            text = content.decode("cp1252")
        except UnicodeDecodeError:
            raise ValueError(
                f"expected {file} to be text in UTF-8, got: {error}; save it in UTF-8"
            ) from error
        _logger.warning("%s is not in UTF-8; it is read as cp1252, the code of Windows", file)
    if "\0" in text:
        raise ValueError(
            f"expected {file} to be text in UTF-8, got zero bytes, as of UTF-16 without a mark at "
            f"its start; save it in UTF-8"
        )
    return text
