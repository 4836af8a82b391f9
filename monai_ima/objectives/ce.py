"""Plain training on clean samples, the baseline of every comparison."""

from __future__ import annotations

from torch import Tensor, nn

from monai_ima.attacks.base import checked_labels, classifying
from monai_ima.losses import mean_cross_entropy
from monai_ima.objectives.base import Objective, ObjectiveResult


class CrossEntropy(Objective):
    """Mean cross-entropy of the clean samples (``ce`` in the paper).

    Args:
        class_weights: see :class:`~monai_ima.objectives.Objective`.
    """

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
        loss = mean_cross_entropy(logits, labels, self.class_weights)
        return ObjectiveResult(loss, logits, {"loss_clean": loss.detach()})
