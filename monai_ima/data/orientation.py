"""Which way round the volumes are that go into a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai import transforms
from monai.transforms import Orientationd

from monai_ima.data.dicom import says_orientation as dicom_says
from monai_ima.data.image_formats import kind_of
from monai_ima.data.images import LoadIntensityd, naming
from monai_ima.data.nifti import says_orientation as nifti_says
from monai_ima.data.tensors import TensorSamples

# What leaves the axes of a volume in their order and direction. Of other transforms it is not known.
_KEEPING = (
    LoadIntensityd,
    transforms.CastToTyped,
    transforms.CenterSpatialCropd,
    transforms.EnsureTyped,
    transforms.NormalizeIntensityd,
    transforms.Resized,
    transforms.ResizeWithPadOrCropd,
    transforms.ScaleIntensityd,
    transforms.ScaleIntensityRanged,
    transforms.ScaleIntensityRangePercentilesd,
    transforms.Spacingd,
    transforms.SpatialPadd,
    transforms.ToTensord,
)


def orientation_of(
    preprocessing: object, samples: TensorSamples | Sequence[Mapping[str, Any]]
) -> str | None:
    """The direction in which each axis of the volumes that go into a network rises.

    Args:
        preprocessing: the transforms that turn them, by MONAI's ``Orientationd``.
        samples: whose ``image`` is the path of a file.

    Returns:
        Of each axis a letter, as ``"RAS"``: to the patient's right, to the front, to the head.
        ``None`` where it is not known of all: without ``Orientationd``, behind which a transform may
        follow that turns them again, or where a file does not say how it lies.
    """
    if isinstance(samples, TensorSamples):
        return None
    axcodes = _turned_to(preprocessing)
    if axcodes is None or not all(says_orientation(sample.get("image")) for sample in samples):
        return None
    return axcodes


def _turned_to(preprocessing: object) -> str | None:
    axcodes = None
    for step in _steps(preprocessing):
        if isinstance(step, Orientationd):
            turn = step.ornt_transform
            letters = "RAS" if turn.as_closest_canonical else turn.axcodes
            has_own_labels = turn.labels not in (None, (("L", "R"), ("P", "A"), ("I", "S")))
            axcodes = None if has_own_labels or letters is None else "".join(letters)
        elif not isinstance(step, _KEEPING):
            axcodes = None
    return axcodes


def _steps(transform: object) -> Iterator[object]:
    parts = getattr(transform, "transforms", None)
    if parts is None:
        yield transform
    else:
        for part in parts:
            yield from _steps(part)


def says_orientation(image: object) -> bool:
    """Whether the file of an image says how its axes lie in the patient.

    Raises:
        DataError: if it cannot be read.
    """
    if not isinstance(image, str | Path):
        return False
    path = Path(image)
    with naming(path):
        match kind_of(path):
            case "nifti":
                return nifti_says(path)
            case "dicom":
                return dicom_says(path)
            case _:
                return False
