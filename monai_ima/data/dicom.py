"""DICOM files and series, through MONAI's reader."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from monai.data import PydicomReader
from monai.utils import optional_import
from torch import Tensor

from monai_ima.data.image_reading import read_by

pydicom, _has_pydicom = optional_import("pydicom")

_NEEDED = [  # of a header, for what is looked at here
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "InstanceNumber",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelSpacing",
    "Rows",
    "SamplesPerPixel",
    "SeriesInstanceUID",
]
_UNEVEN = 0.05  # of the distance between slices, beyond which one is missing


class DicomImage(NamedTuple):
    """What a file or a series holds.

    Attributes:
        values: ``(1, rows, columns)`` or, of a series, ``(1, rows, columns, slices)`` float32, in the
            modality's units (Hounsfield of CT), or ``(3, rows, columns)`` of a colour picture.
        inverted: low values are shown bright.
        largest: the largest level of a colour picture; None where levels have no end of their own.
        bits: of a level in the file.
        spacing: of the values along each axis in mm; None where the file does not say it.
    """

    values: Tensor
    inverted: bool
    largest: float | None
    bits: int
    spacing: tuple[float, ...] | None


def read_dicom(path: Path) -> DicomImage:
    """Read a DICOM file, or the series that a folder holds.

    Raises:
        ImportError: without pydicom.
        ValueError: if a file has several frames or a palette, or a folder none, several series, slices that do not
            lie at equal distances or are not of one size.
    """
    headers = _headers(path)
    first = headers[0]
    _check_frames(headers)
    if first.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise ValueError("expected grey levels or RGB, got places in a palette; save it as either")
    if path.is_dir():
        _check_series(headers)
    with warnings.catch_warnings():
        # without a position, as of an x-ray, there is no affine, and none is needed
        warnings.filterwarnings("ignore", message="PydicomReader: ImageOrientationPatient")
        warnings.filterwarnings("ignore", message="Failed to read")  # what is beside the slices
        image, _ = read_by(PydicomReader(swap_ij=False), path)
    colour, placed = (
        first.get("SamplesPerPixel", 1) > 1,
        first.get("ImagePositionPatient") is not None,
    )
    return DicomImage(
        image.movedim(-1, 0) if colour else image[None],
        inverted=first.get("PhotometricInterpretation") == "MONOCHROME1",
        largest=float(2**first.BitsAllocated - 1) if colour else None,
        bits=int(first.get("BitsStored") or first.BitsAllocated),
        spacing=tuple(image.pixdim.tolist()[: 2 if colour else image.ndim]) if placed else None,
    )


def count_samples(path: Path) -> int:
    """Count the channels of a file or a series by its first header alone."""
    return int(_headers(path, all_=False)[0].get("SamplesPerPixel", 1))


def says_orientation(path: Path) -> bool:
    """Whether a file or a series says how it lies in the patient."""
    return all(
        header.get(name) is not None
        for header in _headers(path, all_=False)
        for name in ("ImageOrientationPatient", "ImagePositionPatient")
    )


def _headers(path: Path, *, all_: bool = True) -> list[Any]:
    """Those of a file, or of the DICOM files in a folder, others being passed over."""
    if not _has_pydicom:
        raise ImportError(
            f"expected pydicom for DICOM ({path}), got none; install it: pip install "
            f"'monai-ima[dicom]'"
        )
    if not path.is_dir():
        return [_header(path)]
    files = (file for file in sorted(path.iterdir()) if _is_dicom(file))
    headers = [_header(file) for file in (files if all_ else list(files)[:1])]
    if not headers:
        raise ValueError("expected a folder with the DICOM files of one series, got none")
    return headers


def _is_dicom(file: Path) -> bool:
    return file.is_file() and bool(pydicom.misc.is_dicom(file))


def _header(file: Path) -> Any:
    try:
        return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_NEEDED)
    except pydicom.errors.InvalidDicomError as error:
        raise ValueError("expected a DICOM file, got one that does not begin as such") from error


def _check_frames(headers: Sequence[Any]) -> None:
    frames = max(int(header.get("NumberOfFrames") or 1) for header in headers)
    if frames > 1:
        raise ValueError(
            f"expected one frame a file, got {frames}; save them as a series, or as a volume in NIfTI"
        )


def _check_series(headers: Sequence[Any]) -> None:
    """See that the files of a folder are the slices of one volume, with none missing."""
    series = {header.get("SeriesInstanceUID") for header in headers}
    if len(series) > 1:
        raise ValueError(f"expected one series in the folder, got {len(series)}; separate them")
    sizes = {(header.Rows, header.Columns) for header in headers}
    if len(sizes) > 1:
        raise ValueError(f"expected slices of one size, got {sorted(sizes)}")
    numbers = [header.get("InstanceNumber") for header in headers]
    if None in numbers or len(set(numbers)) < len(numbers):
        raise ValueError(
            "expected an InstanceNumber of its own in each slice, got some without or the same twice; "
            "take copies out"
        )
    if len(headers) < 2 or any(header.get("ImagePositionPatient") is None for header in headers):
        return
    along = sorted(headers, key=lambda header: header.InstanceNumber)
    steps = np.diff([np.asarray(header.ImagePositionPatient, float) for header in along], axis=0)
    usual = np.median(steps, axis=0)
    if np.abs(steps - usual).max() > _UNEVEN * float(np.linalg.norm(usual)):
        raise ValueError(
            "expected slices at equal distances, in the order of their InstanceNumber, got others: one "
            "may be missing, or of another series"
        )
