"""Synthetic clothes in the ten classes of Fashion-MNIST, for demonstration and tests.

What tells the classes apart is their cut: the length of sleeves and hem, an open front, a collar, a
waist, two legs, straps, a sole, a shaft, a handle. Sleeves, hems and fronts of neighbouring classes
overlap, as they do in life. Size, tilt, place, brightness and the pattern of the cloth vary alike in
all classes.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from monai_ima.data.fashion_mnist import SIDE
from monai_ima.data.labelled_images import Bytes
from monai_ima.data.synthetic_parts import write_parts

GENERATOR_VERSION = 1  # raise it whenever the pixels of any image change

Points: TypeAlias = Sequence[tuple[float, float]]

_FINE = 3  # drawn that many times larger, for smooth edges
_CLOTH, _DARKER, _BRIGHTER = 200, 120, 255


def write_synthetic_fashion(
    root: str | Path, *, training: int = 3600, test: int = 600, seed: int = 0
) -> Path:
    """Write a data set as the four files of Fashion-MNIST, all classes equally often.

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
        name="synthetic_fashion",
        version=GENERATOR_VERSION,
        kind="synthetic clothes",
        training=training,
        test=test,
        seed=seed,
        write=_write_part,
    )


def _write_part(folder: Path, part: int, labels: Bytes, rng: np.random.Generator) -> None:
    name = ("train", "t10k")[part]
    _write_idx(folder / f"{name}-labels-idx1-ubyte.gz", labels)
    _write_idx(folder / f"{name}-images-idx3-ubyte.gz", draw_clothes(labels, rng))


def draw_clothes(labels: Bytes, rng: np.random.Generator) -> Bytes:
    """Draw an image of each class index.

    Args:
        labels: ``(N,)`` indices of ``CLASSES``.
        rng: what draws the randomness.

    Returns:
        ``(N, 28, 28)`` grey values on black.
    """
    drawn = np.stack([_DRAW[label](_Canvas(rng), rng).pixels() for label in labels])
    count = len(labels)

    def each(low: float, high: float) -> npt.NDArray[np.float64]:
        return rng.uniform(low, high, (count, 1, 1))

    row, column = np.ogrid[:SIDE, :SIDE]
    angle = each(0, math.pi)
    stripes = np.sin(each(0.5, 2) * (np.cos(angle) * row + np.sin(angle) * column) + each(0, 6))
    shade = np.cos(each(0, 6) + each(0.02, 0.08) * row) + np.cos(each(0, 6) + 0.1 * column)
    cloth = each(0.5, 1.1) * (1 + each(0, 0.3) * stripes * (each(0, 1) < 0.4) + 0.1 * shade)
    weave = 1 + each(0.02, 0.12) * rng.standard_normal(drawn.shape)
    pixels: Bytes = np.clip(np.rint(drawn * cloth * weave), 0, 255).astype(np.uint8)
    return pixels


class _Canvas:
    """A square from -1 to 1, y downwards, a little tilted, scaled and shifted."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._image = Image.new("L", (SIDE * _FINE, SIDE * _FINE))
        self._draw = ImageDraw.Draw(self._image)
        tilt = rng.normal(0, 0.1)
        wide, high = rng.uniform(0.7, 0.98, 2)
        cosine, sine = math.cos(tilt), math.sin(tilt)
        self._turn = np.array([[cosine * wide, sine * wide], [-sine * high, cosine * high]])
        self._shift = rng.normal(0, 0.06, 2)

    def shape(self, points: Points, fill: int = _CLOTH) -> _Canvas:
        self._draw.polygon(self._placed(points), fill)
        return self

    def symmetric(self, half: Points, fill: int = _CLOTH) -> _Canvas:
        """Fill a shape whose right half is given, from top to bottom."""
        return self.shape([*half, *((-x, y) for x, y in reversed(half))], fill)

    def line(self, points: Points, width: float, fill: int = _CLOTH) -> _Canvas:
        pixels = round(width * SIDE * _FINE / 2)
        self._draw.line(self._placed(points), fill, max(1, pixels), joint="curve")
        return self

    def pixels(self) -> Bytes:
        return np.asarray(self._image.reduce(_FINE))

    def _placed(self, points: Points) -> list[tuple[float, float]]:
        placed = (np.asarray(points) @ self._turn + self._shift + 1) * (SIDE * _FINE / 2)
        return [(x, y) for x, y in placed.tolist()]


def _top(
    canvas: _Canvas,
    rng: np.random.Generator,
    *,
    sleeve: tuple[float, float],
    hem: tuple[float, float],
) -> _Canvas:
    """A garment for the upper body; sleeve and hem are ranges of length and of height."""
    width = rng.uniform(0.4, 0.5)
    length = rng.uniform(*sleeve)
    slope = math.radians(rng.uniform(30, 50) if length < 0.6 else rng.uniform(66, 82))
    along, inwards = (math.cos(slope), math.sin(slope)), (-math.sin(slope), math.cos(slope))
    cuff = (width + length * along[0], -0.68 + length * along[1])
    return canvas.symmetric(
        [
            (rng.uniform(0.12, 0.24), -0.82),
            (width, -0.68),
            cuff,
            (cuff[0] + 0.22 * inwards[0], cuff[1] + 0.22 * inwards[1]),
            (width, -0.22),
            (width + rng.uniform(-0.06, 0.08), rng.uniform(*hem)),
        ]
    )


_SHORT, _LONG = (0.22, 0.55), (0.95, 1.3)


def _t_shirt(canvas: _Canvas, rng: np.random.Generator) -> _Canvas:
    return _top(canvas, rng, sleeve=_SHORT, hem=(0.6, 0.9))


def _trouser(canvas: _Canvas, rng: np.random.Generator) -> _Canvas:
    waist, ankle = rng.uniform(0.26, 0.36), rng.uniform(0.3, 0.46)
    crotch = rng.uniform(-0.4, -0.1)
    leg = rng.uniform(0.16, 0.26)
    half = [(waist, -0.95), (waist + 0.06, -0.5), (ankle, 0.95), (ankle - leg, 0.95), (0, crotch)]
    return canvas.symmetric(half)


def _pullover(canvas: _Canvas, rng: np.random.Generator) -> _Canvas:
    _top(canvas, rng, sleeve=_LONG, hem=(0.6, 0.88))
    return canvas.line([(-0.2, -0.78), (0, -0.7), (0.2, -0.78)], 0.07, _DARKER)


def _dress(canvas: _Canvas, rng: np.random.Generator) -> _Canvas:
    shoulder, waist = rng.uniform(0.2, 0.34), rng.uniform(0.15, 0.26)
    sleeve = rng.uniform(0, 0.2)
    return canvas.symmetric(
        [
            (0.1, -0.92),
            (shoulder, -0.9),
            (shoulder + sleeve, -0.6),
            (shoulder, -0.5),
            (waist, rng.uniform(-0.25, 0)),
            (rng.uniform(0.26, 0.55), 0.95),
        ]
    )


def _coat(canvas: _Canvas, rng: np.random.Generator) -> _Canvas:
    _top(canvas, rng, sleeve=_LONG, hem=(0.8, 0.96))
    lapel = rng.uniform(-0.4, 0)
    canvas.symmetric([(rng.uniform(0.1, 0.2), -0.85), (0, lapel)], _DARKER)
    return canvas.line([(0, lapel), (0, 0.98)], 0.06, rng.integers(0, _DARKER).item())


def _sandal(canvas: _Canvas, rng: np.random.Generator) -> _Canvas:
    heel = rng.uniform(0, 0.45)
    arch = rng.uniform(0, 0.15)
    top = [(-0.9, 0.5), (-0.3, 0.45 - arch), (0.4, 0.3 - heel), (0.9, 0.3 - heel)]
    sole = [(0.9, 0.62), (0.7, 0.62), (0.4, 0.45 - heel / 2), (-0.3, 0.62), (-0.9, 0.62)]
    canvas.shape([*top, *sole], _DARKER)
    for start in rng.uniform(-0.8, 0.6, rng.integers(2, 5)):
        bow = [(start, 0.48), (start + 0.15, rng.uniform(-0.2, 0.15)), (start + 0.45, 0.3)]
        canvas.line(bow, 0.1, _BRIGHTER)
    return canvas


def _shirt(canvas: _Canvas, rng: np.random.Generator) -> _Canvas:
    _top(canvas, rng, sleeve=_LONG if rng.random() < 0.7 else _SHORT, hem=(0.65, 0.92))
    collar = [(-0.2, -0.82), (0, -0.6), (0.2, -0.82)]
    canvas.line(collar, 0.09, _BRIGHTER).line([(0, -0.6), (0, 0.9)], 0.05, _BRIGHTER)
    return canvas


def _low_shoe(canvas: _Canvas, rng: np.random.Generator, ankle: float) -> _Canvas:
    """A shoe that faces left, closed up to the height of the ankle, negative for upwards."""
    instep = rng.uniform(-0.05, 0.15)
    sole = rng.uniform(0.5, 0.6)
    upper = [(-0.92, 0.4), (-0.5, 0.22), (0, instep), (0.25, ankle), (0.88, ankle), (0.92, 0.65)]
    canvas.shape([*upper, (-0.9, 0.65)])
    return canvas.shape([(-0.95, sole), (0.95, sole), (0.95, 0.7), (-0.92, 0.7)], _BRIGHTER)


def _sneaker(canvas: _Canvas, rng: np.random.Generator) -> _Canvas:
    _low_shoe(canvas, rng, ankle=rng.uniform(-0.3, 0))
    return canvas.line([(-0.3, 0.3), (0.1, 0.15)], 0.07, _DARKER)


def _bag(canvas: _Canvas, rng: np.random.Generator) -> _Canvas:
    top, flare = rng.uniform(-0.4, 0.1), rng.uniform(0, 0.15)
    reach, rise = rng.uniform(0.3, 0.6), rng.uniform(0.25, 0.6)
    handle = [(-reach, top), (-0.7 * reach, top - rise), (0.7 * reach, top - rise), (reach, top)]
    canvas.line(handle, rng.uniform(0.08, 0.14))
    canvas.symmetric([(0.85 - flare, top), (0.85, 0.8)])
    return canvas.line([(-0.8, top + 0.3), (0.8, top + 0.3)], 0.06, _DARKER)


def _boot(canvas: _Canvas, rng: np.random.Generator) -> _Canvas:
    return _low_shoe(canvas, rng, ankle=rng.uniform(-0.9, -0.4))


_DRAW: tuple[Callable[[_Canvas, np.random.Generator], _Canvas], ...] = (
    _t_shirt,
    _trouser,
    _pullover,
    _dress,
    _coat,
    _sandal,
    _shirt,
    _sneaker,
    _bag,
    _boot,
)


def _write_idx(file: Path, values: Bytes) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    content = bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()
    file.write_bytes(gzip.compress(content, mtime=0))
