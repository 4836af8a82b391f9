"""Images as the networks for images of one size take them."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Images ``(N, C, H, W)`` with the channels last in memory.

    Args:
        images: of any memory format.
        shape: ``(C, H, W)`` that they have to have.

    Raises:
        ValueError: if they have another.
    """
    channels, height, width = shape
    if list(images.shape[1:]) != [channels, height, width]:  # in words that TorchScript knows
        raise ValueError(
            f"expected inputs (N, {channels}, {height}, {width}), got {list(images.shape)}; "
            "resize the images, or choose another network"
        )
    return images.to(memory_format=torch.channels_last)
