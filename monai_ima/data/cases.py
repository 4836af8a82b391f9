"""Cases that a model is asked about: inputs without labels, as a person has them in files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from monai_ima.data.ecg.beats import LENGTH
from monai_ima.data.file_tree import by_suffix, counts_in_words, files_below
from monai_ima.data.image_formats import IMAGE_SUFFIXES, is_image, kind_of

_logger = logging.getLogger(__name__)

_NPY = b"\x93NUMPY"  # what a file of NumPy's begins with
Cases = list[dict[str, Any]]  # "image": what the preprocessing takes; "id": what names it


def image_cases(path: str | Path) -> Cases:
    """An image file, whatever its suffix, or all images below a folder.

    Hidden files, and those of ``__MACOSX``, are none; what else is no image is counted in the log.

    Returns:
        The images' paths, in the order of their names.

    Raises:
        FileNotFoundError: if there is no such file, or no image in the folder.
    """
    path = Path(path)
    if not path.is_dir():
        return [{"image": str(_existing(path)), "id": str(path)}]
    found = _images_below(path)
    if not found:
        raise FileNotFoundError(
            f"expected images ({', '.join(IMAGE_SUFFIXES)}) below {path}, got none; name the files "
            "themselves if they have other suffixes"
        )
    return [{"image": str(file), "id": str(file)} for file in found]


def volume_cases(path: str | Path) -> Cases:
    """A volume file, or all volumes below a folder; one that holds DICOM files is the folder of a series.

    Returns:
        The volumes' paths, in the order of their names.

    Raises:
        FileNotFoundError: if there is no such file, or no image in the folder.
    """
    cases = image_cases(path)
    found = {
        str(file.parent) if Path(path).is_dir() and kind_of(file) == "dicom" else str(file): None
        for file in (Path(case["image"]) for case in cases)
    }
    return [{"image": name, "id": name} for name in found]


def beat_cases(path: str | Path) -> Cases:
    """Heartbeats: a CSV file in Kaggle's form, or ``beats.npy`` of ``monai-ima prepare-ecg``.

    Args:
        path: a file, whose rows have 187 values from 0 to 1; in a CSV file a label may follow,
            which is not looked at. Or a folder with such files.

    Returns:
        Tensors ``(1, 187)``, named by file and row, from 1 on.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a row is another one, naming it.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted([*path.glob("*.npy"), *path.glob("*.csv")])
        if (path / "beats.npy").is_file():  # of prepare-ecg, whose beats.csv is about them
            files = [path / "beats.npy"]
        if not files:
            raise FileNotFoundError(f"expected CSV files of beats in {path}, got none")
        return [case for file in files for case in beat_cases(file)]
    _existing(path)
    _check_not_empty(path)
    table = _array(path) if path.suffix == ".npy" else _table(path)
    if table.ndim != 2 or table.shape[1] not in (LENGTH, LENGTH + 1):
        raise ValueError(
            f"expected {path} to have rows of {LENGTH} values from 0 to 1, a beat each, and at most "
            f"a label behind them, got an array of the shape {table.shape}; cut beats with monai-ima "
            f"prepare-ecg"
        )
    if len(table) == 0:
        raise ValueError(f"expected {path} to hold a beat at least, got none")
    return [
        {"image": torch.tensor(row[None, :LENGTH], dtype=torch.float32), "id": f"{path}:{number}"}
        for number, row in enumerate(table, start=1)
    ]


def array_cases(path: str | Path) -> Cases:
    """Inputs as they go into the network: a file of NumPy's, ``(N, C, *)``, or a folder of them.

    Returns:
        Tensors ``(C, *)``, named by file and place, from 1 on.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no array of numbers.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.npy"))
        if not files:
            raise FileNotFoundError(f"expected files of NumPy's (.npy) in {path}, got none")
        return [case for file in files for case in array_cases(file)]
    _check_not_empty(_existing(path))
    values = _array(path)
    if values.ndim < 2:
        raise ValueError(
            f"expected {path} to hold an array (N, C, ...), samples as they go into the network, got "
            f"one of the shape {values.shape}"
        )
    if len(values) == 0:
        raise ValueError(f"expected {path} to hold a sample at least, got none")
    return [
        {"image": torch.tensor(value, dtype=torch.float32), "id": f"{path}:{number}"}
        for number, value in enumerate(values, start=1)
    ]


def _images_below(folder: Path) -> list[Path]:
    files = list(files_below(folder))
    images = sorted(file for file in files if is_image(file))
    others = by_suffix(file for file in files if not is_image(file))
    if images and others:
        _logger.warning(
            "not read in %s: %s (read are %s)",
            folder,
            counts_in_words(others),
            ", ".join(IMAGE_SUFFIXES),
        )
    return images


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    return path


def _check_not_empty(path: Path) -> None:
    if path.stat().st_size == 0:
        raise ValueError(
            f"expected {path} to hold cases, got an empty file; copy or export it again"
        )


def _array(path: Path) -> npt.NDArray[Any]:
    with path.open("rb") as file:
        if file.read(len(_NPY)) != _NPY:  # NumPy would take it for a pickle, and advise to load it
            raise ValueError(f"expected {path} to be an array of NumPy's (.npy), got another file")
    try:
        values = np.load(path, allow_pickle=False)
    except Exception as error:  # of a damaged header: ValueError, SyntaxError, TokenError and more
        raise ValueError(f"expected {path} to be an array of NumPy's, got: {error}") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise ValueError(f"expected {path} to be an array of numbers, got another kind of file")
    return values


def _table(path: Path) -> npt.NDArray[Any]:
    try:
        return np.loadtxt(path, delimiter=",", dtype=np.float32, ndmin=2, comments=None)
    except ValueError as error:  # a header, text, or rows of different lengths
        raise ValueError(
            f"expected {path} to have rows of {LENGTH} numbers, with decimal points and commas "
            f"between, got: {error}"
        ) from error
