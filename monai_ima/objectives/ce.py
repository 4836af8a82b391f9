"""Plain training on clean samples, the baseline of every comparison."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from monai_ima.attacks.base import checked_labels, classifying
from monai_ima.objectives.base import Objective, ObjectiveResult


class CrossEntropy(Objective):
    """Mean cross-entropy of the clean samples (``ce`` in the paper)."""

    terms = ("loss_clean",)
    capturable = True

    def forward(
        self,
        network: nn.Module,
        inputs: Tensor,
        labels: Tensor,
        index: Tensor,  # noqa: ARG002  nothing is remembered about a sample
    ) -> ObjectiveResult:
        labels = checked_labels(labels)
        logits = classifying(network)(inputs)
        loss = F.cross_entropy(logits, labels)
        return ObjectiveResult(loss, logits, {"loss_clean": loss.detach()})
