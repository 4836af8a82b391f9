"""Synthetic house numbers in the form of SVHN, for demonstration and tests.

The digit in the middle has the image's class; others are beside it and are cut off by the border.
Typeface, size, tilt, place, colours, light and sharpness vary alike in all classes.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.io import savemat
from scipy.ndimage import gaussian_filter

from monai_ima.data.labelled_images import Bytes
from monai_ima.data.svhn import SIDE, TEST, TRAIN
from monai_ima.data.synthetic_parts import write_parts

GENERATOR_VERSION = 1  # raise it whenever the pixels of any image change

_FINE = 2  # drawn that many times larger, for smooth edges
_TYPEFACES = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono-Bold")


def write_synthetic_svhn(
    root: str | Path, *, training: int = 2400, test: int = 400, seed: int = 0
) -> Path:
    """Write a data set as the two files of SVHN, all digits equally often.

    The folder appears whole or not at all; one that was written with the same settings is reused
    untouched.

    Args:
        root: the folder to write; its parents are made.
        training: number of images in the training file.
        test: number of images in the test file.
        seed: what all randomness derives from, at least 0.

    Returns:
        ``root`` as a path.

    Raises:
        ValueError: an argument is out of range, or ``root`` holds anything else.
    """
    return write_parts(
        root,
        name="synthetic_svhn",
        version=GENERATOR_VERSION,
        kind="synthetic house numbers",
        training=training,
        test=test,
        seed=seed,
        write=_write_part,
    )


def _write_part(folder: Path, part: int, digits: Bytes, rng: np.random.Generator) -> None:
    images = draw_house_numbers(digits, rng)
    # SVHN's own layout: the images last, and 10 for the digit 0
    content = {
        "X": images.transpose(1, 2, 3, 0),
        "y": np.where(digits == 0, np.uint8(10), digits)[:, None],
    }
    savemat(folder / (TRAIN, TEST)[part], content, do_compression=True)


def draw_house_numbers(digits: Bytes, rng: np.random.Generator) -> Bytes:
    """Draw an image of each digit.

    Args:
        digits: ``(N,)`` from 0 to 9.
        rng: what draws the randomness.

    Returns:
        ``(N, 32, 32, 3)`` colours.
    """
    count = len(digits)
    ink = np.stack([_numerals(int(digit), rng) for digit in digits])[..., None]

    def each(low: float, high: float, channels: int = 1) -> npt.NDArray[np.float64]:
        return rng.uniform(low, high, (count, 1, 1, channels))

    wall = each(0.25, 0.75) + each(-0.2, 0.2, 3)
    brighter = np.where(wall.mean(axis=-1, keepdims=True) < 0.5, 1, -1)
    paint = wall + brighter * each(0.2, 0.5) + each(-0.08, 0.08, 3)
    row, column = (np.mgrid[:SIDE, :SIDE] / SIDE - 0.5)[..., None]
    angle = each(0, 2 * math.pi)
    light = each(0, 0.3) * (np.cos(angle) * row + np.sin(angle) * column)
    seen = wall + (paint - wall) * ink / 255 + light
    seen += 0.03 * rng.standard_normal(seen.shape)
    pixels: Bytes = np.clip(np.rint(255 * seen), 0, 255).astype(np.uint8)
    return pixels


def _numerals(digit: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Ink ``(32, 32)``, 0 to 255, of a digit with its neighbours."""
    size = SIDE * _FINE
    image = Image.new("L", (size, size))
    draw = ImageDraw.Draw(image)
    height = int(rng.integers(44, 60))
    font = _font(int(rng.integers(len(_TYPEFACES))), height)
    x, y = size / 2 + rng.normal(0, 2, 2)
    gap = height * rng.uniform(0.62, 0.75)
    for side in (-1, 1):
        if rng.random() < 0.6:
            neighbour = str(rng.integers(10))
            draw.text((x + side * gap, y), neighbour, fill=255, font=font, anchor="mm")
    draw.text((x, y), str(digit), fill=255, font=font, anchor="mm")
    tilted = image.rotate(rng.normal(0, 6), Image.Resampling.BILINEAR)
    ink: npt.NDArray[np.float64] = gaussian_filter(
        np.asarray(tilted.reduce(_FINE), np.float64), rng.uniform(0.2, 1.0)
    )
    return ink


@functools.cache
def _font(typeface: int, size: int) -> ImageFont.FreeTypeFont:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"{_TYPEFACES[typeface]}.ttf", size)
