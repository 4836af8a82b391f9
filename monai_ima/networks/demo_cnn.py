"""A small network for quick runs on small images."""

from __future__ import annotations

from itertools import pairwise

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Pool
from torch import Tensor, nn

from monai_ima.networks.normalized import Normalized


class _GlobalMeanAndMax(nn.Module):
    """``(N, C, *)`` to ``(N, 2 C)``: how much there is of a feature, and whether it is there at all."""

    def forward(self, features: Tensor) -> Tensor:
        flat = features.flatten(2)
        return torch.cat([flat.mean(dim=2), flat.amax(dim=2)], dim=1)


def small_cnn(in_channels: int = 1, num_classes: int = 4, spatial_dims: int = 2) -> Normalized:
    """Four convolutions with instance norm, 25,000 parameters in 2-D.

    Args:
        in_channels: number of input channels.
        num_classes: number of logits.
        spatial_dims: 1, 2 or 3.

    Shape:
        inputs ``(N, in_channels, *)`` in [0, 1] with spatial sizes of 32 and more, logits
        ``(N, num_classes)``.
    """
    channels = (8, 16, 32, 64)

    def convolution(inputs: int, outputs: int, strides: int) -> Convolution:
        return Convolution(
            spatial_dims, inputs, outputs, strides, act="relu", norm=("instance", {"affine": True})
        )

    layers: list[nn.Module] = [convolution(in_channels, channels[0], 2)]
    for inputs, outputs in pairwise(channels):
        layers += [convolution(inputs, outputs, 1), Pool[Pool.MAX, spatial_dims](2)]
    head = nn.Linear(2 * channels[-1], num_classes)
    return Normalized(nn.Sequential(*layers, _GlobalMeanAndMax(), head))
