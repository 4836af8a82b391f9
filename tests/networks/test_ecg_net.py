import pytest
import torch
from torch import nn

from monai_ima.networks import ECGNet


def reference(network):
    """The paper's layers as they are written there, in one dimension."""
    layers = []
    for image in network.features:
        if isinstance(image, nn.Conv2d):
            layer = nn.Conv1d(image.in_channels, 32, 5, stride=2, padding=2)
            layer.weight.data = image.weight.data[:, :, 0].clone()
            layer.bias.data = image.bias.data.clone()
            layers.append(layer)
        else:
            layers.append(nn.LeakyReLU())
    return nn.Sequential(*layers, nn.Flatten(), network.head)


@pytest.mark.parametrize("leads", [1, 2])
def test_logits_and_gradients_are_those_of_one_dimensional_layers(leads):
    network = ECGNet(in_channels=leads).double()
    inputs = torch.rand(3, leads, 187, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(3, 5, dtype=torch.float64)
    results = []
    for model in (network, reference(network)):
        logits = model(inputs)
        results.append((logits, *torch.autograd.grad((weights * logits).sum(), inputs)))
    for own, expected in zip(*results, strict=True):
        torch.testing.assert_close(own, expected)


def test_layers_are_the_papers():
    network = ECGNet()
    convolutions = 6 * 32 + 3 * (5 * 32 * 32 + 32)
    linear = 385 * 128 + 2 * 129 * 128 + 129 * 5
    assert sum(p.numel() for p in network.parameters()) == convolutions + linear
    assert network.features(torch.rand(2, 1, 1, 187)).flatten(1).shape == (2, 384)
    convolution = network.features[0]
    assert (convolution.kernel_size, convolution.stride, convolution.padding) == (
        (1, 5),
        (1, 2),
        (0, 2),
    )


def test_one_sample_alone_and_among_others():
    network = ECGNet().double()
    inputs = torch.rand(4, 1, 187, dtype=torch.float64)
    alone = torch.cat([network(row[None]) for row in inputs])
    torch.testing.assert_close(network(inputs), alone)


@pytest.mark.parametrize("shape", [(2, 1, 186), (2, 187), (2, 1, 1, 187)])
def test_other_lengths_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(N, leads, 187\)"):
        ECGNet()(torch.rand(shape))
