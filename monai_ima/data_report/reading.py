"""One image: its pixels as a training reads them, and what its file says of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from monai_ima.data import LoadGreyd

_BITS = {"1": 1, "L": 8, "P": 8, "RGB": 8, "RGBA": 8, "LA": 8, "CMYK": 8, "YCbCr": 8, "I": 16}


@dataclass(frozen=True)
class ReadImage:
    """An image that could be read.

    Attributes:
        grey: ``(H, W)`` or ``(D, H, W)`` in [0, 1], as a network gets it before crop and resizing.
        format: of the file.
        channels: 1 of grey, 3 of colour.
        depth: of the values in the file: 8 bits, 16 bits, float32.
        lowest: the smallest value, in the file's own scale; of colour, of its luminance.
        highest: the largest value.
        spacing: of the voxels along each axis in mm, where the file says it.
    """

    grey: NDArray[np.float32]
    format: str
    channels: int
    depth: str
    lowest: float
    highest: float
    spacing: tuple[float, ...] | None


class ImageReader:
    """Read images as the bundles for images do.

    Args:
        nan_value: as for :class:`monai_ima.data.LoadGreyd`.
    """

    def __init__(self, nan_value: float | None = None) -> None:
        self._load = LoadGreyd("image", nan_value=nan_value)

    def __call__(self, path: Path) -> ReadImage:
        """Read one.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if a training would reject it; the message says why.
        """
        grey: NDArray[np.float32] = self._load({"image": path})["image"][0].numpy()
        if path.name.lower().endswith((".nii", ".nii.gz")):
            return _of_volume(path, grey)
        return _of_picture(path, grey)


def _of_volume(path: Path, grey: NDArray[np.float32]) -> ReadImage:
    volume: Any = nibabel.load(path)
    values = np.asanyarray(volume.dataobj)
    return ReadImage(
        grey=grey,
        format="NIfTI",
        channels=1,  # others are rejected
        depth=str(volume.header.get_data_dtype()),
        lowest=float(np.nanmin(values)),
        highest=float(np.nanmax(values)),
        spacing=tuple(round(float(mm), 3) for mm in volume.header.get_zooms()[: grey.ndim]),
    )


def _of_picture(path: Path, grey: NDArray[np.float32]) -> ReadImage:
    with Image.open(path) as picture:
        mode, channels, name = picture.mode, len(picture.getbands()), str(picture.format)
        bits = _BITS.get(mode, 16)
        if isinstance(picture, TiffImageFile):
            bits = max(picture.tag_v2.get(BITSPERSAMPLE, (1,)))
    scale = 1 if mode == "F" else 65535 if mode.startswith("I") else 255
    return ReadImage(
        grey=grey,
        format=name,
        channels=channels,
        depth=f"float{bits}" if mode == "F" else f"{bits} bit{'s' if bits > 1 else ''}",
        lowest=float(grey.min()) * scale,
        highest=float(grey.max()) * scale,
        spacing=None,
    )
