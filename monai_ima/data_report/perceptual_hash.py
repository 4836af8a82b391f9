"""Images that look alike, also when one is mirrored, turned, rescaled or saved anew.

Each image has a perceptual hash: of 32 x 32 means, the signs of the 63 lowest frequencies of a cosine
transform against their median (Zauner 2010, "Implementation and benchmarking of perceptual image hash
functions"). Two images of which at most ``MOST_BITS`` differ, in one of the eight orientations of a
square, may be the same picture; they are called so if their means also correlate by at least
``LEAST_CORRELATION`` in that orientation, which neighbouring slices or images of the same organ do not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SIDE = 32  # of the means
MOST_BITS = 10  # of 63
LEAST_CORRELATION = 0.985
_FREQUENCIES = 8
_BLOCK = 1024  # images that are compared with all others at a time
_FLAT = 1e-3  # standard deviation of grey values, below which there is nothing to compare
# After a quarter of a turn n times, mirrored or not.
ORIENTATIONS = (
    *("as it is", "a quarter turned", "upside down", "three quarters turned"),
    *("mirrored", "mirrored and a quarter turned"),
    *("mirrored upside down", "mirrored and three quarters turned"),
)


class Pair(NamedTuple):
    """Two images that look alike: their places, and how the second must be turned to be the first."""

    first: int
    second: int
    orientation: str
    correlation: float


def near_duplicates(signatures: NDArray[np.float32]) -> list[Pair]:
    """Find the pairs of images that look alike.

    Args:
        signatures: ``(N, 32, 32)`` means of grey values. Those that are flat are like no other.

    Returns:
        Each pair once, the most alike first.
    """
    if len(signatures) < 2:
        return []
    turned = _orientations(signatures)
    is_flat = signatures.std(axis=(1, 2)) < _FLAT
    signs = _hashes(turned)  # +-1, so that a product counts the bits that agree
    bits = signs.shape[-1]
    best: dict[tuple[int, int], Pair] = {}
    for start in range(0, len(signatures), _BLOCK):
        own = signs[0, start : start + _BLOCK]
        for orientation, others in enumerate(signs):
            alike = own @ others[start:].T >= bits - 2 * MOST_BITS
            for first, second in np.argwhere(alike) + start:
                if first >= second or is_flat[first] or is_flat[second]:
                    continue
                value = _correlation(turned[0, first], turned[orientation, second])
                known = best.get((first, second))
                if value >= LEAST_CORRELATION and (known is None or value > known.correlation):
                    best[first, second] = Pair(
                        int(first), int(second), ORIENTATIONS[orientation], value
                    )
    return sorted(best.values(), key=lambda pair: (-pair.correlation, pair))


def _orientations(signatures: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(8, N, 32, 32)``, the first as they are."""
    return np.stack(
        [
            np.rot90(images, turns, axes=(1, 2))
            for images in (signatures, signatures[:, :, ::-1])
            for turns in range(4)
        ]
    )


def _hashes(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(..., 63)`` of +1 and -1."""
    cosines = _cosines()
    low = np.einsum("fi,...ij,gj->...fg", cosines, images, cosines, optimize=True)
    without_mean = low.reshape(*low.shape[:-2], -1)[..., 1:]
    median = np.median(without_mean, axis=-1, keepdims=True)
    signs: NDArray[np.float32] = np.where(without_mean > median, 1, -1).astype(np.float32)
    return signs


def _cosines() -> NDArray[np.float32]:
    """The lowest rows of the orthogonal cosine transform."""
    frequency, place = np.ogrid[:_FREQUENCIES, :SIDE]
    rows = np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE)) * np.sqrt(2 / SIDE)
    rows[0] /= np.sqrt(2)
    cosines: NDArray[np.float32] = rows.astype(np.float32)
    return cosines


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])
