"""How much noise images already have: measured where they are flat."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_SIDES = {1: 16, 2: 8, 3: 6}  # of a patch, by its number of dimensions
_FLATTEST = 0.1  # share of the patches
_AT_A_BOUND = 0.05  # values of a patch that may be as dark, or as bright, as can be
_TO_SIGMA = 1.4826  # from the median absolute deviation of a normal distribution


def reference_noise(inputs: Tensor, bounds: tuple[float, float] = (0.0, 1.0)) -> float | None:
    """Standard deviation of the noise in the flattest tenth of all patches.

    Which patches are flat, the means of their halves say; how much noise they have, the differences
    of neighbours along each axis, less their median in the patch, so that what rises evenly does not
    count. So flat patches are not those that happen to have little noise. The median of the absolute
    differences leaves single edges out of account. Padding and what is cut off at ``bounds`` has no
    noise, and does not count.

    Args:
        inputs: ``(N, C, *)``.
        bounds: range of valid inputs.

    Returns:
        In units of the inputs; ``None`` if all patches are constant or at the bounds, or samples
        are not signals, images or volumes of at least 3 values along each axis. Noise that
        neighbours share, as after resizing, is larger than what is returned.

    """
    dimensions = inputs.ndim - 2
    if dimensions not in _SIDES or min(inputs.shape[2:]) < 3:
        return None
    patches = _patches(inputs.double(), dimensions)
    axes = range(1, dimensions + 1)
    low, high = bounds
    at_bound = ((patches <= low) | (patches >= high)).flatten(1).double().mean(dim=1)
    values = patches.flatten(1)
    patches = patches[(at_bound <= _AT_A_BOUND) & (values.amax(dim=1) > values.amin(dim=1))]
    if len(patches) == 0:
        return None
    slope = torch.stack([_step(patches, axis) for axis in axes]).amax(dim=0)
    patches = patches[slope.argsort()[: math.ceil(_FLATTEST * len(slope))]]
    rough = torch.cat([_differences(patches, axis) for axis in axes], dim=1)
    return _TO_SIGMA * float(rough.abs().median()) / math.sqrt(2)


def _patches(inputs: Tensor, dimensions: int) -> Tensor:
    """``(P, *)`` patches of all images and channels, side by side; what is left over is left out."""
    images = inputs.flatten(0, 1)
    for axis in range(1, dimensions + 1):
        side = min(_SIDES[dimensions], images.shape[axis])
        images = images.unfold(axis, side, side)
    return images.flatten(0, dimensions)


def _differences(patches: Tensor, axis: int) -> Tensor:
    """``(P, D)`` of neighbours along an axis, less their median in the patch."""
    differences = patches.diff(dim=axis).flatten(1)
    return differences - differences.median(dim=1, keepdim=True).values


def _step(patches: Tensor, axis: int) -> Tensor:
    """``(P,)`` by how much the means of the two halves along an axis differ."""
    half = patches.shape[axis] // 2
    first, second = patches.narrow(axis, 0, half), patches.narrow(axis, half, half)
    return (first.flatten(1).mean(dim=1) - second.flatten(1).mean(dim=1)).abs()
