"""What a trainer asks of a training method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn


class ObjectiveResult(NamedTuple):
    """One batch under a training method.

    Attributes:
        loss: scalar to minimise.
        logits: ``(N, C)`` of the clean inputs.
        terms: detached scalars to log beside the loss, under the names in ``Objective.terms``.
    """

    loss: Tensor
    logits: Tensor
    terms: dict[str, Tensor]


class Objective(nn.Module, ABC):
    """A training method: from a batch to the loss that the network should minimise.

    A module, so that a checkpoint holds what the method remembers of each sample; the network is
    an argument, not a part of it. It comes in train mode and is left so, and the gradients of its
    parameters are the caller's.

    Several processes take a batch together, each some of its samples, perhaps without a correct one
    among them. So let the samples not decide how often the network is passed through in train mode;
    what is remembered of them comes from all processes by :func:`~monai_ima.distributed.gathered`.

    Args:
        class_weights: how much a sample of each class counts for, by class index; by default all
            count alike. A weight of 2 is worth the same sample twice: every loss of it, that of its
            noisy form and TRADES' divergence as well, is multiplied, and the sum still divided by
            the number of samples. Attacks, margins and radii do not depend on it.

    Attributes:
        terms: names of the scalars that are logged beside the loss.
        class_weights: ``(C,)``, on the objective's device, or ``None``. A setting, so that no
            checkpoint has it.
        capturable: whether each step is the same operations on tensors, but for ``settings``, whatever
            the samples and the steps before: then a step can be replayed as a CUDA graph. What an
            objective asks of the device is no part of a graph. With another number in an attribute,
            such as one that it counts up, a step is another one, and none is replayed twice.

    Raises:
        ValueError: if a weight is not a finite number above 0.
    """

    terms: tuple[str, ...]
    capturable: ClassVar[bool] = False
    class_weights: Tensor | None

    def __init__(self, class_weights: Sequence[float] | Tensor | None = None) -> None:
        super().__init__()
        weights = None if class_weights is None else _checked_weights(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)

    @property
    def settings(self) -> dict[str, Any]:
        """What the method was made with, plain values by name, for the report of a run."""
        return {}

    @abstractmethod
    def forward(
        self, network: nn.Module, inputs: Tensor, labels: Tensor, index: Tensor
    ) -> ObjectiveResult:
        """Loss of a batch.

        Args:
            network: inputs ``(N, *)`` to logits ``(N, C)``.
            inputs: ``(N, *)`` clean samples.
            labels: ``(N,)`` true class indices.
            index: ``(N,)`` place of each sample in the training datalist.
        """


def _checked_weights(class_weights: Sequence[float] | Tensor) -> Tensor:
    weights = torch.as_tensor(class_weights, dtype=torch.float32).detach().clone()
    if weights.ndim != 1 or len(weights) == 0 or not (weights.isfinite() & (weights > 0)).all():
        raise ValueError(
            f"expected class_weights to be finite numbers > 0, one for each class, got {class_weights}"
        )
    return weights
