"""Images of any common file format, as ``(C, *spatial)`` tensors in [0, 1]."""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from monai.transforms import CenterSpatialCrop, MapTransform

from monai_ima.data.dicom import count_samples, read_dicom
from monai_ima.data.image_formats import IMAGE_SUFFIXES, kind_of
from monai_ima.data.intensity import IntensityRange, checked_range, scaled
from monai_ima.data.nifti import count_axes, count_components, read_nifti
from monai_ima.data.pictures import count_bands, read_picture
from monai_ima.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from monai.config import KeysCollection
    from torch import Tensor

_logger = logging.getLogger(__name__)

LUMINANCE = (0.299, 0.587, 0.114)
"""Of red, green and blue, as PIL has it."""
LEAST_KEPT = 0.25
"""Of an image by the crop to a square, or it is rejected; of the widest OCT images it keeps 0.32."""


class LoadIntensityd(MapTransform):
    """Replace an image's path by its intensities, ``(C, *spatial)`` float32 in [0, 1].

    - JPEG, PNG, BMP and TIFF, ``(C, H, W)``, keep their absolute scale: 8-bit values are divided by
      255, 16-bit ones by 65535, and floating-point ones must be in [0, 1] as they are. They are turned
      as their EXIF orientation says.
    - NIfTI, a slice ``(1, H, W)`` or a volume ``(1, D, H, W)`` with its axes as stored, and DICOM, a
      file ``(1, rows, columns)`` or a folder with the files of a series ``(1, rows, columns, slices)``
      in the modality's units (Hounsfield of CT), have no such scale, so that each image is scaled by
      itself, from its smallest to its largest value.

    ``intensity_range`` says otherwise: x-rays of 12 bits in files of 16 need it, ``(0, 4095)``, or
    would be dark; CT has its windows. DICOM whose low values are shown bright (MONOCHROME1) is turned
    round.

    Args:
        keys: the items of the sample that are paths.
        colour: three channels, red, green and blue; by default one, to which colour is converted as
            luminance, which the log says once. What is grey has the same in all three.
        intensity_range: ``(low, high)`` in the units of the files, what becomes 0 and 1, beyond which
            values are cut off; or of each image by itself ``"minmax"``, its smallest and its largest
            value, or ``"percentiles"``, its 0.5th and 99.5th percentile. By default as above.
        nan_value: the intensity, from 0 to 1, of what is NaN in the file; by default NaN is rejected.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is unreadable, cut short, larger than 2**29 voxels, of several pages or
            frames, signed or of another depth, transparent, neither a slice nor a volume, or holds
            infinity or NaN; or if a folder holds no whole series. The message names it. Or if
            ``nan_value`` or ``intensity_range`` is none.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        colour: bool = False,
        intensity_range: IntensityRange = None,
        nan_value: float | None = None,
    ) -> None:
        super().__init__(keys)
        if not (nan_value is None or (type(nan_value) in (int, float) and 0 <= nan_value <= 1)):
            raise ValueError(
                f"expected nan_value to be an intensity from 0 to 1, or null to reject NaN, got "
                f"{nan_value!r}"
            )
        self.colour = colour
        self.intensity_range = checked_range(intensity_range)
        self.nan_value = nan_value
        self._colour_is_said = False

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        loaded = dict(data)
        for key in self.key_iterator(loaded):
            path = Path(loaded[key])
            with naming(path):
                loaded[key] = self._intensities(path)
        return loaded

    def _intensities(self, path: Path) -> Tensor:
        inverted, largest = False, None
        values: Tensor
        match kind_of(path):
            case "picture":
                self._say_colour(path, count_bands(path))
                values, largest = read_picture(
                    path, colour=self.colour, exact=self.intensity_range is not None
                )
            case "nifti":
                values = self._in_channels(read_nifti(path), path)
            case "dicom":
                image = read_dicom(path)
                inverted, largest = image.inverted, image.largest
                values = self._in_channels(image.values, path)
        intensities = scaled(
            values, self.intensity_range, largest=largest, nan_value=self.nan_value
        )
        return 1 - intensities if inverted else intensities

    def _in_channels(self, values: Tensor, path: Path) -> Tensor:
        """As many channels as are wanted."""
        self._say_colour(path, len(values))
        if self.colour:
            return values.expand(3, *values.shape[1:])
        if len(values) == len(LUMINANCE):
            values = torch.tensordot(values.new_tensor(LUMINANCE), values, dims=1)[None]
        return values

    def _say_colour(self, path: Path, channels: int) -> None:
        if channels > 2 and not (self.colour or self._colour_is_said):  # two: grey with opacity
            self._colour_is_said = True
            _logger.warning(
                "%s has %d channels and becomes grey, as will others; a training keeps colour with --colour true",
                path,
                channels,
            )


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
            if kept < LEAST_KEPT:
                meta = getattr(cropped[key], "meta", {})
                name = meta.get("filename_or_obj", "an image")
                raise DataError(
                    f"expected a crop to equal sides that keeps a quarter of {name} at least, got "
                    f"{kept:.1%} of {' x '.join(map(str, sides))}",
                    "resize whole images with --crop false, or resample or pad them before",
                )
            cropped[key] = CenterSpatialCrop(shortest)(cropped[key])
        return cropped


def count_channels(path: Path) -> int:
    """Count the channels of an image by its file header alone.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the header is unreadable; the message names the file.
    """
    with naming(path):
        match kind_of(path):
            case "nifti":
                return count_components(path)
            case "dicom":
                return count_samples(path)
            case _:
                return count_bands(path)


def spatial_axes(path: Path) -> int:
    """Count the axes of an image: 2 of a picture or a slice, 3 of a volume or a series.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the header is unreadable; the message names the file.
    """
    with naming(path):
        match kind_of(path):
            case "nifti":
                return count_axes(path)
            case "dicom":
                return 3 if path.is_dir() else 2
            case _:
                return 2


def reads_intensities(transform: object) -> bool:
    """Whether a transform, or one of those that it is composed of, is a :class:`LoadIntensityd`."""
    steps = getattr(transform, "transforms", ())
    return isinstance(transform, LoadIntensityd) or any(map(reads_intensities, steps))


def _check_content(path: Path) -> None:
    if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe, which would be waited for
        raise ValueError("expected a regular file, got a pipe, socket or device")
    if path.is_file() and path.stat().st_size == 0:  # of which decoders say other things
        raise ValueError("the file is empty")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in whatever goes wrong while it is read.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if what reads it is not installed.
        DataError: for everything else.
    """
    try:
        _check_content(path)
        yield
    except (FileNotFoundError, ImportError):
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, zlib.error and more
        found, *advice = error.args if isinstance(error, DataError) else (error,)
        raise DataError(
            f"cannot read {path} as an image ({', '.join(IMAGE_SUFFIXES)}): {found}",
            *advice,
            "replace the file or take it out of the data set",
        ) from error
