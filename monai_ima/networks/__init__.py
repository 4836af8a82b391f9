"""Networks of the paper, which take inputs in [0, 1] so that eps is in their units; any from files."""

from monai_ima.networks.load import load_classifier, weights_fingerprint
from monai_ima.networks.normalized import Normalized
from monai_ima.networks.resnet import resnet18_in
from monai_ima.networks.small_cnn import small_cnn

__all__ = [
    "Normalized",
    "load_classifier",
    "resnet18_in",
    "small_cnn",
    "weights_fingerprint",
]
