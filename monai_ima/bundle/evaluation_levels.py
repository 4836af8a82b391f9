"""Noise levels of the norm in which a model was not trained."""

from __future__ import annotations

import math
from collections.abc import Sequence


def linf_levels(
    norm: str, noise_levels: Sequence[float], l2_levels: Sequence[float], shape: Sequence[int]
) -> list[float]:
    """Levels in Linf for an evaluation in both norms.

    Of a training in Linf they are its own. Those of a training in L2 are lengths of the whole
    change, each of which would reach every valid input if one value alone could change by as much.
    Noise of the size ``e`` in each of ``n`` values is ``e sqrt(n)`` long: the levels are those at which
    noise in Linf is at most as long as that of the levels in L2.

    Args:
        norm: of the training, ``"linf"`` or ``"l2"``.
        noise_levels: of the training, in that norm.
        l2_levels: of the evaluation.
        shape: ``(C, *spatial)`` of an input.

    Example:
        >>> linf_levels("l2", [0, 1], [0, 0.5, 1], shape=(1, 10, 10))
        [0.0, 0.05, 0.1]
    """
    if norm == "linf":
        return list(noise_levels)
    longest = math.sqrt(math.prod(shape))
    return [float(f"{level / longest:.3g}") for level in l2_levels]
