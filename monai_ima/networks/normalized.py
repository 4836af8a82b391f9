"""Normalisation inside the network."""

from __future__ import annotations

from torch import Tensor, nn


class Normalized(nn.Module):
    """A network that shifts and scales its own inputs.

    A radius of attack is then in units of the data, [0, 1] pixels say, and not of whatever a
    transform made of them.

    Args:
        network: takes the normalised inputs.
        mean: what is subtracted.
        std: what is divided by.

    Raises:
        ValueError: if ``std`` is not positive.
    """

    def __init__(self, network: nn.Module, mean: float = 0.5, std: float = 0.5) -> None:
        super().__init__()
        if not std > 0:
            raise ValueError(f"expected std to be positive, got {std}")
        self.network = network
        self.mean = mean
        self.std = std

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.network((inputs - self.mean) / self.std)
        return logits
