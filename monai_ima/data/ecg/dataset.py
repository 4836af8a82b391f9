"""A data set of beats: written once from records, and read memory-mapped."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monai_ima.data.ecg.beats import (
    CLASSES,
    FORMS,
    LABELS,
    LENGTH,
    NOT_BEATS,
    REASONS,
    cut_beats,
)
from monai_ima.data.ecg.records import PARTS, find_records, import_wfdb, read_record
from monai_ima.data.whole_folder import write_whole

_logger = logging.getLogger(__name__)
SETTINGS_FILE = "ecg_beats.json"
BEATS_FILE = "beats.npy"
TABLE_FILE = "beats.csv"
SUMMARY_FILE = "summary.json"
DIGESTS_FILE = "sha256.json"
_ROWS_AT_ONCE = 4096  # are checked
_FORMAT = 1  # raise it whenever what is written changes
_COLUMNS = ("record", "patient", "position", "symbol", "class", "lead")


@dataclass(frozen=True, eq=False)
class EcgBeats:
    """Beats with what is known of each.

    Attributes:
        beats: ``(N, 187)``, from 0 to 1.
        labels: ``(N,)``, the index of the class in ``classes``.
        records: ``(N,)``, the name of the record, or of the file.
        patients: ``(N,)``, the patient; empty where not known.
        positions: ``(N,)``, the annotation's sample in the record, at the record's rate; or the row
            in the file.
        symbols: ``(N,)``, the annotation's code; empty where not known.
        leads: ``(N,)``, the lead's name; empty where not known.
        classes: the names of the AAMI classes.
    """

    beats: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    records: npt.NDArray[np.str_]
    patients: npt.NDArray[np.str_]
    positions: npt.NDArray[np.int64]
    symbols: npt.NDArray[np.str_]
    leads: npt.NDArray[np.str_]
    classes: tuple[str, ...] = CLASSES


def write_ecg_beats(
    records: str | Path, output: str | Path, *, form: str = "kachuee", lead: str | None = None
) -> bool:
    """Cut the beats of all WFDB records in a folder and write them in one step.

    The folder written holds ``beats.npy``, ``(N, 187)`` in single precision, which goes to a device
    as it is and is no larger than the records it comes from (half precision is coarser than their
    steps); ``beats.csv`` with the record, patient, position, symbol, class and lead of each;
    ``summary.json``, which accounts for every annotation; ``sha256.json`` with the digests of the
    first two; and ``ecg_beats.json`` with what all that depends on.

    Args:
        records: the folder with the ``.hea``, ``.dat`` and ``.atr`` files.
        output: the folder to write. If the same was written there before, it is left untouched.
        form: how beats are cut, as for :func:`cut_beats`.
        lead: the lead's name; by default MLII where there is one, as for :func:`read_record`.

    Returns:
        Whether it was written now.

    Raises:
        ImportError: if the library ``wfdb`` is not installed.
        FileNotFoundError: if ``records`` does not exist, has no records, or one lacks a file.
        ValueError: if a file is damaged, a record has no such lead, none has a beat, there is no
            such form, or ``output`` holds anything else.
    """
    import_wfdb()
    if form not in FORMS:
        raise ValueError(f"expected form to be one of {', '.join(FORMS)}, got {form!r}")
    folder = Path(records)
    names = find_records(folder)
    settings = {
        "writer": "monai_ima.data.ecg",
        "format": _FORMAT,
        "form": form,
        "lead": lead,
        "records": len(names),
        "records_sha256": _fingerprint(folder, names),
    }

    def write(draft: Path) -> None:
        beats, table, summary = _cut_all(folder, names, form, lead)
        np.save(draft / BEATS_FILE, beats)
        with (draft / TABLE_FILE).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([_COLUMNS, *table])
        (draft / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")
        write_digests(draft)

    return write_whole(
        Path(output),
        settings,
        settings_file=SETTINGS_FILE,
        kind="a folder of ECG beats",
        write=write,
    )


def load_ecg_beats(folder: str | Path) -> EcgBeats:
    """Read what :func:`write_ecg_beats` has written.

    The beats are mapped from their file: they are read when they are used, and changes to the array
    do not reach the file.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if a file is not as it was written, a value of a beat is not from 0 to 1, a row
            of the table means nothing, or the two do not fit each other; the message names the file
            and, where it can be told, the row.
    """
    folder = Path(folder)
    for file in (SETTINGS_FILE, BEATS_FILE, TABLE_FILE):
        if not (folder / file).is_file():
            raise FileNotFoundError(
                f"expected a folder of ECG beats, got {folder} without {file}; write one with "
                f"monai-ima prepare-ecg"
            )
    table = _read_table(folder / TABLE_FILE)
    labels = [CLASSES.index(row["class"]) for row in table]
    beats = _read_beats(folder / BEATS_FILE, len(table))
    _check_digests(folder)  # last, because the checks before it say more
    column = {name: np.array([row[name] for row in table]) for name in _COLUMNS}
    return EcgBeats(
        beats=beats,
        labels=np.array(labels, dtype=np.int64),
        records=column["record"],
        patients=column["patient"],
        positions=column["position"].astype(np.int64),
        symbols=column["symbol"],
        leads=column["lead"],
    )


def write_digests(folder: Path) -> None:
    """Keep beside beats and table by what a change is noticed when they are read."""
    digests = {name: _sha256(folder / name) for name in (BEATS_FILE, TABLE_FILE)}
    (folder / DIGESTS_FILE).write_text(json.dumps(digests, indent=2) + "\n")


def _check_digests(folder: Path) -> None:
    """Reject files that are not as they were written: another label may be as good a one."""
    path = folder / DIGESTS_FILE
    if not path.exists():
        _logger.info(
            "%s has no %s, as of earlier versions: a change of its files by accident would not be "
            "noticed; write it again with monai-ima prepare-ecg to have one",
            folder,
            DIGESTS_FILE,
        )
        return
    try:
        digests = json.loads(path.read_bytes())
    except ValueError:
        digests = None
    if not isinstance(digests, dict):
        digests = {}
    for name in (BEATS_FILE, TABLE_FILE):
        if digests.get(name) != (found := _sha256(folder / name)):
            raise ValueError(
                f"expected {folder / name} to be as it was written, with the digest "
                f"{digests.get(name)} that {path} has, got {found}: one of the two files was changed "
                f"or damaged; remove the folder and write it again, or remove {DIGESTS_FILE} if you "
                f"made the change"
            )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        digest = hashlib.sha256()
        while part := stream.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _read_table(file: Path) -> list[dict[str, str]]:
    advice = "remove the folder and write it again"
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"expected {file} to be a table, got: {error}; {advice}") from error
    if not rows or tuple(rows[0]) != _COLUMNS:
        raise ValueError(
            f"expected {file} to have the columns {', '.join(_COLUMNS)}, got "
            f"{', '.join(rows[0]) if rows else 'none'}; {advice}"
        )
    table = []
    seen = set()
    for number, values in enumerate(rows[1:], start=1):
        row = dict(zip(_COLUMNS, values, strict=False))
        wrong = _wrong(values)
        if not wrong and tuple(values[:3]) in seen:
            wrong = "no other row of that place"
        if wrong:
            raise ValueError(f"expected {wrong} in row {number} of {file}, got {values}; {advice}")
        seen.add(tuple(values[:3]))
        table.append(row)
    return table


def _wrong(values: list[str]) -> str:
    """What a row of the table should have and has not; empty if it is right."""
    if len(values) != len(_COLUMNS):
        return f"{len(_COLUMNS)} values"
    row = dict(zip(_COLUMNS, values, strict=True))
    if not row["record"] or not row["patient"] or not row["lead"]:
        return "a record, a patient and a lead"
    if not (row["position"].isascii() and row["position"].isdecimal()) or len(row["position"]) > 18:
        return "a position, a whole number from 0 on,"
    if row["class"] not in CLASSES:
        return f"a class ({', '.join(CLASSES)})"
    if row["symbol"] and LABELS.get(row["symbol"]) != CLASSES.index(row["class"]):
        return f"the class of the symbol {row['symbol']}"
    return ""


def _read_beats(file: Path, count: int) -> npt.NDArray[np.float32]:
    advice = "remove the folder and write it again"
    try:
        # copy on write, because torch.from_numpy warns of an array that is read only
        beats = np.load(file, mmap_mode="c", allow_pickle=False)
    except Exception as error:  # of a damaged header: ValueError, SyntaxError, TokenError and more
        raise ValueError(f"expected {file} to be an array, got: {error}; {advice}") from error
    if not isinstance(beats, np.ndarray) or beats.shape != (count, LENGTH):
        found = f"an array of {getattr(beats, 'shape', 'no shape')}"
        raise ValueError(
            f"expected as many beats of {LENGTH} values in {file} as {TABLE_FILE} has rows, "
            f"{count}, got {found}; {advice}"
        )
    if beats.dtype.kind != "f":
        raise ValueError(
            f"expected {file} to hold numbers in single precision, got {beats.dtype}; {advice}"
        )
    for start in range(0, count, _ROWS_AT_ONCE):
        part = beats[start : start + _ROWS_AT_ONCE]
        outside = ~((part >= 0) & (part <= 1)).all(axis=1)  # NaN is outside, too
        if outside.any():
            row = int(outside.argmax())
            worst = part[row][~((part[row] >= 0) & (part[row] <= 1))][0]
            raise ValueError(
                f"expected values from 0 to 1 in {file}, got {worst} in row {start + row + 1}; "
                f"{advice}"
            )
    if beats.dtype == np.float32:
        return beats
    single: npt.NDArray[np.float32] = beats.astype(np.float32)
    return single


def _cut_all(
    folder: Path, names: list[str], form: str, lead: str | None
) -> tuple[npt.NDArray[np.float32], list[tuple[object, ...]], dict[str, object]]:
    rows = []
    table: list[tuple[object, ...]] = []
    annotated: Counter[str] = Counter()
    written: Counter[str] = Counter()
    excluded: dict[str, Counter[str]] = {reason: Counter() for reason in REASONS}
    others: Counter[str] = Counter()
    leads: Counter[str] = Counter()
    patients = set()
    shortened = 0
    for name in names:
        record = read_record(folder, name, lead)
        cut = cut_beats(record, form)
        rows.append(cut.rows)
        for position, symbol, reason in zip(cut.positions, cut.symbols, cut.reasons, strict=True):
            class_name = CLASSES[LABELS[symbol]]
            annotated[class_name] += 1
            if reason:
                excluded[reason][class_name] += 1
            else:
                written[class_name] += 1
                table.append((name, record.patient, position, symbol, class_name, record.lead))
        others.update(symbol for symbol in record.symbols if symbol not in LABELS)
        leads[record.lead] += 1
        patients.add(record.patient)
        shortened += cut.shortened
    if not table:
        raise ValueError(
            f"expected annotated beats ({' '.join(LABELS)}) in the records of {folder}, got none "
            f"that can be used among {sum(annotated.values()) + sum(others.values())} annotations; "
            f"give another folder"
        )
    summary = {
        "form": form,
        "records": len(names),
        "patients": len(patients),
        "leads": dict(leads),
        "annotated": _by_class(annotated),
        "written": _by_class(written),
        "excluded": {reason: _by_class(counts) for reason, counts in excluded.items()},
        "shortened": shortened,
        "not_beats": {symbol: n for symbol, n in sorted(others.items()) if symbol in NOT_BEATS},
        "unknown_symbols": {
            symbol: n for symbol, n in sorted(others.items()) if symbol not in NOT_BEATS
        },
    }
    return np.concatenate(rows), table, summary


def _by_class(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in CLASSES}


def _fingerprint(folder: Path, names: list[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        for suffix in PARTS:
            content = (folder / f"{name}{suffix}").read_bytes()
            digest.update(f"{name}{suffix}/{len(content)}/".encode())
            digest.update(content)
    return digest.hexdigest()
