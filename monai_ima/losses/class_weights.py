"""Losses of samples that count for as much as their class says."""

import torch.nn.functional as F
from torch import Tensor


def weighted(losses: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Losses of samples, each times the weight of its class.

    Args:
        losses: ``(N,)``, any loss.
        labels: ``(N,)`` class indices.
        class_weights: ``(C,)``, or ``None``: each loss as it is.

    Returns:
        ``(N,)`` values.
    """
    if class_weights is None:
        return losses
    return losses * class_weights.to(losses.dtype)[labels]


def mean_cross_entropy(logits: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    r"""Mean :math:`\frac{1}{N} \sum_i w_{y_i} CE(z_i, y_i)` of the weighted cross-entropy.

    The sum is divided by the number of samples, and not by the sum of their weights, as torch's mean
    is: a sample counts for as much in whatever batch it comes.

    Args:
        logits: ``(N, C)``.
        labels: ``(N,)`` class indices.
        class_weights: ``(C,)``, or ``None``: the ordinary mean. Weights of 1 are the same, bit for bit.

    Returns:
        A scalar.

    Raises:
        RuntimeError: if there are not as many weights as classes.
    """
    if class_weights is None:
        return F.cross_entropy(logits, labels)
    weight = class_weights.to(logits.dtype)
    return F.cross_entropy(logits, labels, weight, reduction="sum") / len(labels)
