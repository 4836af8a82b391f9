"""Pictures: JPEG, PNG, BMP and TIFF, upright, with the levels that their files have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from monai.data import PILReader
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    EXTRASAMPLES,
    PHOTOMETRIC_INTERPRETATION,
    SAMPLEFORMAT,
    TiffImageFile,
)
from torch import Tensor

from monai_ima.data.image_reading import read_by

_TIFF = b"II*\0", b"MM\0*"  # what it begins with
_SIGNED = 2  # TIFF's SampleFormat
_UNSPECIFIED = 0  # TIFF's ExtraSamples
_WHITE_IS_ZERO = 0  # TIFF's PhotometricInterpretation


def read_picture(path: Path, *, colour: bool, exact: bool = False) -> tuple[Tensor, float]:
    """Read a picture as it is to be seen.

    Args:
        path: of the file.
        colour: red, green and blue; otherwise luminance (PIL's "L").
        exact: levels are needed as the file has them. Of 16 bits in several channels PIL gives the
            upper 8, by which a picture of full range can be read, but none in units of the file.

    Returns:
        ``(1, H, W)`` or ``(3, H, W)`` float32, and the largest level that such a file can have: 255,
        65535, or 1 of floats.

    Raises:
        ValueError: if it has several pages, transparent pixels, or levels whose scale is not known; or
            if PIL has no exact ones.
    """
    if exact:
        _check_whole_depth(path)
    # (H, W), not MONAI's (W, H)
    reader = PILReader(converter=_in_colour if colour else _in_grey, reverse_indexing=False)
    # another type than any that PIL has, or memory that is read-only would be handed on
    read, meta = read_by(reader, path, np.float64)
    levels: Tensor = read.float()
    mode = meta["mode"]
    largest = 1 if mode == "F" else 65535 if mode.startswith("I") else 255  # "I;16", or "I"
    if levels.ndim > 2:  # (H, W, 3)
        levels = levels.movedim(-1, 0)
    elif colour:
        levels = levels.expand(3, *levels.shape)
    else:
        levels = levels[None]
    return levels, largest


def count_bands(path: Path) -> int:
    """Count the channels of a picture by its file header alone, which costs 0.1 ms."""
    try:
        with Image.open(path) as image:
            return len(image.getbands())
    except UnidentifiedImageError as error:
        with path.open("rb") as file:
            if file.read(len(_TIFF[0])) not in _TIFF:
                raise
        raise ValueError(
            "expected a TIFF of grey values in 8 or 16 bits or in floats of 32, or of red, green and "
            "blue in 8 bits, got another; save it so"
        ) from error


def _check_whole_depth(path: Path) -> None:
    with Image.open(path) as image:
        if len(image.getbands()) > 1 and any("16" in str(tile.args) for tile in image.tile):
            raise ValueError(
                "expected grey values, or colours of 8 bits a channel, where they are scaled by "
                "intensity_range, got 16 bits in several channels, of which the upper 8 alone can be "
                "read; save it in grey without transparency, or in 8 bits"
            )


def _in_grey(image: ImageFile) -> Image.Image:
    return _upright(image, "L")


def _in_colour(image: ImageFile) -> Image.Image:
    return _upright(image, "RGB")


def _upright(image: ImageFile, mode: str) -> Image.Image:
    """The picture as it is to be seen, in a mode of which the scale is known."""
    with image:  # decodes here, so that the file is closed even where that fails
        _check_pages(image)
        _check_channels(image)
        _check_levels(image)
        # Without a name it is not memory-mapped, by which Pillow 13 takes the lines of a TIFF that is
        # to be turned for as long as its columns.
        image.filename = ""
        image.load()  # which turns TIFF by itself
        upright = image if isinstance(image, TiffImageFile) else ImageOps.exif_transpose(image)
        if upright.has_transparency_data and _is_transparent(upright):
            raise ValueError("transparent pixels; save it without transparency")
        # PIL's conversion would clip 16 bits to 255
        return upright.copy() if upright.mode[0] in "IF" else upright.convert(mode)


def _check_pages(image: Image.Image) -> None:
    pages = getattr(image, "n_frames", 1)
    if pages > 1 and image.format != "MPO":  # a camera's JPEG with previews behind the picture
        raise ValueError(
            f"expected one page, got {pages}; save each as an image of its own, or all as a volume "
            f"in NIfTI"
        )


def _check_channels(image: Image.Image) -> None:
    """See that PIL leaves none out, as it does with what a TIFF does not say the meaning of."""
    if isinstance(image, TiffImageFile) and _UNSPECIFIED in image.tag_v2.get(EXTRASAMPLES, ()):
        raise ValueError(
            "expected grey values or red, green and blue, got a further channel that is neither, nor "
            "said to be opacity; save each channel as an image of its own, or the picture without it"
        )
    if image.mode == "La":  # which PIL does not convert
        raise ValueError("transparent pixels; save it without transparency")


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
