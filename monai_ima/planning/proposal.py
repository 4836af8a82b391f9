"""From the margins of a plain network to the settings of a training with margins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

HIGHEST_PER_MARGIN = 2.0
"""The highest noise level, as a multiple of the plain network's median margin."""
EPS_MAX_PER_HIGHEST = 4.0
"""``eps_max`` as a multiple of the highest noise level; docs/results/plan.md has the measurements."""
DELTA_PER_MARGIN = 0.5
"""``delta`` as a multiple of the median margin, as the training advises that finds it nearer than ``delta``."""
FEWEST_CORRECT = 10
_LEVELS = (0, 0.125, 0.25, 0.5, 0.75, 1)  # of the highest


@dataclass(frozen=True)
class Proposal:
    """Settings of a training with margins.

    Attributes:
        noise_levels: levels of the evaluation, from 0, in units of the inputs.
        eps_max: largest margin.
        delta: by how much a margin grows at an update, and its smallest value.
        max_epochs: epochs.
        margin: median margin of the plain network, by which these were chosen.
        nearer: share of the plain network's margins that are smaller than ``delta``.
    """

    noise_levels: tuple[float, ...]
    eps_max: float
    delta: float
    max_epochs: int
    margin: float
    nearer: float


def propose(
    margins: Tensor,
    *,
    largest: float,
    margin_interval: int,
    fewest_epochs: int,
    noise_levels: Sequence[float] | None = None,
    eps_max: float | None = None,
    max_epochs: int | None = None,
) -> Proposal:
    """Settings of a training, from how far away the plain network's boundary is.

    Noise levels go up to twice the median margin, where the plain network has lost most of its
    answers, and margins may grow to four times as much. They start at ``delta``, are never smaller,
    and grow by it at an update: ``delta`` is half of the median margin, so that most samples can
    follow their boundary, and there are as many epochs as a margin needs to grow to ``eps_max``.

    Args:
        margins: ``(N,)`` of the plain network on validation samples, in units of the inputs: 0 where
            it is wrong, infinite where no error was found.
        largest: noise that reaches every valid input. ``eps_max`` is at most half of it, with which
            any two inputs can meet in the middle, and noise levels are at most a quarter of that.
        margin_interval: epochs between updates of the margins.
        fewest_epochs: that the network needs to learn at all.
        noise_levels: given, where they are not to be proposed; ``eps_max`` follows from the highest.
        eps_max: given, likewise; noise levels follow from it, unless they are given.
        max_epochs: given, likewise; ``delta`` follows from them.

    Raises:
        ValueError: if fewer than ten samples are correctly classified, or for most no error was
            found: there is nothing to go by.

    Example:
        >>> propose(torch.full((20,), 0.01), largest=1, margin_interval=2, fewest_epochs=10).eps_max
        0.08
    """
    correct = margins[margins > 0].double()
    if len(correct) < FEWEST_CORRECT:
        raise ValueError(
            f"expected at least {FEWEST_CORRECT} correctly classified validation samples, got "
            f"{len(correct)} of {len(margins)}"
        )
    median = float(correct.quantile(0.5, interpolation="lower"))
    if math.isinf(median):
        raise ValueError(
            f"expected errors of the plain network within bounds, got none near "
            f"{int(correct.isinf().sum())} of {len(correct)} samples"
        )
    if noise_levels is not None:
        highest = float(noise_levels[-1])
    elif eps_max is not None:
        highest = eps_max / EPS_MAX_PER_HIGHEST
    else:
        highest = HIGHEST_PER_MARGIN * median
    if eps_max is None:
        eps_max = _rounded(min(EPS_MAX_PER_HIGHEST * highest, largest / 2))
    if noise_levels is None:
        highest = eps_max / EPS_MAX_PER_HIGHEST
        noise_levels = [_rounded(share * highest, digits=3) for share in _LEVELS]
    if max_epochs is None:
        updates = math.ceil(round(eps_max / (DELTA_PER_MARGIN * median), 3))
        max_epochs = max(updates * margin_interval, fewest_epochs)
    delta = eps_max * min(1.0, margin_interval / max_epochs)
    nearer = float((correct < delta).double().mean())
    return Proposal(tuple(noise_levels), eps_max, delta, max_epochs, median, nearer)


def _rounded(value: float, *, digits: int = 2) -> float:
    """To so many significant digits."""
    return float(f"{value:.{digits}g}")
