"""Normalisation inside the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalized(nn.Module):
    """A network that shifts and scales its own inputs.

    A radius of attack is then in units of the data, [0, 1] pixels say, and not of whatever a
    transform made of them.

    Args:
        network: takes the normalised inputs.
        mean: what is subtracted, of all channels or of each.
        std: what is divided by, of all channels or of each.

    Raises:
        ValueError: if a ``std`` is not positive, or there are other numbers of means and of stds.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.5,
    ) -> None:
        super().__init__()
        means, stds = (
            [float(value)] if isinstance(value, int | float) else [float(each) for each in value]
            for value in (mean, std)
        )
        if not min(stds) > 0:
            raise ValueError(f"expected std to be positive, got {std}")
        if len(means) != len(stds) and 1 not in (len(means), len(stds)):
            raise ValueError(f"expected a mean and a std of each channel, got {mean} and {std}")
        self.network = network
        self.mean: Tensor
        self.std: Tensor
        # not in the weights' file, whose names stay those of the network
        self.register_buffer("mean", torch.tensor(means), persistent=False)
        self.register_buffer("std", torch.tensor(stds), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        by_channel = [-1] + [1] * (inputs.ndim - 2)  # as TorchScript takes it
        mean, std = self.mean.view(by_channel), self.std.view(by_channel)
        logits: Tensor = self.network((inputs - mean) / std)
        return logits
