"""DICOM files and series, through MONAI's reader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from monai.data import PydicomReader
from monai.utils import optional_import
from torch import Tensor

from monai_ima.data.image_reading import read_by

pydicom, _has_pydicom = optional_import("pydicom")

_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_NEEDED = [  # of a header, for what is looked at here
    *_GROUPS,
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "InstanceNumber",
    "ModalityLUTSequence",
    "NumberOfFrames",
    "PatientID",
    "PhotometricInterpretation",
    "PixelSpacing",
    "Rows",
    "SamplesPerPixel",
    "SeriesInstanceUID",
]
_ORIENTATION, _POSITION = "00200037", "00200032"  # tags, as MONAI's reader has them
_UNEVEN = 0.05  # of the distance between slices, beyond which one is missing
_NO_PREAMBLE = (
    "expected a DICOM file, got one that does not begin as such: give a picture the suffix of its kind, "
    "and DICOM its preamble, as pydicom's save_as and DCMTK's dcmconv write it"
)


class DicomImage(NamedTuple):
    """What a file or a series holds.

    Attributes:
        values: ``(1, rows, columns)`` or, of a series, ``(1, rows, columns, slices)`` float32, in the
            modality's units (Hounsfield of CT), or ``(3, rows, columns)`` of a colour picture.
        inverted: low values are shown bright.
        largest: the largest level of a colour picture; None where levels have no end of their own.
        bits: of a level in the file.
        spacing: of the values along each axis in mm; None where the file does not say it.
        person: the PatientID; empty where the file does not say it.
    """

    values: Tensor
    inverted: bool
    largest: float | None
    bits: int
    spacing: tuple[float, ...] | None
    person: str


def read_dicom(path: Path) -> DicomImage:
    """Read a DICOM file, or the series that a folder holds.

    Raises:
        ImportError: without pydicom.
        ValueError: if a file has several frames, a palette or a table of values, or a folder none, several
            series, slices that do not lie at equal distances or are not of one size.
    """
    found = _headers(path)
    headers = list(found.values())
    first = headers[0]
    _check_frames(headers)
    if first.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise ValueError("expected grey levels or RGB, got places in a palette; save it as either")
    if any("ModalityLUTSequence" in header for header in headers):
        raise ValueError(
            "expected levels in proportion to the modality's units, got places in a table "
            "(ModalityLUTSequence); save what it says of them (pydicom's apply_modality_lut)"
        )
    if path.is_dir():
        _check_series(headers)
    try:
        image, _ = read_by(_Reader(list(found)), path)
    except RuntimeError as error:  # pydicom names packages that decode it
        raise ValueError(
            f"{' '.join(str(error).split())}; install one (pip install python-gdcm), or save it "
            f"uncompressed"
        ) from error
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
        person=str(first.get("PatientID") or "").strip(),
    )


def count_samples(path: Path) -> int:
    """Count the channels of a file or a series by its first header alone."""
    return int(_first_header(path).get("SamplesPerPixel", 1))


def says_orientation(path: Path) -> bool:
    """Whether a file or a series says how it lies in the patient."""
    header = _first_header(path)
    return all(
        header.get(name) is not None for name in ("ImageOrientationPatient", "ImagePositionPatient")
    )


class _Reader(PydicomReader):
    """MONAI's, of these files of what is read, and of what an enhanced one says elsewhere."""

    def __init__(self, files: list[Path]) -> None:
        super().__init__(swap_ij=False)
        self._files = files

    def read(self, *_: Any, **__: Any) -> Any:
        read = [_as_a_plain_one(pydicom.dcmread(file)) for file in self._files]
        self.has_series = len(read) > 1
        names: list[Any] = [self._files if self.has_series else self._files[0]]
        self.filenames = names
        return read if self.has_series else read[0]

    def _get_affine(self, metadata: dict[str, Any], lps_to_ras: bool = True) -> Any:
        # Without a position, as of an x-ray, there is none, and none is needed. MONAI says so in a
        # warning, which threads that read side by side cannot catch.
        is_placed = {_ORIENTATION, _POSITION} <= metadata.keys()
        return super()._get_affine(metadata, lps_to_ras) if is_placed else np.eye(4)


def _first_header(path: Path) -> Any:
    return next(iter(_headers(path, at_most=1).values()))


def _headers(path: Path, *, at_most: int | None = None) -> dict[Path, Any]:
    """Of a file, or of the slices in a folder, others being passed over, by file."""
    if not _has_pydicom:
        raise ImportError(
            f"expected pydicom for DICOM ({path}), got none; install it: pip install "
            f"'monai-ima[dicom]'"
        )
    if not path.is_dir():
        header = _header(path)
        if header.get("Rows") is None:
            raise ValueError(
                "expected an image, got DICOM without one, as a DICOMDIR or a report is"
            )
        return {path: header}
    headers = dict(islice(_slices(path), at_most))
    if not headers:
        raise ValueError("expected a folder with the DICOM files of one series, got none")
    return headers


def _slices(folder: Path) -> Iterator[tuple[Path, Any]]:
    """The DICOM files in a folder that hold an image, as a DICOMDIR or a report does not, with their headers."""
    for file in sorted(folder.iterdir()):
        if _is_dicom(file) and (header := _header(file)).get("Rows") is not None:
            yield file, header


def _is_dicom(file: Path) -> bool:
    return file.is_file() and bool(pydicom.misc.is_dicom(file))


def _header(file: Path) -> Any:
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_NEEDED)
    except pydicom.errors.InvalidDicomError as error:
        raise ValueError(_NO_PREAMBLE) from error
    return _as_a_plain_one(header)


def _as_a_plain_one(data: Any) -> Any:
    """A file of one frame; what an enhanced one says in groups of frames is where others say it."""
    if int(data.get("NumberOfFrames") or 1) == 1:
        groups = [group for name in _GROUPS for group in data.get(name) or ()]
        for sequence in (element.value for group in groups for element in group):
            for element in (
                sequence[0] if isinstance(sequence, pydicom.Sequence) and sequence else ()
            ):
                if element.tag not in data:
                    data.add(element)
    return data


def _check_frames(headers: Sequence[Any]) -> None:
    frames = max(int(header.get("NumberOfFrames") or 1) for header in headers)
    if frames > 1:
        raise ValueError(
            f"expected one frame a file, got {frames}; save them as a series, or as a volume in NIfTI "
            f"(dcm2niix makes one)"
        )


def _check_series(headers: Sequence[Any]) -> None:
    """See that the files of a folder are the slices of one volume, with none missing."""
    if len(headers) < 2:
        raise ValueError(
            "expected the slices of a volume, got one; name the file, and not its folder"
        )
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
    along = sorted(headers, key=lambda header: header.InstanceNumber)
    if any(header.get("ImagePositionPatient") is None for header in headers):
        first, last = int(along[0].InstanceNumber), int(along[-1].InstanceNumber)
        if last - first >= len(along):
            raise ValueError(
                f"expected slices {first} to {last}, as they are numbered and do not say where they "
                f"lie, got {len(along)} of {last - first + 1}"
            )
        return
    steps = np.diff([np.asarray(header.ImagePositionPatient, float) for header in along], axis=0)
    usual = np.median(steps, axis=0)
    distance = float(np.linalg.norm(usual))
    if distance == 0:
        raise ValueError(
            "expected the slices of a volume, got several of one place, as of a film; take one of them"
        )
    if np.abs(steps - usual).max() > _UNEVEN * distance:
        raise ValueError(
            "expected slices at equal distances, in the order of their InstanceNumber, got others: one "
            "may be missing, or of another series"
        )
