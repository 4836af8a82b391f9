"""ResNet-18 with instance norm."""

from __future__ import annotations

from typing import Any

from monai.networks.nets import ResNet
from torch import nn

from monai_ima.networks.normalized import Normalized

_INSTANCE_NORM = ("instance", {"affine": True})


class _InstanceNormResNet(ResNet):
    """MONAI's ResNet, whose ``norm`` reaches the stem only: hand it on to the other layers."""

    def _make_layer(self, *args: Any, **kwargs: Any) -> nn.Sequential:
        return super()._make_layer(*args, **{"norm": _INSTANCE_NORM, **kwargs})


def resnet18_in(in_channels: int = 1, num_classes: int = 4, spatial_dims: int = 2) -> Normalized:
    """ResNet-18 with an affine instance norm in place of each of its twenty batch norms.

    The paper's network for OCT. Samples do not depend on one another in any mode, so an attack in
    eval mode sees the network that is trained.

    Args:
        in_channels: number of input channels.
        num_classes: number of logits.
        spatial_dims: 1, 2 or 3.

    Shape:
        inputs ``(N, in_channels, *)`` in [0, 1] with spatial sizes of 64 and more (in 1-D, 128), logits
        ``(N, num_classes)``: the last instance norm needs several values to normalise over.

    Source:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016, with the stem of stride 2
        and the shortcuts without bias as published, which are not MONAI's defaults.
    """
    return Normalized(
        _InstanceNormResNet(
            block="basic",
            layers=[2, 2, 2, 2],
            block_inplanes=[64, 128, 256, 512],
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_size=7,
            conv1_t_stride=2,
            bias_downsample=False,
            num_classes=num_classes,
            norm=_INSTANCE_NORM,
        )
    )
