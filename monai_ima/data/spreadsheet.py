"""The cells of an Excel workbook as text, as a CSV file would have them."""

from __future__ import annotations

import datetime
import logging
import warnings
from pathlib import Path
from typing import Any

_logger = logging.getLogger(__name__)


def read_workbook(file: Path) -> list[list[str]]:
    """Read the first sheet that is not empty.

    Whole numbers are written without a decimal point, formulas are what they came to when the file
    was saved. Empty rows are left out, and so are empty cells at the end of a row.

    Args:
        file: an ``.xlsx`` or ``.xlsm`` file.

    Returns:
        Rows of cells without blanks around them; none if all sheets are empty. The log names sheets
        that are not empty and not read.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        with warnings.catch_warnings():
            # of colours and lists to choose from, which are none of the data
            warnings.filterwarnings("ignore", module="openpyxl")
            sheets = _sheets(file)
    except Exception as error:  # of the archive, of XML, of cells
        raise ValueError(
            f"expected {file} to be an Excel workbook (.xlsx) without a password, got "
            f"{type(error).__name__}: {error}; save it anew as .xlsx, or as CSV in UTF-8"
        ) from error
    filled = [name for name, rows in sheets.items() if rows]
    if filled[1:]:
        _logger.warning(
            "%s: the sheet %r is read; not read: %s", file, filled[0], ", ".join(filled[1:])
        )
    return sheets[filled[0]] if filled else []


def _sheets(file: Path) -> dict[str, list[list[str]]]:
    import openpyxl  # noqa: PLC0415 - half a second, for what few lists are

    with file.open("rb") as content:
        book = openpyxl.load_workbook(content, read_only=True, data_only=True)
        try:
            return {sheet.title: _rows(sheet) for sheet in book.worksheets}
        finally:
            book.close()


def _rows(sheet: Any) -> list[list[str]]:
    sheet.reset_dimensions()  # some programs write a size that is too small
    rows = [[_text(value) for value in row] for row in sheet.iter_rows(values_only=True)]
    return [_without_end(row) for row in rows if any(row)]


def _without_end(row: list[str]) -> list[str]:
    while row and not row[-1]:
        row = row[:-1]
    return row


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value).strip()
