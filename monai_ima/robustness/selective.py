"""What is gained by setting the cases of least score aside: risk against coverage."""

from __future__ import annotations

import torch
from torch import Tensor


def risk_at_coverage(wrong: Tensor, score: Tensor) -> Tensor:
    """Share of wrong answers among the cases of the highest scores.

    Cases of equal score are kept in random order; what is given is its mean.

    Args:
        wrong: ``(N,)`` bool.
        score: ``(N,)``, higher where the answer is to be kept; infinite is allowed.

    Returns:
        ``(N,)`` float64, of the first case, the first two, ..., all.

    Source:
        El-Yaniv and Wiener, On the Foundations of Noise-free Selective Classification, 2010.

    Example:
        >>> wrong, score = torch.tensor([False, True, False, True]), torch.tensor([3.0, 1, 2, 1])
        >>> risk_at_coverage(wrong, score)
        tensor([0.0000, 0.0000, 0.3333, 0.5000], dtype=torch.float64)
    """
    order = score.argsort(descending=True)
    _, ties, counts = score[order].unique_consecutive(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), dtype=torch.float64).index_add(0, ties, wrong[order].double())
    expected: Tensor = (sums / counts)[ties]
    return expected.cumsum(dim=0) / torch.arange(1, len(wrong) + 1)


def area_under_risk(wrong: Tensor, score: Tensor) -> float:
    """Mean risk over all coverages: smaller where the score finds the wrong answers better.

    Arguments as in :func:`risk_at_coverage`. A score that knows nothing has the error rate.
    """
    return float(risk_at_coverage(wrong, score).mean())
