"""One image: its pixels as a training reads them, and what its file says of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from monai_ima.data.dicom import read_dicom
from monai_ima.data.image_formats import kind_of
from monai_ima.data.images import LUMINANCE, LoadIntensityd, count_channels, spatial_axes
from monai_ima.data.intensity import IntensityRange
from monai_ima.data.orientation import says_orientation

_OF_VOLUMES: IntensityRange = "percentiles"  # as volume_ima has it
_NEARLY_GREY = 0.05, 0.001  # between channels; share of pixels, as of a burnt-in mark
_WEIGHTS = np.array(LUMINANCE, dtype=np.float32)
_GREY_MODES = ("1", "L", "I", "F")  # what PIL's modes of grey begin with
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
        in_colour: red, green and blue differ, whatever the channels of the file.
        colours: ``(3, H, W)`` in [0, 1], where they do.
        extent: of a volume, its sides in mm from left to right, back to front and below to above.
        is_placed: not a volume whose file does not say which way round it lies.
        person: whom the file says to be of, by a number; empty where it does not.
    """

    grey: NDArray[np.float32]
    format: str
    channels: int
    depth: str
    lowest: float
    highest: float
    spacing: tuple[float, ...] | None
    in_colour: bool = False
    colours: NDArray[np.float32] | None = None
    extent: tuple[float, ...] | None = None
    is_placed: bool = True
    person: str = ""


class ImageReader:
    """Read images as the bundles for images do.

    Args:
        intensity_range: as for :class:`monai_ima.data.LoadIntensityd`; of volumes, percentiles by
            default, as their bundle has it.
        nan_value: likewise.
    """

    def __init__(
        self, intensity_range: IntensityRange = None, nan_value: float | None = None
    ) -> None:
        def loader(in_file: IntensityRange, *, colour: bool = False) -> LoadIntensityd:
            by = in_file if intensity_range is None else intensity_range
            return LoadIntensityd("image", colour=colour, intensity_range=by, nan_value=nan_value)

        self._load, self._load_colour = loader(None), loader(None, colour=True)
        self._load_volume = loader(_OF_VOLUMES)

    def __call__(self, path: Path) -> ReadImage:
        """Read one.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if a training would reject it; the message says why.
        """
        has_colours = count_channels(path) > 2 or _has_palette(path)
        is_volume = not has_colours and spatial_axes(path) > 2
        load = self._load_volume if is_volume else self._load_colour if has_colours else self._load
        loaded = load({"image": path})["image"]
        image: NDArray[np.float32] = loaded.numpy()
        grey = np.tensordot(_WEIGHTS, image, axes=1) if has_colours else image[0]
        match kind_of(path):
            case "nifti":
                read = _of_nifti(path, grey)
            case "dicom":
                read = _of_dicom(path, grey)
            case _:
                read = _of_picture(path, grey)
        if is_volume:
            return replace(
                read,
                extent=_extent(grey.shape, loaded.affine.numpy()),
                is_placed=says_orientation(path),
            )
        least, share = _NEARLY_GREY
        in_colour = bool((np.ptp(image, axis=0) > least).mean() > share)
        return replace(read, in_colour=in_colour, colours=image if in_colour else None)


def _has_palette(path: Path) -> bool:
    if kind_of(path) != "picture":
        return False
    with Image.open(path) as picture:
        return not picture.mode.startswith(_GREY_MODES)


def _extent(shape: tuple[int, ...], affine: NDArray[Any]) -> tuple[float, ...]:
    """Sides in mm, in the order of the axes of the body, in which a training turns volumes."""
    axes = nibabel.io_orientation(affine)[:, 0]  # type: ignore[no-untyped-call]
    sides = np.array(shape) * nibabel.affines.voxel_sizes(affine)  # type: ignore[no-untyped-call]
    extent = np.full(len(shape), sides.max())  # where the file does not say which axis it is
    for axis, side in zip(axes, sides, strict=True):
        if np.isfinite(axis):
            extent[int(axis)] = side
    return tuple(extent.tolist())


def _of_nifti(path: Path, grey: NDArray[np.float32]) -> ReadImage:
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


def _of_dicom(path: Path, grey: NDArray[np.float32]) -> ReadImage:
    image = read_dicom(path)
    return ReadImage(
        grey=grey,
        format="DICOM",
        channels=len(image.values),
        depth=f"{image.bits} bits",
        lowest=float(image.values.min()),
        highest=float(image.values.max()),
        spacing=image.spacing and tuple(round(mm, 3) for mm in image.spacing),
        person=image.person,
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
