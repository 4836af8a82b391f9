"""What is known of each image, from one reading of its file."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_ima.data.content import contents
from monai_ima.data.near_path import near_path
from monai_ima.data_report.perceptual_hash import SIDE
from monai_ima.data_report.reading import ReadImage

NO_FILE = "there is no such file"
DARK, WHITE = 0.02, 0.98  # grey values up to and from which a pixel of the border is black or white
_BORDER = 0.02  # width of the border, as a share of the shorter side
_THUMBNAIL = 112  # pixels of the longer side
_BRIGHT = 99.5  # percentile: a few bright pixels, as of a burnt-in label, make no image bright


@dataclass(frozen=True)
class ImageFacts:
    """An image that could be read.

    Attributes:
        path: relative to the data set's folder.
        format: of the file.
        size: its sides in pixels, height first, as it is to be seen.
        channels: 1 of grey, 3 of colour.
        depth: of the values in the file: 8 bits, 16 bits, float32.
        lowest: the smallest value, in the file's own scale.
        highest: the largest value.
        spacing: in mm along each axis, where the file says it.
        brightness: the 99.5th percentile of the grey values from 0 to 1 that a network gets.
        is_constant: all of these are the same.
        dark_border: share of the pixels along the border that are black.
        white_border: share of these that are white.
        digest: equal for files with equal bytes.
        signature: ``(32, 32)`` grey values, by which images that look alike are found; of a volume,
            its middle slice.
        thumbnail: of what a network gets, as JPEG; of a volume, its middle slice.
        in_colour: red, green and blue differ, whatever the channels of the file.
        extent: of a volume, its sides in mm from left to right, back to front and below to above.
        is_placed: not a volume whose file does not say which way round it lies.
        person: whom the file says to be of, by a number; empty where it does not.
    """

    path: str
    format: str
    size: tuple[int, ...]
    channels: int
    depth: str
    lowest: float
    highest: float
    spacing: tuple[float, ...] | None
    brightness: float
    is_constant: bool
    dark_border: float
    white_border: float
    digest: str
    signature: NDArray[np.float32]
    thumbnail: bytes
    in_colour: bool
    extent: tuple[float, ...] | None
    is_placed: bool
    person: str


def image_facts(
    root: Path,
    paths: Sequence[str],
    read: Callable[[Path], ReadImage],
    progress: Callable[[Iterable[object], int], Iterable[object]] = lambda found, _: found,
) -> tuple[dict[str, ImageFacts], dict[str, str]]:
    """Read every image once.

    Args:
        root: the data set's folder.
        paths: of the images, relative to it.
        read: how one is read.
        progress: is handed what is gone through and how much that is, to show how far it is.

    Returns:
        The facts by path, and for each image that a training would reject, why.
    """
    with ThreadPoolExecutor(os.cpu_count()) as readers:  # decoders release the interpreter
        found = readers.map(lambda path: _facts_or_reason(root, path, read), paths)
        by_path = dict(zip(paths, progress(found, len(paths)), strict=True))
    facts = {path: one for path, one in by_path.items() if isinstance(one, ImageFacts)}
    return facts, {path: one for path, one in by_path.items() if isinstance(one, str)}


def _facts_or_reason(root: Path, path: str, read: Callable[[Path], ReadImage]) -> ImageFacts | str:
    try:
        return _facts(path, read(root / path), contents([{"image": root / path}])[0])
    except FileNotFoundError:
        near = near_path(root, path)
        return f"{NO_FILE}{f', but {near}' if near else ''}"
    except (OSError, ValueError) as error:
        return str(error.__cause__ or error)


def _facts(path: str, image: ReadImage, digest: str) -> ImageFacts:
    grey = image.grey
    picture = grey if grey.ndim == 2 else np.rot90(grey[..., grey.shape[-1] // 2])
    border = _border(picture)
    return ImageFacts(
        path=path,
        format=image.format,
        size=grey.shape,
        channels=image.channels,
        depth=image.depth,
        lowest=image.lowest,
        highest=image.highest,
        spacing=image.spacing,
        brightness=float(np.percentile(grey, _BRIGHT)),
        is_constant=image.lowest == image.highest,
        dark_border=float((border <= DARK).mean()),
        white_border=float((border >= WHITE).mean()),
        digest=digest,
        signature=_resized(picture, (SIDE, SIDE)),
        thumbnail=_thumbnail(picture[None] if image.colours is None else image.colours),
        in_colour=image.in_colour,
        extent=image.extent,
        is_placed=image.is_placed,
        person=image.person,
    )


def _border(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """The pixels of a frame."""
    width = max(1, round(_BORDER * min(picture.shape)))
    is_inside = np.zeros(picture.shape, dtype=bool)
    is_inside[width:-width, width:-width] = True
    return picture[~is_inside]


def _resized(picture: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Weighted means (of a mirrored image the mirrored ones); ``size`` is width first, as PIL has it."""
    image = Image.fromarray(np.ascontiguousarray(picture, dtype=np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR))


def _thumbnail(picture: NDArray[np.float32]) -> bytes:
    """A small JPEG of a picture ``(C, H, W)``, in grey or in colour."""
    _, height, width = picture.shape
    shrink = _THUMBNAIL / max(height, width)
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    file = io.BytesIO()
    channels = [_resized(channel, size) for channel in picture]
    levels = (np.stack(channels, axis=-1) * 255).round().astype(np.uint8)
    grey_or_rgb = levels[..., 0] if len(channels) == 1 else levels
    Image.fromarray(grey_or_rgb).save(file, "JPEG", quality=80)
    return file.getvalue()
