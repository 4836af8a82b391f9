"""Grey images of any common file format, as ``(1, *spatial)`` tensors in [0, 1]."""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import torch
from monai.data import NibabelReader, PILReader
from monai.transforms import CenterSpatialCrop, LoadImage, MapTransform
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    SAMPLEFORMAT,
    TiffImageFile,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from monai.config import KeysCollection

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff", ".nii", ".nii.gz")

_MOST_VOXELS = 2**29  # 2 GB once read: 512 x 512 x 2048
_MOST_OFFSET = 2**26  # bytes of header and extensions, such as a DICOM header
_MOST_COMPRESSED = 1032  # times; what deflate can do
_LEAST_KEPT = 0.25  # of an image by the crop; of the widest OCT images it keeps 0.32

_SIGNED = 2  # TIFF's SampleFormat
_WHITE_IS_ZERO = 0  # TIFF's PhotometricInterpretation


class LoadGreyd(MapTransform):
    """Replace an image's path by its grey values, ``(1, H, W)`` float32 in [0, 1].

    JPEG, PNG, BMP and TIFF keep their absolute scale: 8-bit values are divided by 255, 16-bit ones
    by 65535, floating-point ones must be in [0, 1] as they are, and colour becomes luminance (PIL's
    "L"). They are turned as their EXIF orientation says. NIfTI has no such scale, so each image is
    min-max scaled by itself (a constant one becomes zeros), with its axes as stored: a slice gives
    ``(1, H, W)``, a volume ``(1, D, H, W)``.

    Args:
        keys: the items of the sample that are paths.
        nan_value: the grey value, from 0 to 1, of what is NaN in the file; by default NaN is
            rejected.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is unreadable, cut short, larger than 2**29 voxels, of several
            pages, signed or of another depth, transparent, neither a slice nor a volume, or holds
            infinity or NaN; the message names it. Or if ``nan_value`` is not from 0 to 1.
    """

    def __init__(self, keys: KeysCollection, nan_value: float | None = None) -> None:
        super().__init__(keys)
        if not (nan_value is None or (type(nan_value) in (int, float) and 0 <= nan_value <= 1)):
            raise ValueError(
                f"expected nan_value to be a grey value from 0 to 1, or null to reject NaN, got "
                f"{nan_value!r}"
            )
        self.nan_value = nan_value
        self._load = LoadImage(image_only=False)
        # another type than any that PIL has, or memory that is read-only would be handed on
        self._load_picture = LoadImage(image_only=False, dtype=np.float64)
        self._nifti = NibabelReader()
        # (H, W), not MONAI's (W, H)
        self._picture = PILReader(converter=_grey_levels, reverse_indexing=False)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        loaded = dict(data)
        for key in self.key_iterator(loaded):
            loaded[key] = self._grey(Path(loaded[key]))
        return loaded

    def _grey(self, path: Path) -> torch.Tensor:
        # The reader is given at the call: one given to LoadImage's constructor is only the first
        # that it tries, and a broken file then ends in the complaints of all the others.
        with _naming(path):
            if _is_nifti(path):
                _nifti_header(path)
                image, _ = self._load(path, reader=self._nifti)
                return _min_max(_spatial(image), self.nan_value)[None]
            image, meta = self._load_picture(path, reader=self._picture)
            if meta["mode"] == "F":
                return _checked(image.float(), self.nan_value)[None]
            grey: torch.Tensor = image.float() / _largest(meta["mode"])
            return grey[None]


class CenterSquareCropd(MapTransform):
    """Crop ``(C, *spatial)`` images around their centre to the shortest spatial axis, in all axes.

    Squashing to a square instead would tell a network the width of the file: in the Kermany OCT
    images the height is always 496 while the width is 512, 768 or 1536, and which one depends on
    the class. A volume of few slices would lose nearly everything; take its whole by leaving this
    step out (``--crop false`` in the bundles).

    Args:
        keys: the items of the sample that are images.

    Raises:
        ValueError: if less than a quarter of an image would be left.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        cropped = dict(data)
        for key in self.key_iterator(cropped):
            sides = tuple(cropped[key].shape[1:])
            shortest = min(sides)
            kept = shortest ** len(sides) / math.prod(sides)
            if kept < _LEAST_KEPT:
                meta = getattr(cropped[key], "meta", {})
                name = meta.get("filename_or_obj", "an image")
                raise ValueError(
                    f"expected a crop to equal sides that keeps a quarter of {name} at least, got "
                    f"{kept:.1%} of {' x '.join(map(str, sides))}; resize whole images with --crop "
                    f"false, or resample or pad them before"
                )
            cropped[key] = CenterSpatialCrop(shortest)(cropped[key])
        return cropped


def count_channels(path: Path) -> int:
    """Count the channels of an image by its file header alone, which costs 0.1 ms.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the header is unreadable; the message names the file.
    """
    with _naming(path):
        if _is_nifti(path):
            header = _nifti_header(path)
            colours = header.get_data_dtype().names or ("grey",)
            return len(colours) * int(math.prod(header.get_data_shape()[3:]))
        with Image.open(path) as image:
            return len(image.getbands())


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _nifti_header(path: Path) -> Any:
    """The header, of a size that the file can have and the memory can take."""
    volume: Any = nibabel.load(path)
    header = volume.header
    shape = header.get_data_shape()
    if not shape or min(shape) < 1 or math.prod(shape) > _MOST_VOXELS:
        raise ValueError(f"expected 1 to 2**29 voxels, got the shape {shape} in its header")
    offset, least = volume.dataobj.offset, header.single_vox_offset
    needed = offset + math.prod(shape) * header.get_data_dtype().itemsize
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


def _largest(mode: str) -> int:
    return 65535 if mode.startswith("I") else 255  # "I;16"; "I" in older versions of PIL


def _grey_levels(image: ImageFile) -> Image.Image:
    """The picture as it is to be seen, in a mode of which the scale is known."""
    with image:  # decodes here, so that the file is closed even where that fails
        _check_pages(image)
        _check_levels(image)
        # Without a name it is not memory-mapped, by which Pillow 13 takes the lines of a TIFF that is
        # to be turned for as long as its columns.
        image.filename = ""
        image.load()  # which turns TIFF by itself
        upright = image if isinstance(image, TiffImageFile) else ImageOps.exif_transpose(image)
        if upright.has_transparency_data and _is_transparent(upright):
            raise ValueError("transparent pixels; save it without transparency")
        # PIL's conversion would clip 16 bits to 255
        return upright.copy() if upright.mode[0] in "IF" else upright.convert("L")


def _check_pages(image: Image.Image) -> None:
    pages = getattr(image, "n_frames", 1)
    if pages > 1 and image.format != "MPO":  # a camera's JPEG with previews behind the picture
        raise ValueError(
            f"expected one page, got {pages}; save each as an image of its own, or all as a volume "
            f"in NIfTI"
        )


def _check_levels(image: Image.Image) -> None:
    mode = image.mode
    if isinstance(image, TiffImageFile):
        depths = set(image.tag_v2.get(BITSPERSAMPLE, (1,)))
        formats = set(image.tag_v2.get(SAMPLEFORMAT, (1,)))
        white_is_zero = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
        known = depths <= ({32, 64} if mode == "F" else {1, 2, 4, 8, 16}) and _SIGNED not in formats
        # PIL turns white and black of 8 bits alone
        if not known or mode == "I" or (white_is_zero and mode[0] in "IF"):
            signed = "signed " if _SIGNED in formats else ""
            raise ValueError(
                f"expected grey values of 8 or 16 bits without sign, or floats, got PIL's mode "
                f"{mode} ({signed}{', '.join(map(str, sorted(depths)))} bits"
                f"{', white is zero' if white_is_zero else ''}); save it in 8 or 16 bits, or in "
                f"NIfTI, of which each image is scaled by itself"
            )
    elif mode == "F" or (mode == "I" and image.format != "PNG"):
        raise ValueError(f"expected grey values of 8 or 16 bits, got PIL's mode {mode}")


def _is_transparent(image: Image.Image) -> bool:
    opaque: Any = image.convert("RGBA").getchannel("A").getextrema()
    return bool(opaque[0] < 255)


def _spatial(image: torch.Tensor) -> torch.Tensor:
    while image.ndim > 2 and image.shape[-1] == 1:  # a slice is often stored as (H, W, 1)
        image = image[..., 0]
    if image.ndim not in {2, 3}:
        raise ValueError(f"expected a slice or a volume, got the shape {tuple(image.shape)}")
    return image


def _min_max(image: torch.Tensor, nan_value: float | None) -> torch.Tensor:
    missing = image.isnan()
    if image.isinf().any() or missing.all() or (missing.any() and nan_value is None):
        raise ValueError(
            f"expected finite values, got NaN or infinity, NaN in {int(missing.sum())} of "
            f"{image.numel()}; say with nan_value what NaN becomes, from 0 (black) to 1"
        )
    present = image[~missing]
    low, high = present.min(), present.max()
    scaled = (image - low) / (high - low) if high > low else torch.zeros_like(image)
    return scaled.masked_fill(missing, nan_value or 0.0)


def _checked(image: torch.Tensor, nan_value: float | None) -> torch.Tensor:
    """Floats that have a scale already."""
    if nan_value is not None:
        image = image.masked_fill(image.isnan(), nan_value)
    if not ((image >= 0) & (image <= 1)).all():  # NaN is neither
        raise ValueError(
            f"expected floats from 0 to 1, got {image.min():g} to {image.max():g}; divide them by "
            f"the largest value that the scanner gives, or save the image in NIfTI, of which each "
            f"is scaled by itself"
        )
    return image


def _check_regular(path: Path) -> None:
    if path.exists() and not path.is_file():  # a pipe, which would be waited for
        raise ValueError("expected a regular file, got a folder, pipe, socket or device")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        _check_regular(path)
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, zlib.error and more
        raise ValueError(
            f"cannot read {path} as an image ({', '.join(IMAGE_SUFFIXES)}): {error}; replace the "
            f"file or take it out of the data set"
        ) from error
