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
    label_logits, others = _apart(logits, labels)
    return others.logsumexp(dim=1) - label_logits


def soft_margin_slope(logits: Tensor, labels: Tensor) -> Tensor:
    """Gradient of :func:`soft_margin` with respect to the logits, ``(N, C)``.

    The softmax over the other classes, and -1 at the label: in one place what autograd would make of
    two dozen small operations.
    """
    label = labels[:, None]
    return logits.scatter(1, label, -torch.inf).softmax(dim=1).scatter_(1, label, -1)


def logit_scale(logits: Tensor) -> Tensor:
    r"""Factor for each sample that puts its first class 8 above the mean of its logits.

    :func:`soft_margin` is between two extremes: of tiny logits it weighs all other classes alike,
    of huge ones the nearest alone. Both lead an attack astray, the one between the classes, the
    other, as :func:`hard_margin` does, to a class that is near at first and far in the end. With
    this factor, taken at the clean sample and kept, what a network's logits are multiplied with
    makes no difference any more. Networks trained with cross-entropy have about 8 by themselves.

    Args:
        logits: ``(N, C)``.

    Returns:
        ``(N,)`` positive factors; 1 where all logits are the same.
    """
    spread = logits.amax(dim=1) - logits.mean(dim=1)
    return torch.where(spread > torch.finfo(spread.dtype).tiny, 8 / spread, 1)


def hard_margin(logits: Tensor, labels: Tensor) -> Tensor:
    r"""Logit margin :math:`\max_{j \ne y} z_j - z_y`, positive where the label is not the first class.

    Args:
        logits: ``(N, C)`` with at least two classes.
        labels: ``(N,)`` class indices.

    Returns:
        ``(N,)`` values.
    """
    label_logits, others = _apart(logits, labels)
    return others.amax(dim=1) - label_logits


def _apart(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits ``(N,)`` of the labels, and ``(N, C)`` of the other classes, -inf in the labels' place."""
    label = labels[:, None]
    return logits.gather(1, label)[:, 0], logits.scatter(1, label, -torch.inf)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    r"""Targeted difference of logits ratio, large where the target is more likely than the label.

    :math:`(z_t - z_y) / (z_{\pi_1} - (z_{\pi_3} + z_{\pi_4}) / 2)` with the logits in falling order
    :math:`\pi`. Neither a shift nor a scale of the logits changes it, so that its gradient cannot
    vanish on a confident network. With fewer than four classes there is no such ratio, and it is
    the plain difference :math:`z_t - z_y`.

    Args:
        logits: ``(N, C)`` with at least two classes.
        labels: ``(N,)`` class indices.
        targets: ``(N,)`` class indices, the class to be reached.

    Returns:
        ``(N,)`` values.

    Source:
        Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
        Parameter-free Attacks, ICML 2020.
    """
    difference = (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None]))[:, 0]
    if logits.shape[1] < 4:
        return difference
    first, _, third, fourth = logits.topk(4, dim=1).values.unbind(dim=1)
    scale = first - (third + fourth) / 2
    return difference / torch.where(scale == 0, 1, scale)


def cross_entropy(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of each sample, ``(N, C)`` logits and ``(N,)`` labels to ``(N,)`` values.

    With ``class_weights`` ``(C,)`` each is multiplied by the weight of the sample's class.
    """
    weight = None if class_weights is None else class_weights.to(logits.dtype)
    return F.cross_entropy(logits, labels, weight, reduction="none")
