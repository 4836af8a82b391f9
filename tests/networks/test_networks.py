from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks.utils import convert_to_torchscript
from torch import nn

from monai_ima.networks import ECGNet, FashionMNISTNet, Normalized, SVHNNet, resnet18_in, small_cnn

TRAIN_JSON = Path(__file__).parents[2] / "bundles" / "oct_ima" / "train.json"


def bundle_network():
    return ConfigParser(ConfigParser.load_config_file(TRAIN_JSON)).get_parsed_content("network_def")


NETWORKS = {
    "resnet18_in 1-D": (lambda: resnet18_in(2, 3, spatial_dims=1), (2, 187)),
    "resnet18_in 2-D": (lambda: resnet18_in(3, 5), (3, 33, 40)),
    "resnet18_in 3-D": (lambda: resnet18_in(1, 4, spatial_dims=3), (1, 33, 33, 33)),
    "small_cnn 1-D": (lambda: small_cnn(2, 3, spatial_dims=1), (2, 187)),
    "small_cnn 2-D": (lambda: small_cnn(3, 5), (3, 33, 40)),
    "small_cnn 3-D": (lambda: small_cnn(1, 4, spatial_dims=3), (1, 33, 36, 40)),
    "FashionMNISTNet": (FashionMNISTNet, (1, 28, 28)),
    "SVHNNet": (SVHNNet, (3, 32, 32)),
    "bundle": (bundle_network, (1, 64, 64)),
}


@pytest.fixture(params=NETWORKS)
def network_and_shape(request):
    make, shape = NETWORKS[request.param]
    return make().double(), shape


def test_input_gradient_agrees_with_central_differences(network_and_shape):
    network, shape = network_and_shape
    inputs = torch.rand(1, *shape, dtype=torch.float64, requires_grad=True)
    directions = torch.randn(2, *shape, dtype=torch.float64)
    step = 1e-7  # larger ones step over the kinks of ReLU and max pooling
    for mode in (True, False):
        network.train(mode)
        logits = network(inputs)
        weights = torch.randn_like(logits)
        (gradient,) = torch.autograd.grad((logits * weights).sum(), inputs)
        with torch.no_grad():
            ahead, behind = (
                # one at a time, since in train mode a batch norm mixes them
                torch.cat([network(inputs + side * step * one) for one in directions]) @ weights[0]
                for side in (1, -1)
            )
        slopes = (directions * gradient).flatten(1).sum(dim=1)

        torch.testing.assert_close(slopes, (ahead - behind) / (2 * step), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "network_and_shape", sorted(NETWORKS.keys() - {"SVHNNet"}), indirect=True
)  # its batch norm is the paper's
def test_samples_do_not_depend_on_one_another_in_train_mode(network_and_shape):
    network, shape = network_and_shape
    inputs = torch.rand(2, *shape, dtype=torch.float64)
    inputs[1] *= 0.1

    with torch.no_grad():
        together = network.train()(inputs)
        alone = torch.cat([network(sample[None]) for sample in inputs])

    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("spatial_dims", [1, 2, 3])
def test_resnet18_in_has_twenty_affine_instance_norms_and_no_batch_norm(spatial_dims):
    kinds = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
    with torch.device("meta"):  # nothing is computed
        layers = list(resnet18_in(spatial_dims=spatial_dims).modules())

    norms = [layer for layer in layers if type(layer) is kinds[spatial_dims]]
    assert len(norms) == 20
    assert all(norm.affine and not norm.track_running_stats for norm in norms)
    assert not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in layers)


def test_resnet18_in_has_the_parameters_and_the_stem_of_torchvision_s_resnet18():
    with torch.device("meta"):
        network = resnet18_in(in_channels=3, num_classes=1000)

    assert sum(parameter.numel() for parameter in network.parameters()) == 11_689_512
    assert network.network.conv1.stride == (2, 2)


def test_small_cnn_is_small():
    assert sum(parameter.numel() for parameter in small_cnn().parameters()) == 25_140


def test_normalized_shifts_and_scales_before_the_network():
    inputs = torch.rand(2, 3)

    assert torch.equal(Normalized(nn.Identity(), mean=0.2, std=4)(inputs), (inputs - 0.2) / 4)
    assert torch.equal(Normalized(nn.Identity())(torch.tensor([0.0, 1.0])), torch.tensor([-1.0, 1]))


@pytest.mark.parametrize("std", [0, -0.5, float("nan")])
def test_normalized_refuses_a_std_that_is_not_positive(std):
    with pytest.raises(ValueError, match=f"std to be positive, got {std}"):
        Normalized(nn.Identity(), std=std)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of all of torch.jit
@pytest.mark.parametrize("name", [*NETWORKS, "ECGNet"])
def test_torchscript_gives_the_same_logits(name):
    make, shape = NETWORKS.get(name, (ECGNet, (1, 187)))
    network = make().eval()
    inputs = torch.rand(2, *shape)
    scripted = convert_to_torchscript(network)
    torch.testing.assert_close(scripted(inputs), network(inputs), rtol=0, atol=1e-5)
