"""The beats that Kachuee et al. published on Kaggle as two CSV files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from monai_ima.data.ecg.beats import CLASSES, LENGTH
from monai_ima.data.ecg.dataset import EcgBeats

KAGGLE_TRAIN, KAGGLE_TEST = "mitbih_train", "mitbih_test"


def load_kaggle_csv(train: str | Path, test: str | Path) -> EcgBeats:
    """Read ``mitbih_train.csv`` and ``mitbih_test.csv``: 187 values and a label a row, no header.

    The patients are not known. A beat's record is ``"mitbih_train"`` or ``"mitbih_test"``, by which
    :func:`split_beats` keeps the test set that was published; its position is its row in the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a row has other than 188 numbers, a value is not from 0 to 1, or a label not
            0, 1, 2, 3 or 4.
    """
    tables = [_read(Path(file)) for file in (train, test)]
    sizes = [len(table) for table in tables]
    unknown = np.full(sum(sizes), "")
    return EcgBeats(
        beats=np.concatenate([table[:, :LENGTH] for table in tables]),
        labels=np.concatenate([table[:, LENGTH] for table in tables]).astype(np.int64),
        records=np.repeat([KAGGLE_TRAIN, KAGGLE_TEST], sizes),
        patients=unknown,
        positions=np.concatenate([np.arange(size) for size in sizes]),
        symbols=unknown,
        leads=unknown,
    )


def _read(file: Path) -> npt.NDArray[np.float32]:
    expected = f"expected {file} to have rows of {LENGTH} values from 0 to 1 and a label"
    advice = "get mitbih_train.csv and mitbih_test.csv as they are on Kaggle"
    if not file.is_file():
        raise FileNotFoundError(f"expected a CSV file of beats, got {file}: no such file; {advice}")
    if not file.stat().st_size:
        raise ValueError(f"{expected}, got an empty file; {advice}")
    try:
        table: npt.NDArray[np.float32] = np.loadtxt(
            file, delimiter=",", dtype=np.float32, ndmin=2, comments=None
        )
    except ValueError as error:  # a header, text, or rows of different lengths
        raise ValueError(f"{expected}, got: {error}; {advice}") from error
    if table.shape[1] != LENGTH + 1:
        raise ValueError(f"{expected}, got {table.shape[1]} columns; {advice}")
    values, labels = table[:, :LENGTH], table[:, LENGTH]
    outside = ~((values >= 0) & (values <= 1)).all(axis=1)  # NaN is outside, too
    if outside.any():
        row = int(outside.argmax())
        worst = values[row][~((values[row] >= 0) & (values[row] <= 1))][0]
        raise ValueError(f"{expected}, got the value {worst} in row {row + 1}; {advice}")
    unknown = ~np.isin(labels, np.arange(len(CLASSES)))
    if unknown.any():
        row = int(unknown.argmax())
        raise ValueError(
            f"{expected} from 0 to {len(CLASSES) - 1} ({', '.join(CLASSES)}), got the label "
            f"{labels[row]:g} in row {row + 1}; {advice}"
        )
    return table
