"""From the levels that a file has to intensities in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from monai_ima.errors import DataError

ByContent: TypeAlias = Literal["minmax", "percentiles"]
IntensityRange: TypeAlias = "ByContent | Sequence[float] | None"

TAILS = (0.005, 0.995)  # the shares of the voxels between which an image is scaled


def checked_range(intensity_range: object) -> IntensityRange:
    """See that a range is one.

    Raises:
        ValueError: if not.
    """
    if intensity_range is None or intensity_range in get_args(ByContent):
        return intensity_range  # type: ignore[return-value]
    match intensity_range:
        case [int() | float() as low, int() | float() as high] if low < high:
            return (float(low), float(high))
    raise ValueError(
        "expected intensity_range to be [low, high] in the units of the files, like [-160, 240] in "
        f"Hounsfield units, {' or '.join(get_args(ByContent))} of each image, or null, got "
        f"{intensity_range!r}"
    )


def scaled(
    values: Tensor,
    intensity_range: IntensityRange,
    *,
    largest: float | None,
    nan_value: float | None,
) -> Tensor:
    """Scale an image to [0, 1].

    Args:
        values: ``(C, *spatial)`` float, as the file has them.
        intensity_range: what becomes 0 and 1, and is cut off beyond: ``(low, high)`` in the units of
            ``values``; ``"minmax"``, the smallest and the largest value of the image; ``"percentiles"``,
            its 0.5th and 99.5th percentile; or ``None``, 0 and ``largest`` where there is one, and
            ``"minmax"`` elsewhere. A constant image becomes zeros by its content.
        largest: the largest value that such a file can have; ``None`` where there is none.
        nan_value: what NaN becomes, in [0, 1]; ``None`` to reject it.

    Returns:
        The same shape, float32 in [0, 1].

    Raises:
        ValueError: if a value is infinite, or NaN without ``nan_value``, or all are; or if floats
            that should be in [0, 1] are not.
    """
    missing = values.isnan()
    if values.isinf().any() or missing.all() or (missing.any() and nan_value is None):
        raise DataError(
            f"expected finite values, got NaN or infinity, NaN in {int(missing.sum())} of "
            f"{values.numel()}",
            "say with nan_value what NaN becomes, from 0 (black) to 1",
        )
    present = values[~missing]
    low, high = _ends(present, intensity_range, largest)
    image = (values - low) / (high - low) if high > low else torch.zeros_like(values)
    if intensity_range is None and largest == 1 and not (0 <= present.min() <= present.max() <= 1):
        raise DataError(
            f"expected floats from 0 to 1, got {present.min():g} to {present.max():g}",
            "say with intensity_range what becomes 0 and 1, like [0, 4095]",
        )
    return image.clamp(0, 1).masked_fill(missing, nan_value or 0.0)


def _ends(
    present: Tensor, intensity_range: IntensityRange, largest: float | None
) -> tuple[float | Tensor, float | Tensor]:
    if intensity_range is None and largest is not None:
        return 0.0, largest
    if intensity_range is None or intensity_range == "minmax":
        return present.min(), present.max()
    if intensity_range == "percentiles":
        ordered = present.flatten().sort().values
        first, last = (round(share * (len(ordered) - 1)) for share in TAILS)
        return ordered[first], ordered[last]
    low, high = intensity_range
    return float(low), float(high)
