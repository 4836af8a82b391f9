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
    was saved, and of cells that are merged over several rows each row has what is in the first. Empty
    rows are left out, and so are empty cells at the end of a row. Hidden rows, as of a filter, are
    read, which the log says.

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
            sheets, hidden = _sheets(file)
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
    if filled and hidden[filled[0]]:
        _logger.warning(
            "%s: %d hidden rows, as of a filter, are read as well; delete those that are not to be",
            file,
            hidden[filled[0]],
        )
    return sheets[filled[0]] if filled else []


def _sheets(file: Path) -> tuple[dict[str, list[list[str]]], dict[str, int]]:
    """Rows, and the number of those that are hidden, by sheet."""
    import openpyxl  # noqa: PLC0415 - half a second, for what few lists are

    with file.open("rb") as content:
        # not read_only, which says nothing of merged cells and hidden rows
        book = openpyxl.load_workbook(content, data_only=True)
    return (
        {sheet.title: _rows(sheet) for sheet in book.worksheets},
        {sheet.title: _hidden(sheet) for sheet in book.worksheets},
    )


def _rows(sheet: Any) -> list[list[str]]:
    rows = [[_text(value) for value in row] for row in sheet.iter_rows(min_row=1, values_only=True)]
    for merged in sheet.merged_cells.ranges:
        if merged.min_col == merged.max_col:
            for row in range(merged.min_row, merged.max_row):  # counted from 1, and here from 0
                rows[row][merged.min_col - 1] = rows[merged.min_row - 1][merged.min_col - 1]
    return [_without_end(row) for row in rows if any(row)]


def _hidden(sheet: Any) -> int:
    """Number of hidden rows that are not empty."""
    return sum(
        bool(one.hidden) and any(cell.value is not None for cell in sheet[number])
        for number, one in sheet.row_dimensions.items()
        if number <= sheet.max_row
    )


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
