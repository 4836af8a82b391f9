"""Networks of the paper, which take inputs in [0, 1] so that eps is in their units; any from files."""

from monai_ima.networks.demo_cnn import small_cnn
from monai_ima.networks.distributed_network import DistributedNetwork
from monai_ima.networks.ecg_net import ECGNet
from monai_ima.networks.fashion_mnist_net import FashionMNISTNet
from monai_ima.networks.global_batch_norm import GlobalBatchNorm
from monai_ima.networks.load import load_classifier, weights_fingerprint
from monai_ima.networks.normalized import Normalized
from monai_ima.networks.resnet import resnet18_in
from monai_ima.networks.svhn_net import SVHNNet

__all__ = [
    "DistributedNetwork",
    "ECGNet",
    "FashionMNISTNet",
    "GlobalBatchNorm",
    "Normalized",
    "SVHNNet",
    "load_classifier",
    "resnet18_in",
    "small_cnn",
    "weights_fingerprint",
]
