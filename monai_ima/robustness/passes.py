"""What an evaluation costs: passes through the network, counted a sample at a time."""

from __future__ import annotations

from torch import Tensor, nn

from monai_ima.attacks.base import Model
from monai_ima.logits import logits_of


class CountingModel(nn.Module):
    """A model that counts the samples it takes forward, and those a gradient comes back for.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.forwards = 0
        self.gradients = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.forwards += len(inputs)
        logits = logits_of(self.model(inputs), len(inputs))
        if logits.requires_grad:
            logits.register_hook(self._count_gradients)
        return logits

    def _count_gradients(self, gradient: Tensor) -> None:
        self.gradients += len(gradient)
