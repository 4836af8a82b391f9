"""WFDB records as PhysioNet has them: the signal of one lead and its annotations."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

PREFERRED_LEADS = ("MLII", "II")  # the modified limb lead II of an ambulatory recorder, and lead II
SAME_SUBJECT = {"202": "201"}  # in the MIT-BIH Arrhythmia Database, by its own directory
_BYTES = {"8": 1, "16": 2, "24": 3, "32": 4, "61": 2, "80": 1, "160": 2, "212": 1.5}  # a sample
_FORMATS = (*_BYTES, "310", "311", "508", "516", "524")  # of the last five the sizes differ
_RATES = (20, 100_000)  # samples per second that a recorder may have
PARTS = {".hea": "header", ".dat": "signal", ".atr": "annotations"}


@dataclass(frozen=True, eq=False)
class Record:
    """One lead of a record.

    Attributes:
        name: the record's, like ``"100"``.
        patient: the record's name, or that of another record of the same subject.
        lead: the name of the lead; ``signal 1`` and so on where the header has none.
        rate: samples per second.
        signal: ``(T,)``, in steps of the converter; NaN where a sample is missing.
        limits: the smallest and the largest value that the converter can give.
        positions: ``(B,)``, the sample of each annotation, in order; on the signal's clock, if the
            annotations have another.
        symbols: the code of each annotation, one character; or ``code N`` where the standard has
            no character for the number.
    """

    name: str
    patient: str
    lead: str
    rate: float
    signal: npt.NDArray[np.float64]
    limits: tuple[float, float]
    positions: npt.NDArray[np.int64]
    symbols: tuple[str, ...]


def find_records(folder: Path) -> list[str]:
    """The names of the records in a folder, each with its header, signal and annotations.

    Raises:
        FileNotFoundError: if there is no such folder, no record in it, or a record lacks a file.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"expected a folder of WFDB records, got {folder}: no such folder; correct the path"
        )
    found = {
        suffix: {path.stem for path in folder.glob(f"*{suffix}") if not path.name.startswith(".")}
        for suffix in PARTS
    }
    names = sorted(set.union(*found.values()))
    if not names:
        raise FileNotFoundError(
            f"expected WFDB records ({', '.join(PARTS)}) in {folder}, got none; give the folder "
            f"that they lie in"
        )
    if missing := [
        f"{name}{suffix} ({part})"
        for name in names
        for suffix, part in PARTS.items()
        if name not in found[suffix]
    ]:
        raise FileNotFoundError(
            f"expected the files {', '.join(PARTS)} of every record in {folder}, got "
            f"{len(missing)} missing: {', '.join(missing)}; get them, or move the rest of those "
            f"records away"
        )
    return names


def read_record(folder: Path, name: str, lead: str | None = None) -> Record:
    """Read one lead of a record.

    Args:
        folder: where the record's files lie.
        name: of the record.
        lead: the lead's name; by default MLII, or else II, or else the first that there is (in the
            MIT-BIH database V5, in the paced records 102 and 104).

    Raises:
        FileNotFoundError: if the header names a signal file that is not there.
        ValueError: if a file is damaged or there is no such lead.
    """
    wfdb = import_wfdb()
    path = str(folder / name)
    with _naming(f"the header {name}.hea", folder):
        header = wfdb.rdheader(path)
        _check_header(header)
    names = [name or f"signal {n}" for n, name in enumerate(header.sig_name or (), start=1)]
    if lead is None:
        choice = [*PREFERRED_LEADS, *names]
        lead = next((known for known in choice if known in names), PREFERRED_LEADS[0])
    if lead not in names:
        raise ValueError(
            f"expected the lead {lead} in record {name}, got {', '.join(names) or 'none'} in "
            f"{folder / name}.hea; choose one of these, or leave the lead to be chosen"
        )
    with _naming(f"the header {name}.hea", folder):
        _check_size(folder, name, header)
    with _naming(f"the signal {name}.dat, as the header {name}.hea describes it,", folder):
        signals = wfdb.rdrecord(path, channels=[names.index(lead)])
        millivolts = signals.p_signal[:, 0]
        zero, resolution = signals.adc_zero[0] or 0, signals.adc_res[0]  # 0 where there is none
        half = 2.0 ** (resolution - 1) if resolution else np.inf
        # back to the steps that were recorded: whole numbers but for the division's rounding
        steps = np.rint(millivolts * signals.adc_gain[0]) + signals.baseline[0]
    with _naming(f"the annotations {name}.atr", folder):
        annotations = wfdb.rdann(
            path, extension="atr", return_label_elements=["symbol", "label_store"]
        )
        positions = _on_clock(annotations.sample, annotations.fs, header.fs)
    if not (folder / f"{name}.atr").read_bytes().endswith(b"\0\0"):  # wfdb reads what there is
        raise ValueError(
            f"expected {name}.atr to end with the mark of its format (two zero bytes), got a file "
            f"that was cut off; get the file again"
        )
    return Record(
        name=name,
        patient=SAME_SUBJECT.get(name, name),
        lead=lead,
        rate=float(header.fs),
        signal=steps,
        limits=(zero - half, zero + half - 1),
        positions=positions,
        symbols=tuple(
            symbol if isinstance(symbol, str) else f"code {code}"
            for symbol, code in zip(annotations.symbol, annotations.label_store, strict=True)
        ),
    )


def import_wfdb() -> ModuleType:
    """The library, which only those need who read records."""
    try:
        import wfdb  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            'expected the library wfdb to read records; install it: pip install "monai-ima[ecg]"'
        ) from error
    module: ModuleType = wfdb
    return module


def _check_header(header: Any) -> None:
    if not (header.fs and _RATES[0] <= header.fs <= _RATES[1]):
        raise ValueError(
            f"a rate of {header.fs} samples per second, not from {_RATES[0]} to {_RATES[1]:,}"
        )
    if unknown := [fmt for fmt in header.fmt or () if fmt not in _FORMATS]:
        raise ValueError(f"signals in the format {unknown[0]}, not in one of {', '.join(_FORMATS)}")
    for lead, gain in zip(header.sig_name or (), header.adc_gain or (), strict=True):
        if gain is not None and not math.isfinite(gain):
            raise ValueError(f"{gain} steps per unit of the lead {lead}")


def _on_clock(samples: Any, own_rate: float | None, rate: float) -> npt.NDArray[np.int64]:
    """Positions counted at ``own_rate``, at ``rate``."""
    positions = np.asarray(samples, dtype=np.int64)
    if not own_rate or own_rate == rate:
        return positions
    scaled: npt.NDArray[np.int64] = np.rint(positions * (rate / own_rate)).astype(np.int64)
    return scaled


def _check_size(folder: Path, name: str, header: Any) -> None:
    """Of a file that was cut off, wfdb speaks as numpy does, or repeats the only sample."""
    needed: Counter[str] = Counter()
    for file, fmt, per_frame in zip(
        header.file_name or (), header.fmt or (), header.samps_per_frame or (), strict=True
    ):
        needed[file] += math.floor((header.sig_len or 0) * per_frame * _BYTES.get(fmt, 0))
    for file, count in needed.items():
        if not (folder / file).is_file():
            raise FileNotFoundError(
                f"expected the file {file}, which the header {name}.hea names, in "
                f"{folder}, got none; get it"
            )
        if (size := (folder / file).stat().st_size) < count:
            raise ValueError(
                f"expected {count:,} bytes in {folder / file} as the header says, got {size:,}: it "
                f"is cut off; get the file again, or move the record away"
            )


@contextmanager
def _naming(what: str, folder: Path) -> Iterator[None]:
    # wfdb lets through whatever numpy, its parser or the file system meet in a damaged file
    try:
        yield
    except FileNotFoundError as error:
        if error.filename is None:  # our own
            raise
        raise _damaged(what, folder, error) from error
    except Exception as error:
        raise _damaged(what, folder, error) from error


def _damaged(what: str, folder: Path, error: Exception) -> ValueError:
    return ValueError(
        f"expected {what} of a WFDB record in {folder} to be whole, got: {error}; get the file "
        f"again, or move the record away"
    )
