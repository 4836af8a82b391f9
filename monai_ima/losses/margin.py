"""What an attack climbs: each function takes logits and labels and gives one value a sample."""

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_margin(logits: Tensor, labels: Tensor) -> Tensor:
    r"""Soft logit margin :math:`\log \sum_{j \ne y} e^{z_j} - z_y`, large where the label is unlikely.

    Cross-entropy is ``softplus`` of it, so both have the same gradient direction for a sample;
    but cross-entropy's gradient carries the factor :math:`1 - p_y`, which underflows to zero on a
    confident network, and an attack that follows it then reports robustness that is not there.

    Args:
        logits: ``(N, C)`` with at least two classes.
        labels: ``(N,)`` class indices.

    Returns:
        ``(N,)`` values.
    """
    label_logits = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.logsumexp(dim=1) - label_logits[:, 0]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each sample, ``(N, C)`` logits and ``(N,)`` labels to ``(N,)`` values."""
    return F.cross_entropy(logits, labels, reduction="none")
