"""Distance between two predictions."""

import torch.nn.functional as F
from torch import Tensor


def kl_divergence(logits: Tensor, other_logits: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence :math:`\sum_j p_j \log (p_j / q_j)` of each sample.

    Args:
        logits: ``(N, C)`` of p.
        other_logits: ``(N, C)`` of q.

    Returns:
        ``(N,)`` values, 0 where p and q are the same.
    """
    log_p, log_q = logits.log_softmax(dim=1), other_logits.log_softmax(dim=1)
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=1)
