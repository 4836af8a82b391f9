"""Models whose answers are random or depend on the batch are told from honest ones."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from linear import linear_model
from monai.networks.nets import DenseNet121, ViT
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from monai_ima.attacks.base import attacking
from monai_ima.attacks.bpgd_attack import bisect
from monai_ima.networks import ECGNet, resnet18_in, small_cnn
from monai_ima.robustness import (
    CountingModel,
    MinimumNorm,
    Screen,
    check_answers,
    check_errors,
    closest_errors,
)

RANDOM = "the same logits each time, got logits that differ"
BATCH = "not to depend on the rest of the batch, got logits that differ"
IMAGE, SIGNAL = (1, 32, 32), (1, 187)


class First(nn.Module):
    """The first of what a network returns."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        return self.network(inputs)[0]


def vit():
    pytest.importorskip("einops")  # which MONAI's transformers need
    return First(
        ViT(
            1, IMAGE[1:], (8, 8), hidden_size=48, mlp_dim=96, num_layers=3, num_heads=4,
            classification=True, num_classes=4, spatial_dims=2,
        )
    )  # fmt: skip


NETWORKS = {
    "densenet": (lambda: DenseNet121(2, 1, 4), IMAGE),
    "vit": (vit, IMAGE),
    "ecg": (ECGNet, SIGNAL),
    "resnet18_in": (lambda: resnet18_in(num_classes=3), (1, 40, 40)),
    "small_cnn": (small_cnn, IMAGE),
}


def head(network):
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]


@pytest.fixture(scope="module")
def known():
    """Each network once, with logits that differ between samples by about their size."""
    made = {}

    def get(name, dtype=torch.float32):
        if name not in made:
            torch.manual_seed(0)
            network, shape = NETWORKS[name][0]().eval(), NETWORKS[name][1]
            inputs, outputs = torch.rand(9, *shape), []
            head(network).register_forward_hook(lambda *three: outputs.append(three[2]))
            with torch.no_grad():
                network(inputs)
                head(network).bias -= outputs[0].mean(dim=0)
            made[name] = network, inputs
        network, inputs = made[name]
        return copy.deepcopy(network).to(dtype), inputs.to(dtype)

    return get


precisions = pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16], ids=["f32", "f64", "bf16"]
)


@precisions
@pytest.mark.parametrize("name", NETWORKS)
def test_honest_networks_are_never_refused(name, dtype, known):
    network, inputs = known(name, dtype)
    for batch_size in (256, 4):
        check_answers(network, inputs, batch_size=batch_size)


class Before(nn.Module):
    """Something is done to the inputs first."""

    def __init__(self, change, network):
        super().__init__()
        self.change = change
        self.network = network

    def forward(self, inputs):
        return self.network(self.change(inputs))


def dropout(p):
    return lambda values: F.dropout(values, p, training=True)


def noise(values):
    return values + 0.02 * torch.randn_like(values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["f32", "bf16"])
@pytest.mark.parametrize("kind", ["features", "inputs", "noise"])
@pytest.mark.parametrize("name", NETWORKS)
def test_random_networks_are_refused(name, kind, dtype, known):
    network, inputs = known(name, dtype)
    if kind == "features":
        head(network).register_forward_pre_hook(lambda _, given: dropout(0.01)(*given))
    else:
        network = Before(dropout(0.02) if kind == "inputs" else noise, network)
    with pytest.raises(ValueError, match=RANDOM):
        check_answers(network, inputs)


def without_statistics(network):
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
    return network


class KeptInTrainMode(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        for module in self.network.modules():
            if isinstance(module, _BatchNorm):
                module.train()
        return self.network(inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["f32", "bf16"])
@pytest.mark.parametrize("change", [without_statistics, KeptInTrainMode])
def test_batch_norm_over_the_batch_is_refused(change, dtype, known):
    network, inputs = known("densenet", dtype)
    with pytest.raises(ValueError, match=rf"{BATCH}.* between a batch of 2 samples"):
        check_answers(change(network), inputs, batch_size=2)


@pytest.mark.parametrize("first", [nn.BatchNorm1d(1), nn.BatchNorm1d(1, track_running_stats=False)])
def test_one_batch_norm_of_a_linear_model(first):
    """Whose logits depend on the batch through one mean and one variance."""
    model = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, -1)), first, linear_model((1, 9), 3))
    check_answers(model, torch.rand(12, 1, 9), batch_size=1)
    if first.track_running_stats:
        check_answers(model, torch.rand(12, 1, 9))
    else:
        with pytest.raises(ValueError, match=rf"{BATCH}.*track_running_stats=False"):
            check_answers(model, torch.rand(12, 1, 9))


def traced(network, inputs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and sees that this is random
        return torch.jit.trace(network, inputs)


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        (nn.Dropout(0.01), RANDOM),
        (nn.BatchNorm1d(40), BATCH),
        (nn.Sequential(nn.BatchNorm1d(40), nn.Dropout(0.01)), RANDOM),
    ],
)
def test_a_trace_made_in_train_mode_is_refused(middle, message):
    inputs = torch.rand(16, 1, 20)
    network = nn.Sequential(nn.Flatten(), nn.Linear(20, 40), middle, nn.ReLU(), nn.Linear(40, 3))
    for mode in (False, True):
        model = traced(network.train(mode), inputs).eval()
        if mode:
            with pytest.raises(ValueError, match=rf"{message}.* after model.eval\(\)"):
                check_answers(model, inputs)
        else:
            check_answers(model, inputs)


def test_softmax_over_the_samples_is_refused():
    model = nn.Sequential(linear_model((1, 5), 3), nn.LogSoftmax(dim=0))
    with pytest.raises(ValueError, match=BATCH):
        check_answers(model, torch.rand(10, 1, 5))


def test_noise_that_is_the_same_in_each_batch_is_refused():
    """What a sample gets depends on its place."""

    def seeded_noise(inputs):
        generator = torch.Generator().manual_seed(0)
        return inputs + 0.02 * torch.randn(inputs.shape, generator=generator)

    with pytest.raises(ValueError, match=BATCH):
        check_answers(Before(seeded_noise, linear_model((1, 5), 3)), torch.rand(10, 1, 5))


def test_answers_in_memory_that_is_written_again_are_compared_all_the_same():
    """As compiled models give them: the next answer takes the place of the last."""
    model, memory = linear_model((1, 5), 3), torch.zeros(16, 3)

    def over_the_batch(inputs):
        logits = model(inputs)
        return memory[: len(inputs)].copy_(logits - logits.mean(dim=0))

    with pytest.raises(ValueError, match=BATCH):
        check_answers(over_the_batch, torch.rand(10, 1, 5))


def test_a_class_that_is_masked_hides_no_noise():
    def masked(inputs):
        logits = noise(inputs.flatten(1))
        return torch.cat([logits, torch.full_like(logits[:, :1], -1e9)], dim=1)

    with pytest.raises(ValueError, match=RANDOM):
        check_answers(masked, torch.rand(10, 1, 3))


def test_noise_in_training_alone_is_no_matter():
    model = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.BatchNorm1d(5), linear_model((5,), 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check_answers(model.train(), torch.rand(10, 1, 5))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_samples(n):
    check_answers(linear_model((1, 5), 3), torch.rand(n, 1, 5))
    for batch_size in (1, 2) if n else ():
        with pytest.raises(ValueError, match=RANDOM):
            check_answers(
                Before(noise, linear_model((1, 5), 3)), torch.rand(n, 1, 5), batch_size=batch_size
            )


@pytest.mark.parametrize(
    ("batch_size", "passed"), [(1, 3 * 64 + 2), (3, 3 * 63 + 4 * 3), (100, 3 * 64 + 4 * 8)]
)
def test_few_passes_of_few_samples(batch_size, passed):
    sizes = []

    def model(inputs):
        sizes.append(len(inputs))
        return inputs.flatten(1)

    check_answers(model, torch.rand(300, 1, 3), batch_size=batch_size)
    assert max(sizes) <= batch_size
    assert sum(sizes) == passed


def test_logits_that_are_no_numbers_are_said_to_be():
    with pytest.raises(ValueError, match="finite logits, got NaN"):
        check_answers(lambda inputs: inputs.flatten(1) * torch.nan, torch.rand(4, 1, 3))


@pytest.mark.parametrize(
    ("change", "message"), [(noise, RANDOM), (lambda x: x - x.mean(dim=0), BATCH)]
)
def test_closest_errors_refuses_before_it_attacks(change, message):
    model = linear_model((1, 5), 3)
    inputs = torch.rand(10, 1, 5)
    labels = model(inputs).argmax(dim=1)
    counting = CountingModel(Before(change, model))
    with pytest.raises(ValueError, match=message):
        closest_errors(counting, inputs, labels, eps=[0.1], norm="linf", protocol=Screen(5))
    assert counting.gradients == 0
    assert counting.forwards == 10  # what is looked at here is no cost of the attack


# Errors are asked about again


@precisions
@pytest.mark.parametrize("name", NETWORKS)
def test_errors_on_the_boundary_of_honest_networks_are_errors(name, dtype, known):
    """As near to it as halving leads, and asked about in batches of other sizes."""
    network, inputs = known(name, dtype)
    with attacking(network, inputs) as classify, torch.no_grad():
        labels = classify(inputs).argmax(dim=1)
        others = torch.stack([inputs[labels != own][0] for own in labels])
        errors = bisect(classify, inputs, others, labels, bisections=12, side="outside")
    for batch_size in (256, 4, 1):
        check_errors(network, errors, labels, batch_size=batch_size)


class Counting(nn.Module):
    """A linear model that gets another shift in some of its calls."""

    def __init__(self, is_shifted):
        super().__init__()
        self.linear, self.calls, self.is_shifted = linear_model((1, 5), 3), 0, is_shifted

    def forward(self, inputs):
        self.calls += 1
        return self.linear(inputs + 0.3 * self.is_shifted(self.calls))


def rare(values):
    return values + 3 * (torch.rand(len(values), 1, 1) < 0.002)


RARE = {
    "dropout": lambda: Before(rare, linear_model((1, 5), 3)),
    "calls": lambda: Counting(lambda calls: 40 < calls < 60),
    "place": lambda: Before(
        lambda values: values + 0.3 * (torch.arange(len(values)) >= 8).reshape(-1, 1, 1),
        linear_model((1, 5), 3),
    ),
}


@pytest.mark.parametrize("case", RARE)
def test_what_few_samples_do_not_show_is_found_in_the_errors(case):
    torch.manual_seed(0)
    inputs = torch.rand(40, 1, 5)
    labels = linear_model((1, 5), 3)(inputs).argmax(dim=1)
    check_answers(RARE[case](), inputs, batch_size=20)
    with pytest.raises(
        ValueError, match=r"again the \d+ points .* got \d+ that it gives .* random"
    ):
        closest_errors(
            RARE[case](), inputs, labels, eps=[0.05, 0.1], norm="linf",
            protocol=MinimumNorm(50), batch_size=20,
        )  # fmt: skip


def test_errors_are_counted_and_measured():
    """One is ahead by 0.5, where logits are of size 0.8; a tie is none."""
    logits = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [1.25, 0.75]])
    labels = torch.tensor([0, 1, 1, 0])
    message = r"the 4 points .* got 1 that .* ahead by up to 0.62 times"
    with pytest.raises(ValueError, match=message):
        check_errors(lambda inputs: inputs, logits, labels)
    check_errors(lambda inputs: inputs, logits[:3], labels[:3])
    check_errors(lambda inputs: inputs, logits[:0], labels[:0])
