"""Tables for people and programs: as CSV, and as a workbook in which every spreadsheet has columns."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from monai_ima.handlers.files import write_csv, write_whole

MOST_ROWS = 50_000
"""Rows of a workbook, which take a quarter of a minute to write, and 100 MB."""
_WIDTHS = 8, 60  # of a column, in characters
_LOOKED_AT = 500  # rows, for the widths
_DIGITS = 4  # significant ones of the largest number in a column
_MOST_DECIMALS = 9
_PROPERTIES = "docProps/core.xml"  # of a workbook, as when it was made
_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_logger = logging.getLogger(__name__)


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> list[Path]:
    """Write a table as CSV and, beside it, as a workbook (``.xlsx``).

    The CSV is for programs. A spreadsheet set to German, French or Spanish puts each of its rows into
    one column, or reads ``0.025`` as a text or a date; the workbook's numbers are numbers.

    Args:
        path: of the CSV file; the workbook has the same name.
        rows: of one form, at least one, by column. They are gone through once.

    Returns:
        The files; without a workbook if there are more than 50,000 rows, of which the log tells.

    Raises:
        OSError: if one cannot be written, as on a full disk.
    """
    left = iter(rows)
    first = list(islice(left, MOST_ROWS + 1))
    write_csv(path, chain(first, left))
    book = path.with_suffix(".xlsx")
    if len(first) > MOST_ROWS:
        book.unlink(missing_ok=True)  # that of an earlier table
        _logger.info("%s has more than %d rows: no workbook of it is written", path, MOST_ROWS)
        return [path]
    write_whole(book, lambda unfinished: _write_workbook(unfinished, path.stem, first))
    return [path, book]


def curve_rows(curve: Mapping[str, Any], epoch: int | str) -> list[dict[str, Any]]:
    """A row for each noise level of a curve, as ``robustness.json`` has it."""
    levels = zip(*(curve[name] for name in ("eps", "accuracy", "low", "high")), strict=True)
    return [
        {
            "epoch": epoch,
            "norm": curve["norm"],
            "eps": eps,
            "accuracy": accuracy,
            "low": low,
            "high": high,
            "n": curve["n"],
        }
        for eps, accuracy, low, high in levels
    ]


def _write_workbook(path: Path, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """One sheet, whose heading stays in sight."""
    import openpyxl  # noqa: PLC0415 - half a second, for what is done at the end
    from openpyxl.cell import WriteOnlyCell  # noqa: PLC0415
    from openpyxl.styles import Font  # noqa: PLC0415
    from openpyxl.utils import get_column_letter  # noqa: PLC0415

    def cell(value: Any, number_format: str) -> Any:
        made = WriteOnlyCell(sheet, _plain(value))
        if isinstance(made.value, str):
            made.data_type = "s"  # and no formula
        elif isinstance(made.value, float):
            made.number_format = number_format
        return made

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet(title)
    sheet.freeze_panes = "A2"
    names = list(rows[0])
    formats = [_number_format([row[name] for row in rows]) for name in names]
    for number, (name, number_format) in enumerate(zip(names, formats, strict=True), start=1):
        shown = (row[name] for row in rows[:_LOOKED_AT])
        width = max(len(name), *(_length(value, number_format) for value in shown)) + 2
        width = min(max(width, _WIDTHS[0]), _WIDTHS[1])
        sheet.column_dimensions[get_column_letter(number)].width = width
    heading = [cell(name, "") for name in names]
    for made in heading:
        made.font = Font(bold=True)
    sheet.append(heading)
    for row in rows:
        sheet.append([cell(row[name], of) for name, of in zip(names, formats, strict=True)])
    book.save(path)
    _without_dates(path)


def _without_dates(book: Path) -> None:
    """Make a workbook depend on its content alone: the same run leaves the same files."""
    with ZipFile(book) as dated:
        parts = {name: dated.read(name) for name in dated.namelist()}
    parts[_PROPERTIES] = re.sub(
        rb"\d{4}(-\d\d){2}T[\d:.]+Z", b"1980-01-01T00:00:00Z", parts[_PROPERTIES]
    )
    with ZipFile(book, "w") as undated:
        for name, content in parts.items():
            undated.writestr(ZipInfo(name), content, ZIP_DEFLATED)


def _plain(value: Any) -> Any:
    """What a cell can hold: no infinity or NaN, no character that XML does not have."""
    if isinstance(value, str):
        return _NOT_IN_XML.sub("\ufffd", value) or None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number_format(values: Sequence[Any]) -> str:
    """So many decimals that the largest number of a column has four digits; the cells have all."""
    sizes = [abs(value) for value in values if isinstance(value, float) and math.isfinite(value)]
    largest = max(sizes, default=0.0)
    if largest == 0:
        return "General"
    decimals = max(0, _DIGITS - 1 - math.floor(math.log10(largest)))
    if decimals > _MOST_DECIMALS:
        return "0.000E+00"
    return f"0.{'0' * decimals}" if decimals else "0"


def _length(value: Any, number_format: str) -> int:
    """Characters of a cell as it is shown."""
    if not isinstance(value, float) or number_format == "General":
        return len(str(value))
    return len(number_format) - 1 + len(f"{value:.0f}")
