"""Grey images of any common file format, as ``(1, *spatial)`` tensors in [0, 1]."""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import torch
from monai.data import NibabelReader, PILReader
from monai.transforms import CenterSpatialCrop, LoadImage, MapTransform
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from monai.config import KeysCollection

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".nii", ".nii.gz")


class LoadGreyd(MapTransform):
    """Replace an image's path by its grey values, ``(1, H, W)`` float32 in [0, 1].

    JPEG and PNG keep their absolute scale: 8-bit values are divided by 255, 16-bit ones by 65535,
    and colour becomes luminance (PIL's "L"). NIfTI has no such scale, so each image is min-max
    scaled by itself (a constant one becomes zeros), with its axes as stored: a slice gives
    ``(1, H, W)``, a volume ``(1, D, H, W)``.

    Args:
        keys: the items of the sample that are paths.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is unreadable, cut short, neither a slice nor a volume, or holds NaN
            or infinity; the message names it.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)
        self._load = LoadImage(image_only=False)
        self._nifti = NibabelReader()
        # (H, W), not MONAI's (W, H)
        self._picture = PILReader(converter=_luminance, reverse_indexing=False)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        loaded = dict(data)
        for key in self.key_iterator(loaded):
            loaded[key] = self._grey(Path(loaded[key]))
        return loaded

    def _grey(self, path: Path) -> torch.Tensor:
        # The reader is given at the call: one given to LoadImage's constructor is only the first
        # that it tries, and a broken file then ends in the complaints of all the others.
        with _naming(path):
            image, meta = self._load(path, reader=self._nifti if _is_nifti(path) else self._picture)
            grey = _min_max(_spatial(image)) if _is_nifti(path) else image / _largest(meta["mode"])
        return grey[None]


class CenterSquareCropd(MapTransform):
    """Crop ``(C, *spatial)`` images around their centre to the shortest spatial axis, in all axes.

    Squashing to a square instead would tell a network the width of the file: in the Kermany OCT
    images the height is always 496 while the width is 512, 768 or 1536, and which one depends on
    the class.

    Args:
        keys: the items of the sample that are images.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        cropped = dict(data)
        for key in self.key_iterator(cropped):
            shortest = min(cropped[key].shape[1:])
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
            header: Any = nibabel.load(path).header
            colours = header.get_data_dtype().names or ("grey",)
            return len(colours) * int(math.prod(header.get_data_shape()[3:]))
        with Image.open(path) as image:
            return len(image.getbands())


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _largest(mode: str) -> int:
    return 65535 if mode.startswith("I") else 255  # "I;16"; "I" in older versions of PIL


def _luminance(image: Image.Image) -> Image.Image:
    with image:  # decodes here, so that the file is closed even where that fails
        # PIL's conversion would clip 16 bits to 255.
        return image.copy() if _largest(image.mode) == 65535 else image.convert("L")


def _spatial(image: torch.Tensor) -> torch.Tensor:
    while image.ndim > 2 and image.shape[-1] == 1:  # a slice is often stored as (H, W, 1)
        image = image[..., 0]
    if image.ndim not in {2, 3}:
        raise ValueError(f"expected a slice or a volume, got the shape {tuple(image.shape)}")
    return image


def _min_max(image: torch.Tensor) -> torch.Tensor:
    if not image.isfinite().all():
        raise ValueError("expected finite values, got NaN or infinity")
    low, high = image.min(), image.max()
    return (image - low) / (high - low) if high > low else torch.zeros_like(image)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, zlib.error and more
        raise ValueError(
            f"cannot read {path} as an image ({', '.join(IMAGE_SUFFIXES)}): {error}; replace the "
            f"file or take it out of the data set"
        ) from error
