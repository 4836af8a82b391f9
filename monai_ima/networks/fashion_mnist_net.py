"""The paper's network for Fashion-MNIST."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_ima.networks.channels_last import channels_last


class FashionMNISTNet(nn.Module):
    """Two convolutions with max pooling and two linear layers; 3.2 million parameters.

    The channels come last in memory, with which an input gradient at batch 128 takes two thirds of
    the time on a CPU.

    Args:
        in_channels: number of input channels.
        num_classes: number of logits.

    Shape:
        inputs ``(N, in_channels, 28, 28)`` in [0, 1], logits ``(N, num_classes)``.

    Source:
        Ma and Liang, Increasing-Margin Adversarial (IMA) Training, 2020, section 3.2. The slope of
        LeakyReLU is not given there; torch's default is taken.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.input_shape = (in_channels, 28, 28)
        # pooling commutes with LeakyReLU; pooled first, a quarter of the values goes through it
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 32, 3, padding=1),
            nn.MaxPool2d(2),
            nn.LeakyReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.MaxPool2d(2),
            nn.LeakyReLU(),
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = nn.Sequential(
            nn.Linear(7 * 7 * 64, 1024),
            nn.LeakyReLU(),
            nn.Linear(1024, num_classes),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        image = channels_last(inputs, self.input_shape)
        logits: Tensor = self.head(self.features(image).flatten(1))
        return logits
