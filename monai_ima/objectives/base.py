"""What a trainer asks of a training method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

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

    Attributes:
        terms: names of the scalars that are logged beside the loss.
        capturable: whether each step is the same operations on tensors, but for ``settings``, whatever
            the samples and the steps before: then a step can be replayed as a CUDA graph. What an
            objective counts in Python, or asks of the device, is no part of a graph.
    """

    terms: tuple[str, ...]
    capturable: ClassVar[bool] = False

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
