"""What is captured and replayed, on a CPU that stands in for the device."""

import gc
import warnings
import weakref

import pytest
import torch
from test_contract import cases, run
from test_forms import batch, network
from torch import nn

from monai_ima.attacks import capture, forms, loop_form, pgd
from monai_ima.robustness import CountingModel

made = []


class Recorded:
    """As a graph: reads and writes the tensors that it was made with, and asks no Python of the network."""

    def __init__(self, function, tensors):
        self.inputs = [tensor.clone() for tensor in tensors]
        self.function, self.calls = function, 0
        made.append(self)

    def __call__(self, *tensors):
        self.calls += 1
        for own, given in zip(self.inputs, tensors, strict=True):
            own.copy_(given)
        return tuple(output.clone() for output in self.function(*self.inputs))


@pytest.fixture(autouse=True)
def device(monkeypatch):
    made.clear()
    monkeypatch.setattr(capture, "Capture", Recorded)
    monkeypatch.setattr(forms, "can_be_captured", lambda inputs: True)
    with loop_form("fixed"):
        yield


def attacked(model, inputs, labels, **options):
    generator = torch.Generator().manual_seed(0)
    options = {"eps": 0.3, "norm": "linf", "generator": generator} | options
    return run(options.pop("attack", pgd), model, inputs, labels, **options)


def assert_same(found, expected):
    for part, other in zip(found, expected, strict=True):
        torch.testing.assert_close(part, other, rtol=0, atol=1e-8)


@cases()
def test_a_replay_finds_what_the_attack_finds(attack, norm):
    model = network(2)
    for count in (21, 17, 30, 25):  # all in 32 rows
        inputs, labels = batch(2, count)
        with loop_form("shrinking"):
            expected = attacked(model, inputs, labels, attack=attack, norm=norm)
        assert_same(attacked(model, inputs, labels, attack=attack, norm=norm), expected)
    assert [each.calls for each in made] == [3]


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 7},
        {"norm": "l2"},
        {"until": "end"},
        {"bounds": (-1.0, 1.0)},
        {"bounds": [-1, 2]},
        {"loss": lambda logits, labels: -logits.gather(1, labels[:, None])[:, 0]},
        {"random_start": False},
    ],
)
def test_other_settings_are_another_capture(change):
    model, (inputs, labels) = network(2), batch(2, 21)
    for options in ({}, change, {}, change, {}, change):
        with loop_form("shrinking"):
            expected = attacked(model, inputs, labels, **options)
        assert_same(attacked(model, inputs, labels, **options), expected)
    assert len(made) == 2


def test_radii_seeds_and_samples_are_none():
    model, (inputs, labels) = network(2), batch(2, 21)
    for seed, eps in enumerate((0.1, 0.2, 0.3)):
        generator = [torch.Generator().manual_seed(seed) for _ in range(2)]
        where = torch.arange(21) % (seed + 1) == 0
        options = {"eps": eps, "where": where, "index": torch.arange(21) + seed}
        with loop_form("shrinking"):
            expected = attacked(model, inputs, labels, generator=generator[0], **options)
        assert_same(attacked(model, inputs, labels, generator=generator[1], **options), expected)
    assert len(made) == 1


def test_a_training_changes_the_weights_where_they_lie():
    model, (inputs, labels) = network(2), batch(2, 21)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    for _ in range(4):
        assert_same(attacked(model, inputs, labels), attacked(model.forward, inputs, labels))
        model(inputs).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert len(made) == 1
    model.load_state_dict(network(2).state_dict())
    attacked(model, inputs, labels)
    assert len(made) == 1
    model[0].weight = nn.Parameter(torch.rand_like(model[0].weight))  # elsewhere
    for _ in range(2):
        assert_same(attacked(model, inputs, labels), attacked(model.forward, inputs, labels))
    assert len(made) == 2


def test_what_cannot_be_captured_is_attacked_all_the_same_and_said_once(monkeypatch):
    def refused(function, tensors):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(capture, "Capture", refused)
    model, (inputs, labels) = network(2), batch(2, 21)
    first = attacked(model, inputs, labels)
    with pytest.warns(UserWarning, match=r"cannot be captured as a CUDA graph.*not permitted"):
        assert_same(attacked(model, inputs, labels), first)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(attacked(model, inputs, labels), first)


def test_a_replay_is_counted():
    model, (inputs, labels) = CountingModel(network(2)), batch(2, 21)
    counts = []
    for _ in range(4):
        attacked(model, inputs, labels, steps=5)
        counts.append((model.forwards, model.gradients))
    assert counts == [(32 * 6 * n, 32 * 5 * n) for n in (1, 2, 3, 4)]


def test_a_network_does_not_live_as_long_as_its_captures(monkeypatch):
    class Forgetful(Recorded):
        def __init__(self, function, tensors):
            super().__init__(function, tensors)
            self.outputs = function(*self.inputs)
            self.function = None
            made.clear()

        def __call__(self, *tensors):
            return tuple(output.clone() for output in self.outputs)

    monkeypatch.setattr(capture, "Capture", Forgetful)
    model, (inputs, labels) = network(2), batch(2, 21)
    for _ in range(3):
        attacked(model, inputs, labels)
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


def test_captures_are_kept_in_number(monkeypatch):
    monkeypatch.setattr(capture, "_KEPT", 3)
    model, (inputs, labels) = network(2), batch(2, 21)
    for steps in (1, 2, 3, 4, 1, 2, 3, 4):
        attacked(model, inputs, labels, steps=steps)
    assert len(capture._CAPTURES[model]) == 3


@pytest.mark.parametrize("precision", [False, True])
def test_what_no_tensor_holds_is_another_capture(precision, monkeypatch):
    """A slope that is a module's attribute, or the precision of a product, is laid down in a graph."""
    model, (inputs, labels) = network(2), batch(2, 21)
    model[1] = nn.LeakyReLU(0.1)
    for slope in (0.1, 0.9, 0.1, 0.9, 0.1, 0.9):
        if precision:
            name = "high" if slope == 0.9 else "highest"
            monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda name=name: name)
        else:
            model[1].negative_slope = slope
        with loop_form("shrinking"):
            expected = attacked(model, inputs, labels)
        assert_same(attacked(model, inputs, labels), expected)
    assert len(made) == 2
