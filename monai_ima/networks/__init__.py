"""Networks of the paper; each takes inputs in [0, 1], so that eps is in units of the inputs."""

from monai_ima.networks.normalized import Normalized
from monai_ima.networks.resnet import resnet18_in
from monai_ima.networks.small_cnn import small_cnn

__all__ = ["Normalized", "resnet18_in", "small_cnn"]
