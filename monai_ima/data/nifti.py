"""NIfTI slices and volumes."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.data import NibabelReader
from monai.data.utils import correct_nifti_header_if_necessary
from torch import Tensor

from monai_ima.data.image_reading import read_by

_MOST_VOXELS = 2**29  # 2 GB once read: 512 x 512 x 2048
_MOST_OFFSET = 2**26  # bytes of header and extensions, such as a DICOM header
_MOST_COMPRESSED = 1032  # times; what deflate can do
_SIDES = 0.1, 10_000.0  # mm, between which a volume is neither of other units nor without any
_CHUNK = 2**20


def read_nifti(path: Path) -> Tensor:
    """Read a slice ``(1, H, W)`` or a volume ``(1, D, H, W)``, with its axes as stored.

    Raises:
        ValueError: if it is neither, its values are no grey levels, its header does not fit the file, or
            says sizes that no volume has.
    """
    header = _checked_header(path)
    if header.get_data_dtype().kind not in "fiu":
        raise ValueError(f"expected grey levels, got values of the type {header.get_data_dtype()}")
    if count_axes(path) == 3:
        _check_sizes(path)
    image: Tensor
    image, _ = read_by(_Reader(), path)
    while image.ndim > 2 and image.shape[-1] == 1:  # a slice is often stored as (H, W, 1)
        image = image[..., 0]
    if image.ndim not in {2, 3}:
        raise ValueError(
            f"expected a slice or a volume, got the shape {tuple(image.shape)}; save one of them alone"
        )
    values: Tensor = image[None]
    return values


class _Reader(NibabelReader):
    """MONAI's, which reads a compressed file to its end: nibabel stops before the checksum."""

    def read(self, data: Any, **_: Any) -> Any:
        volume = super().read(data)
        path = Path(data)
        if path.suffix.lower() != ".gz":
            return volume
        with gzip.open(path) as stream:
            content = stream.read(_size(volume))
            while stream.read(_CHUNK):
                pass
        return correct_nifti_header_if_necessary(type(volume).from_bytes(content))


def _check_sizes(path: Path) -> None:
    """See that a volume can be resampled: nibabel takes all sizes for mm."""
    volume: Any = nibabel.load(path)
    unit = volume.header.get_xyzt_units()[0]
    voxels = nibabel.affines.voxel_sizes(volume.affine)  # type: ignore[no-untyped-call]
    sides = voxels * volume.shape[:3]
    least, most = _SIDES
    is_box = np.isfinite(volume.affine).all() and np.linalg.det(volume.affine[:3, :3]) != 0
    if unit in ("mm", "unknown") and is_box and least <= sides.min() and sides.max() <= most:
        return
    said = " x ".join(f"{side:g}" for side in sides)
    raise ValueError(
        f"expected a header that says size and direction of the voxels in mm, of a volume from {least:g} to "
        f"{most:g} mm wide, got {said} ({unit}); correct the header, or convert the volume anew"
    )


def count_components(path: Path) -> int:
    """Count the channels of a file by its header alone."""
    header = _checked_header(path)
    colours = header.get_data_dtype().names or ("grey",)
    return len(colours) * int(math.prod(header.get_data_shape()[3:]))


def count_axes(path: Path) -> int:
    """Count the axes of a slice or volume by its header alone."""
    shape = list(_checked_header(path).get_data_shape())
    while len(shape) > 2 and shape[-1] == 1:  # as read_nifti does
        shape.pop()
    return len(shape)


def says_orientation(path: Path) -> bool:
    """Whether the header says how the axes lie in the patient; without, nibabel makes it up."""
    header = _checked_header(path)
    codes = [header[name] for name in ("qform_code", "sform_code") if name in header]
    return any(int(code) > 0 for code in codes)


def _checked_header(path: Path) -> Any:
    """The header, of a size that the file can have and the memory can take."""
    volume: Any = nibabel.load(path)
    header = volume.header
    shape = header.get_data_shape()
    if not shape or min(shape) < 1 or math.prod(shape) > _MOST_VOXELS:
        raise ValueError(f"expected 1 to 2**29 voxels, got the shape {shape} in its header")
    offset, least = volume.dataobj.offset, header.single_vox_offset
    needed = _size(volume)
    held = path.stat().st_size * (_MOST_COMPRESSED if path.suffix.lower() == ".gz" else 1)
    if needed > held:
        raise ValueError(
            f"expected {needed:,} bytes as its header says, of which the file can hold {held:,}: it "
            f"is cut off"
        )
    if not least <= offset <= _MOST_OFFSET:  # below, the header would be taken for voxels
        raise ValueError(
            f"expected the voxels behind the header, from byte {least} to {_MOST_OFFSET:,}, got "
            f"vox_offset {offset:,} in its header"
        )
    return header


def _size(volume: Any) -> int:
    """Bytes up to the end of the voxels."""
    voxels: int = math.prod(volume.header.get_data_shape())
    return int(volume.dataobj.offset) + voxels * int(volume.header.get_data_dtype().itemsize)
