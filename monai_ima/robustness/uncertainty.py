"""How sure a measured robustness is: intervals over samples or patients, and p values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monai_ima.counts import checked_count
from monai_ima.robustness.curve import Z_95

ENOUGH_PATIENTS = 10
"""Over fewer patients the interval of a bootstrap is too narrow; over one it has no width."""

# Groups drawn at once: some 100 MB, whatever the number of draws and samples.
_CHUNK = 2**22
# Of more groups than this, those whose values are equal are drawn together, if there are few kinds.
_MANY, _KINDS = 100_000, 1_000


def bootstrap_means(
    values: Tensor,
    groups: Tensor | None = None,
    *,
    draws: int = 1000,
    generator: torch.Generator,
) -> Tensor:
    """Means over samples, of data sets in which whole groups were drawn with replacement.

    Images of one patient resemble each other, so that an interval that takes them for independent
    is too narrow; the patients are independent. What is not itself a mean over samples follows from
    such means: the area under a curve is the mean of the samples' own areas, and means of one call
    belong to the same draws, so that their difference is a paired one.

    Args:
        values: ``(N, *)`` any quantities of the samples.
        groups: ``(N,)`` whole numbers, equal for samples of the same group, as of a patient;
            ``None``: each sample is its own.
        draws: number of data sets.
        generator: source of the draws.

    Returns:
        ``(draws, *)`` float64, on the device of the generator.

    Raises:
        ValueError: if there is no sample, no draw, or ``groups`` does not name a group for each.

    Source:
        Field and Welsh, Bootstrapping Clustered Data, 2007 (the cluster bootstrap).
    """
    checked_count("draws", draws, at_least=1)
    n = len(values)
    if n == 0:
        raise ValueError("expected at least one sample to draw from, got none")
    if groups is None:
        groups = torch.arange(n, device=values.device)
    if groups.shape != (n,) or groups.is_floating_point():
        raise ValueError(
            f"expected groups to be whole numbers of shape ({n},), one for each sample, "
            f"got {groups.dtype} of shape {tuple(groups.shape)}"
        )
    names, group = torch.unique(groups, return_inverse=True)
    columns = torch.cat([values.reshape(n, -1).double(), values.new_ones(n, 1).double()], dim=1)
    sums = columns.new_zeros(len(names), columns.shape[1]).index_add_(0, group, columns)
    sums = sums.to(generator.device)
    kinds = _kinds(sums) if len(names) > _MANY else None
    totals = (
        _drawn(sums, draws, generator)
        if kinds is None
        else _drawn_together(*kinds, draws, generator)
    )
    return (totals[:, :-1] / totals[:, -1:]).reshape(draws, *values.shape[1:])


def _drawn(sums: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Sums of as many rows of ``sums`` ``(G, K)`` as it has, drawn with replacement: ``(draws, K)``."""
    drawn, count = [], len(sums)
    rows = max(1, _CHUNK // count)
    for start in range(0, draws, rows):
        shape = (min(rows, draws - start), count)
        picked = torch.randint(count, shape, generator=generator, device=generator.device)
        times = torch.zeros_like(picked).scatter_add_(1, picked, torch.ones_like(picked))
        drawn.append(times.double() @ sums)
    return torch.cat(drawn)


def _kinds(sums: Tensor) -> tuple[Tensor, Tensor] | None:
    """The different rows of ``sums``, and how often each is there; ``None`` if they are many.

    Samples of a curve that are robust at the same levels are of one kind.
    """
    weights = torch.linspace(1, 2, sums.shape[1], dtype=sums.dtype, device=sums.device).sqrt()
    _, kind, times = (sums @ weights).unique(return_inverse=True, return_counts=True)
    if len(times) > _KINDS:
        return None
    rows = sums.new_empty(len(times), sums.shape[1])
    rows[kind] = sums
    return (rows, times) if torch.equal(rows[kind], sums) else None


def _drawn_together(rows: Tensor, times: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """What :func:`_drawn` gives of ``rows`` ``(R, K)`` that are there so many ``times`` ``(R,)``.

    How often each is drawn is multinomial: one binomial after another, of what is left.
    """
    left = times.new_full((draws,), int(times.sum())).double()
    remaining = times.double().flip(0).cumsum(0).flip(0)
    totals = rows.new_zeros(draws, rows.shape[1])
    for row, share in zip(rows, times / remaining, strict=True):
        drawn = torch.binomial(left, share.expand(draws).contiguous(), generator=generator)
        totals += drawn[:, None] * row
        left -= drawn
    return totals


def bootstrap_interval(
    values: Tensor,
    groups: Tensor | None = None,
    *,
    draws: int = 1000,
    level: float = 0.95,
    generator: torch.Generator,
) -> Tensor:
    """Percentile interval of means over samples, from :func:`bootstrap_means`.

    It has no width where all values are the same, as of an accuracy of 0 or 1: see
    ``with_unseen``.

    Args:
        values: ``(N, *)`` any quantities of the samples.
        groups: ``(N,)`` whole numbers, equal for samples of the same patient.
        draws: number of data sets.
        level: how often such intervals hold the true mean.
        generator: source of the draws.

    Returns:
        ``(*, 2)`` float64, the lower and the upper end, on the device of the generator.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    means = bootstrap_means(values, groups, draws=draws, generator=generator)
    return percentile_interval(means, level=level)


def percentile_interval(drawn: Tensor, *, level: float = 0.95) -> Tensor:
    """Interval that holds the middle ``level`` of what was drawn.

    Args:
        drawn: ``(draws, *)`` the quantities in each draw.
        level: share of the draws between the two ends.

    Returns:
        ``(*, 2)``, the lower and the upper end.

    Example:
        >>> percentile_interval(torch.arange(101.0))
        tensor([ 2.5000, 97.5000])
    """
    ends = drawn.new_tensor([(1 - level) / 2, (1 + level) / 2])
    return drawn.quantile(ends, dim=0).movedim(0, -1)


def with_unseen(ends: Tensor, shares: Tensor, groups: Tensor | None = None) -> Tensor:
    """Intervals of means of shares, of which those get a width that have none.

    Where all samples are alike, as at an accuracy of 0 or 1, those of a bootstrap are so, too, as if no
    other could be. There may be as many of them as Wilson's interval of 0 allows, of as many samples
    as there are, or groups.

    Args:
        ends: ``(*, 2)`` lower and upper ends.
        shares: ``(N, *)`` from 0 to 1, of which they are.
        groups: ``(N,)`` equal for samples of the same patient.

    Returns:
        ``(*, 2)``.

    Example:
        >>> with_unseen(torch.tensor([[1.0, 1], [0.5, 1]]), torch.tensor([[1.0, 0], *[[1, 1]] * 9]))
        tensor([[0.7225, 1.0000],
                [0.5000, 1.0000]])
    """
    first, count = shares[0], len(shares) if groups is None else len(groups.unique())
    unseen = Z_95**2 / (count + Z_95**2)
    wide = torch.stack([first * (1 - unseen), first + (1 - first) * unseen], dim=-1)
    are_alike = (shares == first).all(dim=0)
    return torch.where(are_alike[..., None], wide.to(ends), ends)


def numbered(names: Sequence[str]) -> Tensor | None:
    """A number for each name, as of the patients of samples, in the order of first appearance.

    Args:
        names: of N samples, "" where one is not known.

    Returns:
        ``(N,)`` numbers from 0 on, equal for equal names; ``None`` if one is not known.

    Example:
        >>> numbered(["b", "a", "b"])
        tensor([0, 1, 0])
    """
    if not all(names):
        return None
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([numbers[name] for name in names])


def mcnemar(wins: int, losses: int) -> float:
    """P value, two-sided, of as unequal numbers among the samples that two models differ on.

    Args:
        wins: samples that only the first model classifies correctly.
        losses: samples that only the second model classifies correctly.

    Returns:
        The probability of numbers as unequal or more so, if each of these samples were as likely to
        be a win as a loss.

    Source:
        McNemar, Note on the Sampling Error of the Difference between Correlated Proportions or
        Percentages, 1947, in its exact form.

    Example:
        >>> round(mcnemar(5, 0), 6)  # five heads in a row, or five tails
        0.0625
    """
    n = torch.tensor(wins + losses, dtype=torch.float64)
    k = torch.arange(min(wins, losses) + 1, dtype=torch.float64)
    # logarithms of the binomial coefficients: of thousands of samples these have no floating point
    log_choices = (n + 1).lgamma() - (k + 1).lgamma() - (n - k + 1).lgamma()
    tail = (log_choices.logsumexp(dim=0) - n * math.log(2)).exp()
    return min(1.0, 2 * float(tail))


def holm(p: Sequence[float]) -> list[float]:
    """P values adjusted for their number, in their order.

    Source:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.

    Example:
        >>> holm([0.5, 0.125])
        [0.5, 0.25]
    """
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted
