"""The networks of the paper for Fashion-MNIST and SVHN: its layers, fast and undisturbed."""

import copy

import pytest
import torch
from torch import nn

from monai_ima.attacks import Linf, pgd
from monai_ima.networks import FashionMNISTNet, SVHNNet

NETWORKS = {"fashion_mnist": (FashionMNISTNet, (1, 28, 28)), "svhn": (SVHNNet, (3, 32, 32))}


@pytest.fixture(params=NETWORKS)
def network_and_inputs(request):
    make, shape = NETWORKS[request.param]
    network = make()
    for module in network.modules():  # as if trained: no statistic is what it began as
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network, torch.rand(5, *shape)


def as_published(network):
    """The layers in the order of the paper and torch's own memory format, with the same weights."""
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    linears = [m for m in network.modules() if isinstance(m, nn.Linear)]
    if isinstance(network, FashionMNISTNet):
        first, second = convolutions
        features = [
            *(first, nn.LeakyReLU(), nn.MaxPool2d(2)),
            *(second, nn.LeakyReLU(), nn.MaxPool2d(2)),
        ]
        head = [nn.Flatten(), linears[0], nn.LeakyReLU(), linears[1]]
    else:
        features = []
        for place, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
            pool = [nn.MaxPool2d(2)] if place in (1, 3, 5, 6) else []
            features += [convolution, norm, nn.ReLU(), *pool]
        head = [nn.Flatten(), *linears]
    published = copy.deepcopy(nn.Sequential(*features, *head))
    return published.to(memory_format=torch.contiguous_format)


def logits_and_input_gradient(network, inputs):
    inputs = inputs.clone().requires_grad_()
    logits = network(inputs)
    weights = torch.linspace(-1, 1, logits.numel(), dtype=inputs.dtype).view_as(logits)
    (gradient,) = torch.autograd.grad((logits * weights).sum(), inputs)
    return logits, gradient


@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_gradients_are_those_of_the_published_layers(network_and_inputs, training):
    network, inputs = network_and_inputs
    network.double().train(training)
    published = as_published(network).train(training)

    ours = logits_and_input_gradient(network, inputs.double())
    theirs = logits_and_input_gradient(published, inputs.double())

    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-13)
    assert all(parameter.is_contiguous() for parameter in published.parameters())
    assert theirs[1].abs().max() > 1e-6


@pytest.mark.parametrize(
    ("network", "convolutions", "linears"),
    [
        (FashionMNISTNet(), [(1, 32), (32, 64)], [(3136, 1024), (1024, 10)]),
        (
            SVHNNet(),
            [(3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256)],
            [(256, 10)],
        ),
    ],
    ids=NETWORKS,
)
def test_layers_have_the_sizes_of_the_paper(network, convolutions, linears):
    layers = list(network.modules())
    found = [m for m in layers if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in found] == convolutions
    assert {(m.kernel_size, m.stride) for m in found} == {((3, 3), (1, 1))}
    paddings = [m.padding for m in found]
    assert paddings == [(1, 1)] * 6 + [(0, 0)] if len(found) == 7 else [(1, 1)] * 2
    assert [(m.in_features, m.out_features) for m in layers if isinstance(m, nn.Linear)] == linears


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (FashionMNISTNet(), 320 + 18_496 + 3_212_288 + 10_250),
        (
            SVHNNet(),
            896 + 9_248 + 18_496 + 36_928 + 73_856 + 147_584 + 295_168  # convolutions
            + 2 * (32 + 32 + 64 + 64 + 128 + 128 + 256)  # batch norms
            + 2_570,
        ),
        (FashionMNISTNet(in_channels=2, num_classes=3), 608 + 18_496 + 3_212_288 + 3_075),
    ],
)  # fmt: skip
def test_number_of_parameters(network, count):
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_weights_lie_channels_last_after_loading_too(network_and_inputs):
    network, _ = network_and_inputs
    saved = {name: value.contiguous() for name, value in network.state_dict().items()}
    network.load_state_dict(saved)
    last = [m for m in network.modules() if isinstance(m, nn.Conv2d)][-1]
    assert last.weight.is_contiguous(memory_format=torch.channels_last)


def test_an_attack_on_a_network_in_train_mode_moves_no_statistic(network_and_inputs):
    network, inputs = network_and_inputs
    before = copy.deepcopy(network.train().state_dict())

    result = pgd(network, inputs, torch.arange(5), eps=0.1, norm=Linf(), steps=3)

    assert not torch.equal(result.inputs, inputs)
    assert network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("shape", [(5, 1, 28, 27), (5, 2, 28, 28), (1, 28, 28), (5, 3, 32, 32)])
def test_wrong_shapes_are_refused_in_words_fashion_mnist(shape):
    with pytest.raises(ValueError, match=r"\(N, 1, 28, 28\), got .*; resize the images"):
        FashionMNISTNet()(torch.rand(shape))


@pytest.mark.parametrize("shape", [(5, 3, 32, 33), (5, 1, 32, 32), (3, 32, 32), (5, 1, 28, 28)])
def test_wrong_shapes_are_refused_in_words_svhn(shape):
    with pytest.raises(ValueError, match=r"\(N, 3, 32, 32\), got .*; resize the images"):
        SVHNNet()(torch.rand(shape))
