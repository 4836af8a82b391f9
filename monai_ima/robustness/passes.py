"""What an evaluation costs: passes through the network, counted a sample at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_ima.attacks.base import Model
from monai_ima.logits import logits_of


class CountingModel(nn.Module):
    """A model that counts the samples it takes forward, and those a gradient comes back for.

    Counted where the samples are, so that a captured graph counts as well. In a batch that keeps its
    shape, rows that are passed over count: they are passed through the model.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``.
    """

    _counts: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("_counts", torch.zeros(2, dtype=torch.long), persistent=False)

    @property
    def forwards(self) -> int:
        """Samples taken forward."""
        return int(self._counts[0])

    @property
    def gradients(self) -> int:
        """Samples that a gradient came back for."""
        return int(self._counts[1])

    def reset(self) -> None:
        """Count from nothing."""
        self._counts.zero_()

    def forward(self, inputs: Tensor) -> Tensor:
        self._counts = self._counts.to(inputs.device)
        self._counts[0] += len(inputs)
        logits = logits_of(self.model(inputs), len(inputs))
        if logits.requires_grad:
            logits.register_hook(self._count_gradients)
        return logits

    def _count_gradients(self, gradient: Tensor) -> None:
        self._counts[1] += len(gradient)
