"""A list of samples in a file: a table (CSV, TSV, Excel), or JSON in MONAI's form."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from monai_ima.data.sample import Entry, Listing, section_named
from monai_ima.data.spreadsheet import read_workbook
from monai_ima.data.table_words import (
    FOLDER_COLUMNS,
    OTHER_COLUMNS,
    USUAL_COLUMNS,
    means_nothing,
    one_spelling,
    plain,
)
from monai_ima.data.text_file import decoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_logger = logging.getLogger(__name__)

_SEPARATOR = re.compile(r"sep=(.)", re.IGNORECASE)
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
    unsaid: list[object] = []
    for section, members in rows.by_section.items():
        for row, raw in members:
            held = {noun: row.get(name) for noun, name in found.items()}
            entry = Entry(
                path=_path(held.get("path"), root),
                label=_label(held.get("class")),
                patient=_text(held.get("patient")),
                raw=raw,
            )
            said = _text(held.get("split"))
            unsaid += [] if said or "split" not in found else [raw]
            sections[section_named(said) if said else section].append(entry)
    if unsaid and file.suffix.lower() != ".json":
        _check_unsaid(file, unsaid, len(sections["training"]))
    return Listing(file, rows.classes, dict(sections))


def _check_unsaid(file: Path, unsaid: Sequence[object], training: int) -> None:
    """Rows without a section are those of the training, unless others are said to be."""
    if len(unsaid) < training:
        raise ValueError(
            f"expected every row of {file} to say to which side of the split it belongs, as others are "
            f"said to be for training, got {len(unsaid)} without, like {unsaid[0]}; fill it in, or leave "
            f"the rows out"
        )
    _logger.warning("%d rows of %s say no split and are for training", len(unsaid), file)


def _found_columns(
    file: Path, present: Sequence[str], columns: Columns, ours: Mapping[str, str]
) -> dict[str, str]:
    """The column of each role that has one."""
    found: dict[str, str] = {}
    for noun, asked in columns.asked.items():
        if asked is not None:
            if name := next((name for name in (asked, asked.strip()) if name in present), None):
                found[noun] = name
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
            + ("; the names of the columns come first: remove what is above" if not found else "")
        )


def _read_csv(file: Path) -> _Rows:
    text = decoded(file)
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
        return _table(columns, enumerate(lines, start=2), of_cells=True)
    except ValueError as error:
        raise ValueError(
            f"expected {file} to have the names of its columns in the first row, got {error}; "
            f"correct it"
        ) from error


def _csv_rows(text: str) -> _Rows:
    first, _, rest = text.partition("\n")
    if said := _SEPARATOR.fullmatch(first.strip()):  # a line that Excel reads and leaves out
        text = rest
    header = next(iter(text.splitlines()), "")
    delimiter = said[1] if said else max(",;\t|", key=header.count)
    lines = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    columns = [name.strip() for name in next(lines, [])]
    return _table(columns, ((lines.line_num, values) for values in lines), of_cells=False)


def _table(columns: list[str], lines: Iterable[tuple[int, list[str]]], *, of_cells: bool) -> _Rows:
    """Rows by column, without those that are empty, and what is in columns without a name.

    Cells of a workbook that are not there are empty, and what is beside its columns is none of the
    table; in text either may be a comma too few or too many.
    """
    named = [name for name in columns if name]
    if len(set(named)) < len(named):
        raise ValueError(f"the columns {', '.join(columns)}, not all of them different")
    rows: list[_Row] = []
    for number, values in lines:
        cells = [value.strip() for value in values]
        if not any(cells):
            continue
        while len(cells) > len(columns) and (of_cells or not cells[-1]):
            cells.pop()
        lacking = len(columns) - len(cells)
        if lacking and not (of_cells and lacking > 0):
            raise ValueError(f"{len(values)} values in line {number} for {len(columns)} columns")
        cells += [""] * lacking
        row = {name: cell for name, cell in zip(columns, cells, strict=True) if name}
        rows.append((row, row))
    return _Rows(named, {"training": rows} if rows else {}, {})


def _read_json(file: Path) -> _Rows:
    text = decoded(file, fall_back=False)
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
        numbers = {
            one_spelling(str(key)): one_spelling(str(value)) for key, value in classes.items()
        }
        if not all(key.isdecimal() for key in numbers) and all(
            value.isdecimal() for value in numbers.values()
        ):
            numbers = {value: key for key, value in numbers.items()}
        names = {int(number): name for number, name in numbers.items()}
        if len(names) < len(classes):
            raise ValueError(f"one number for several classes, {classes}")
    else:
        names = dict(enumerate(one_spelling(str(name)) for name in classes))
    if len(set(names.values())) < len(names):
        raise ValueError(f"the same name for several classes, {', '.join(names.values())}")
    return names


def _path(value: object, root: Path) -> str:
    if not isinstance(value, str) or not value:
        return ""
    if "\\" in value and not (root / value).exists():  # as Windows writes it
        value = value.replace("\\", "/")
    if not value.isascii() and not (root / value).exists():  # as macOS writes accents, or others
        other = (unicodedata.normalize(form, value) for form in ("NFC", "NFD"))
        value = next((path for path in other if (root / path).exists()), value)
    path = Path(value)
    if path.is_absolute() and path.is_relative_to(root.absolute()):
        path = path.relative_to(root.absolute())
    return path.as_posix()


def _label(value: object) -> str | int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or means_nothing(value):
        return None
    return one_spelling(value)


def _text(value: object) -> str:
    """A patient or a section; empty for what names none."""
    label = _label(value)
    return "" if label is None else str(label)
