"""The paper's network for heartbeats."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LENGTH = 187


class ECGNet(nn.Module):
    """Four convolutions of stride 2, then four linear layers; 100,000 parameters.

    The convolutions along time are those of a 2-D image of height 1 with the channels last: the
    same numbers to rounding, and on a CPU two thirds of the time.

    Args:
        in_channels: leads.
        num_classes: number of logits.

    Shape:
        inputs ``(N, in_channels, 187)``, logits ``(N, num_classes)``.

    Source:
        Ma and Liang, Increasing-Margin Adversarial (IMA) Training, 2020, section 3.1.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 5) -> None:
        super().__init__()
        self.length = _LENGTH
        layers: list[nn.Module] = []
        for channels in (in_channels, 32, 32, 32):
            convolution = nn.Conv2d(channels, 32, (1, 5), stride=(1, 2), padding=(0, 2))
            layers += [convolution, nn.LeakyReLU()]
        self.features = nn.Sequential(*layers)
        self.features.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = nn.Sequential(
            nn.Linear(384, 128),
            nn.LeakyReLU(),
            nn.Linear(128, 128),
            nn.LeakyReLU(),
            nn.Linear(128, 128),
            nn.LeakyReLU(),
            nn.Linear(128, num_classes),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        if list(inputs.shape[2:]) != [self.length]:  # in words that TorchScript knows
            raise ValueError(
                f"expected inputs (N, leads, {self.length}), {self.length} samples at 125 Hz, got "
                f"{list(inputs.shape)}; cut beats with monai-ima prepare-ecg"
            )
        image = inputs[:, :, None].to(memory_format=torch.channels_last)
        logits: Tensor = self.head(self.features(image).flatten(1))
        return logits
