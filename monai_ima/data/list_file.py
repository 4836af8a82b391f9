"""A list of samples in a file: a table (CSV, TSV, Excel), or JSON in MONAI's form."""

from __future__ import annotations

import codecs
import csv
import io
import json
import logging
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from monai_ima.data.sample import Entry, Listing, section_named
from monai_ima.data.spreadsheet import read_workbook
from monai_ima.data.table_words import FOLDER_COLUMNS, OTHER_COLUMNS, USUAL_COLUMNS, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_logger = logging.getLogger(__name__)

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, with which it begins
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

LIST_SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".json")
_OURS_IN_CSV = {"path": "path", "class": "class", "patient": "patient", "split": "split"}
_OURS_IN_JSON = {"path": "image", "class": "label", "patient": "patient", "split": "split"}


class Columns(NamedTuple):
    """Which columns of a table, or keys of JSON items, hold what; None where the name tells."""

    path: str | None = None
    label: str | None = None
    patient: str | None = None
    split: str | None = None

    @property
    def asked(self) -> dict[str, str | None]:
        """By what they hold."""
        return dict(zip(USUAL_COLUMNS, self, strict=True))


_Row = tuple["Mapping[str, Any]", object]  # by column, and as it is in the file


class _Rows(NamedTuple):
    """What a file says, as it says it."""

    columns: list[str]
    by_section: dict[str, list[_Row]]
    classes: dict[int, str]


def read_list(file: Path, root: Path, columns: Columns, *, patients_needed: bool) -> Listing:
    """Read a list of samples.

    A text file may be in UTF-8, UTF-16 with its mark, or (which the log then says) Windows' cp1252,
    and have commas, semicolons, tabs or bars. Of an Excel workbook the first sheet that is not empty
    is read. The columns, and the keys of JSON items, are known by their usual names in several
    languages, or by ``columns``. A JSON file has lists of items by section, or one list alone.

    Args:
        file: one of ``LIST_SUFFIXES``.
        root: the folder to which paths are relative.
        columns: which columns or keys hold what.
        patients_needed: a table must have a column of patients.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not as described; the message names it.
    """
    if not file.is_file():
        raise FileNotFoundError(
            f"expected datalist_file to be a file, got {file}: no such file; correct the path"
        )
    match file.suffix.lower():
        case ".csv" | ".tsv" | ".txt" | ".xlsx" | ".xlsm" as suffix:
            rows = _read_workbook(file) if suffix.startswith(".x") else _read_csv(file)
            found = _found_columns(file, rows.columns, columns, _OURS_IN_CSV)
            needed = ["path", "class", *(["patient"] if patients_needed else [])]
            needed += [noun for noun, name in columns.asked.items() if name and noun not in needed]
            _check_columns(file, rows.columns, found, columns, needed)
        case ".json":
            rows = _read_json(file)
            found = _found_columns(file, rows.columns, columns, _OURS_IN_JSON)
            # a key that is asked for and is in no item leaves each of them incomplete
            found |= {noun: name for noun, name in columns.asked.items() if name}
        case _:
            raise ValueError(
                f"expected datalist_file to be a {', '.join(LIST_SUFFIXES)} file, got {file}; save "
                f"it as one of these"
            )
    sections: dict[str, list[Entry]] = defaultdict(list)
    for section, members in rows.by_section.items():
        for row, raw in members:
            held = {noun: row.get(name) for noun, name in found.items()}
            entry = Entry(
                path=_path(held.get("path"), root),
                label=_label(held.get("class")),
                patient=_text(held.get("patient")),
                raw=raw,
            )
            sections[section_named(str(held["split"])) if held.get("split") else section].append(
                entry
            )
    return Listing(file, rows.classes, dict(sections))


def _found_columns(
    file: Path, present: Sequence[str], columns: Columns, ours: Mapping[str, str]
) -> dict[str, str]:
    """The column of each role that has one."""
    found: dict[str, str] = {}
    for noun, asked in columns.asked.items():
        if asked is not None:
            if asked in present:
                found[noun] = asked
            continue
        by_word = defaultdict(list)
        for name in present:
            by_word[plain(name)].append(name)
        usual, others, folders = (
            [name for word in words.get(noun, ()) for name in by_word[word]]
            for words in (USUAL_COLUMNS, OTHER_COLUMNS, FOLDER_COLUMNS)
        )
        exactly = [name for name in present if name == ours[noun]]
        candidates = exactly or by_word[ours[noun]] or usual or others or folders
        if len(candidates) > 1:
            raise ValueError(
                f"expected one {noun} in each row of {file}, got the columns "
                f"{', '.join(candidates)}; say which it is with {noun}_column"
            )
        if candidates:
            found[noun] = candidates[0]
    if any(name != ours[noun] for noun, name in found.items()):
        said = ", ".join(f"{noun} in {name}" for noun, name in found.items())
        _logger.info("columns of %s: %s", file, said)
    return found


def _check_columns(
    file: Path,
    present: Sequence[str],
    found: Mapping[str, str],
    columns: Columns,
    needed: Sequence[str],
) -> None:
    if missing := sorted(set(needed) - set(found)):
        names = [columns.asked[noun] or noun for noun in needed]
        lacking = [columns.asked[noun] or noun for noun in missing]
        raise ValueError(
            f"expected {file} to have the columns {', '.join(names[:-1])} and {names[-1]}, got no "
            f"{', '.join(lacking)}; add them, or say which of its columns "
            f"({', '.join(present) or 'none'}) they are with "
            f"{', '.join(f'{noun}_column' for noun in missing)}"
        )


def _read_csv(file: Path) -> _Rows:
    text = _decoded(file)
    try:
        return _csv_rows(text)
    except (csv.Error, ValueError) as error:
        raise ValueError(
            f"expected {file} to be a CSV file with the names of its columns in the first line, "
            f"got {error}; correct it, or save it as CSV in UTF-8"
        ) from error


def _read_workbook(file: Path) -> _Rows:
    columns, *lines = read_workbook(file) or [[]]
    try:
        return _table(columns, enumerate(lines, start=2), may_end_early=True)
    except ValueError as error:
        raise ValueError(
            f"expected {file} to have the names of its columns in the first row, got {error}; "
            f"correct it"
        ) from error


def _csv_rows(text: str) -> _Rows:
    header = next(iter(text.splitlines()), "")
    delimiter = max(",;\t|", key=header.count)
    lines = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    columns = [name.strip() for name in next(lines, [])]
    return _table(columns, ((lines.line_num, values) for values in lines), may_end_early=False)


def _table(
    columns: list[str], lines: Iterable[tuple[int, list[str]]], *, may_end_early: bool
) -> _Rows:
    """Rows by column; ``may_end_early``: cells that are not there are empty."""
    if len(set(columns)) < len(columns):
        raise ValueError(f"the columns {', '.join(columns)}, not all of them different")
    rows: list[_Row] = []
    for number, values in lines:
        if not values:  # an empty line
            continue
        lacking = len(columns) - len(values)
        if lacking < 0 or (lacking and not may_end_early):
            raise ValueError(f"{len(values)} values in line {number} for {len(columns)} columns")
        cells = [value.strip() for value in values] + [""] * lacking
        row = dict(zip(columns, cells, strict=True))
        rows.append((row, row))
    return _Rows(columns, {"training": rows} if rows else {}, {})


def _read_json(file: Path) -> _Rows:
    text = _decoded(file, fall_back=False)
    try:
        return _json_rows(text)
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(
            f'expected {file} to be JSON in the decathlon form {{"training": [...], ...}}, with '
            f"the classes, if named, as a list or by their numbers, got: {error}"
        ) from error


def _json_rows(text: str) -> _Rows:
    # Not monai.data.load_decathlon_datalist: it takes a label or a patient for a path wherever the
    # data set has a folder of that name, as it has with class folders.
    content = json.loads(text)
    if isinstance(content, list):  # as some bundles of the model zoo have it
        content = {"training": content}
    lists = {
        name: items
        for name, items in content.items()
        if isinstance(items, list) and items and name not in ("classes", "labels")
    }
    by_section: dict[str, list[_Row]] = {
        section_named(name): [(item if isinstance(item, dict) else {}, item) for item in items]
        for name, items in lists.items()
    }
    if len(by_section) < len(lists):
        raise ValueError(f"two names of one section among {', '.join(lists)}")
    keys = dict.fromkeys(key for rows in by_section.values() for row, _ in rows for key in row)
    classes = _declared(content.get("classes") or content.get("labels") or ())
    return _Rows(list(keys), by_section, classes)


def _declared(classes: Any) -> dict[int, str]:
    """Names by number: of a list, ``{"0": "background", ...}`` or ``{"background": 0, ...}``."""
    if isinstance(classes, dict):
        numbers = {str(key): str(value) for key, value in classes.items()}
        if not all(key.isdecimal() for key in numbers) and all(
            value.isdecimal() for value in numbers.values()
        ):
            numbers = {value: key for key, value in numbers.items()}
        names = {int(number): name for number, name in numbers.items()}
        if len(names) < len(classes):
            raise ValueError(f"one number for several classes, {classes}")
    else:
        names = dict(enumerate(map(str, classes)))
    if len(set(names.values())) < len(names):
        raise ValueError(f"the same name for several classes, {', '.join(names.values())}")
    return names


def _decoded(file: Path, *, fall_back: bool = True) -> str:
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


def _path(value: object, root: Path) -> str:
    if not isinstance(value, str) or not value:
        return ""
    if "\\" in value and not (root / value).exists():  # as Windows writes it
        value = value.replace("\\", "/")
    path = Path(value)
    if path.is_absolute() and path.is_relative_to(root.absolute()):
        path = path.relative_to(root.absolute())
    return path.as_posix()


def _label(value: object) -> str | int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return value


def _text(value: object) -> str:
    """A patient; empty for what names none."""
    label = _label(value)
    return "" if label is None else str(label)
