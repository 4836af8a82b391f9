"""Which files hold an image, and of what kind they are."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

PICTURES = (".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff")
NIFTI = (".nii", ".nii.gz")
DICOM = (".dcm", ".dicom")
IMAGE_SUFFIXES = (*PICTURES, *NIFTI, *DICOM)

_PREAMBLE, _MAGIC = 128, b"DICM"  # what a DICOM file begins with, whatever its name

Kind: TypeAlias = Literal["picture", "nifti", "dicom"]


def kind_of(path: Path) -> Kind:
    """What reads an image.

    A folder is a DICOM series; a file without a known suffix that begins as DICOM does is DICOM.
    """
    name = path.name.lower()
    if name.endswith(NIFTI):
        return "nifti"
    if name.endswith(DICOM) or path.is_dir() or (not name.endswith(PICTURES) and _is_dicom(path)):
        return "dicom"
    return "picture"


def is_image(path: Path) -> bool:
    """Whether a file is an image by its suffix, or begins as DICOM does.

    DICOM is often named by numbers with points (``1.2.840.113619.2.55``) or has a suffix of its scanner.
    """
    return path.name.lower().endswith(IMAGE_SUFFIXES) or _is_dicom(path)


def _is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC
