"""What is captured and replayed, on a CPU that stands in for the device."""

import gc
import random
import warnings
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from test_contract import cases, run
from test_forms import batch, network
from torch import nn

from monai_ima.attacks import capture, forms, loop_form, pgd
from monai_ima.robustness import CountingModel

made = []
RealCapture = capture.Capture


class Recorded:
    """As a graph: reads and writes the tensors that it was made with, and asks no Python of the network."""

    def __init__(self, function, tensors, beside=None):
        self.inputs = [tensor.clone() for tensor in tensors]
        self.beside = beside
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
    def refused(function, tensors, beside):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(capture, "Capture", refused)
    model, (inputs, labels) = network(2), batch(2, 21)
    first = attacked(model, inputs, labels)
    with pytest.warns(UserWarning, match=r"cannot be captured as a CUDA graph.*not permitted"):
        assert_same(attacked(model, inputs, labels), first)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(attacked(model, inputs, labels), first)


@pytest.mark.parametrize(
    ("error", "sizes"),
    [
        (RuntimeError("operation not permitted when stream is capturing"), [32]),
        (torch.OutOfMemoryError("CUDA out of memory"), [32, 16]),  # less may fit
    ],
)
def test_a_capture_that_fails_is_not_tried_again_for_each_shape(error, sizes, monkeypatch):
    """Each failure leaves memory behind that nobody can free."""

    def refused(function, tensors, beside):
        tried.append(len(tensors[1]))
        raise error

    tried, model = [], network(2)
    monkeypatch.setattr(capture, "Capture", refused)
    for count in (21, 21, 21, 9, 9, 9):
        inputs, labels = batch(2, count)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = attacked(model, inputs, labels)
        assert_same(found, attacked(model.forward, inputs, labels))
    assert tried == sizes


def test_a_replay_is_counted():
    model, (inputs, labels) = CountingModel(network(2)), batch(2, 21)
    counts = []
    for _ in range(4):
        attacked(model, inputs, labels, steps=5)
        counts.append((model.forwards, model.gradients))
    assert counts == [(32 * 6 * n, 32 * 5 * n) for n in (1, 2, 3, 4)]


def test_a_network_does_not_live_as_long_as_its_captures(monkeypatch):
    class Forgetful(Recorded):
        def __init__(self, function, tensors, beside=None):
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


@pytest.fixture
def precisions():
    """Those of float32, put back at the end."""
    if not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("torch has one for all, before 2.9")
    parts = torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn
    yield parts
    # torch's own, by its older settings, which else reject every question from now on
    for part in parts:
        part.fp32_precision = "none"
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = False, True


@pytest.mark.parametrize("precision", [False, True])
def test_what_no_tensor_holds_is_another_capture(precision, precisions):
    """A slope that is a module's attribute, or the precision of a product, is laid down in a graph."""
    model, (inputs, labels) = network(2), batch(2, 21)
    model[1] = nn.LeakyReLU(0.1)
    for slope in (0.1, 0.9, 0.1, 0.9, 0.1, 0.9):
        if precision:
            torch.set_float32_matmul_precision("high" if slope == 0.9 else "highest")
        else:
            model[1].negative_slope = slope
        with loop_form("shrinking"):
            expected = attacked(model, inputs, labels)
        assert_same(attacked(model, inputs, labels), expected)
    assert len(made) == 2


def test_convolutions_may_have_another_precision_than_recurrent_layers(precisions):
    """Torch then rejects the question for the precision of both."""
    model, (inputs, labels) = network(2), batch(2, 21)
    _, convolutions, recurrent = precisions
    recurrent.fp32_precision = "tf32"
    for precision in ("ieee", "tf32", "ieee", "tf32", "ieee", "tf32"):
        convolutions.fp32_precision = precision
        assert_same(attacked(model, inputs, labels), attacked(model.forward, inputs, labels))
    assert len(made) == 2


class Scaling(nn.Module):
    """By what stands in an attribute."""

    def __init__(self, scale):
        super().__init__()
        self.network, self.scale, self.kept = network(2), scale, {}

    def forward(self, inputs):
        self.kept["inputs"] = inputs  # another tensor each time
        match self.scale:
            case {"by": (factor,)} | [factor] | float(factor):
                return self.network(inputs * factor)
            case None:
                return self.network(inputs)
        return self.network(self.scale(inputs))


def half(inputs):
    return inputs / 2


@pytest.mark.parametrize(
    "scales",
    [
        (1.0, 0.5),
        ([1.0], [0.5]),
        ((1.0,), (0.5,)),
        ({"by": (1.0,)}, {"by": (0.5,)}),
        (None, 0.5),
        (torch.sqrt, half),
        (partial(torch.mul, other=1.0), partial(torch.mul, other=0.5)),
    ],
)
def test_what_an_attribute_says_is_laid_down(scales):
    (inputs, labels) = batch(2, 21)
    model = Scaling(None)
    for model.scale in 3 * scales:
        assert_same(attacked(model, inputs, labels), attacked(model.forward, inputs, labels))
    assert len(made) == 2


def test_another_function_in_the_same_memory_is_another():
    (inputs, labels) = batch(2, 21)
    model = Scaling(None)
    for factor in (1.0, 0.9, 0.8, 0.7):
        model.scale = None  # the former one is gone
        model.scale = lambda inputs, factor=factor: factor * inputs
        for _ in range(3):
            assert_same(attacked(model, inputs, labels), attacked(model.forward, inputs, labels))
    assert len(made) == 4


def test_weights_that_are_cut_where_they_lie_are_others():
    model, (inputs, labels) = network(2), batch(2, 21)
    labels = labels % 3
    for classes in (5, 3):
        for name in ("weight", "bias"):
            cut = getattr(model[3], name).detach()[:classes]
            setattr(model[3], name, nn.Parameter(cut))
        for _ in range(3):
            assert_same(attacked(model, inputs, labels), attacked(model.forward, inputs, labels))
    assert len(made) == 2


def test_hooks_are_called_though_a_graph_would_not():
    model, (inputs, labels) = network(2), batch(2, 21)
    calls = []

    def turned(module, arguments, outputs):
        calls.append(module)
        return -outputs

    for _ in range(3):
        assert_same(attacked(model, inputs, labels), attacked(model.forward, inputs, labels))
    handle = model[3].register_forward_hook(turned)
    attacked(model, inputs, labels)
    with pytest.warns(UserWarning, match="has hooks, which a graph would not call"):
        attacked(model, inputs, labels)
    calls.clear()
    found = attacked(model, inputs, labels)
    assert len(calls) == 21  # steps, and the look at the last iterate
    assert_same(found, attacked(model.forward, inputs, labels))
    handle.remove()
    attacked(model, inputs, labels)
    assert [each.calls for each in made] == [3]


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_hooks_of_torch_that_make_a_weight_are_operations_on_tensors():
    model, (inputs, labels) = network(2), batch(2, 21)
    nn.utils.weight_norm(model[0])
    for _ in range(3):
        assert_same(attacked(model, inputs, labels), attacked(model.forward, inputs, labels))
    assert [each.calls for each in made] == [2]


@pytest.mark.parametrize(
    "draw",
    [torch.rand, lambda _: random.random(), lambda _: np.random.rand()],  # noqa: NPY002
    ids=["torch", "python", "numpy"],
)
def test_a_network_that_draws_numbers_on_the_cpu_is_not_captured(draw):
    class Drawing(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network(2)

        def forward(self, inputs):
            return self.network(inputs) * (1 + float(draw(1)))

    model, (inputs, labels) = Drawing(), batch(2, 21)
    with pytest.warns(UserWarning, match="network draws random numbers on the CPU"):
        attacked(model, inputs, labels)
    attacked(model, inputs, labels)
    assert not made


def test_what_a_function_hands_out_is_the_callers_own():
    """Two gradients may be one tensor, which whoever scales both in place would scale twice."""
    model, given = network(2), torch.rand(3)

    def twice(values):
        result = values + 1
        return result, result, values, result[:1].expand(5)

    for _ in range(3):
        results = capture.replayed(model, "twice", twice, given)
        for result in results:
            result.mul_(2)
        for result, expected in zip(results, twice(given), strict=True):
            torch.testing.assert_close(result, 2 * expected)
    assert len(made) == 1


def test_captures_of_a_network_share_memory_but_with_none_that_failed(monkeypatch):
    class Failing(Recorded):
        def __init__(self, function, tensors, beside=None):
            super().__init__(function, tensors, beside)
            if len(made) == 3:
                raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(capture, "Capture", Failing)
    model, other = network(2), network(2)
    for count, attacked_one in ((9, model), (21, model), (40, model), (57, model), (75, model)):
        inputs, labels = batch(2, count)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            for _ in range(2):
                attacked(attacked_one, inputs, labels)
    for _ in range(2):
        attacked(other, *batch(2, 9))
    assert [each.beside for each in made] == [None, made[0], made[0], None, made[3], None]


class Device:
    """What of ``torch.cuda`` a capture calls, with torch's ways where it fails."""

    def __init__(self):
        self.stream_now, self.begun, self.ended = "caller's", [], 0

    def stream(self, stream):
        device = self

        class Entered:
            def __enter__(self):
                self.before, device.stream_now = device.stream_now, stream

            def __exit__(self, *_):
                device.stream_now = self.before

        return Entered()

    def graph(self, graph, pool=None, stream=None, capture_error_mode="global"):
        device = self

        class Capturing:
            def __enter__(self):
                device.begun.append((pool, capture_error_mode))
                self.stream = device.stream(stream)
                self.stream.__enter__()

            def __exit__(self, kind, *_):
                if kind is not None:  # without a return to the stream before
                    raise RuntimeError("operation failed due to a previous error during capture")
                self.stream.__exit__()
                device.ended += 1

        return Capturing()


class Graph:
    def pool(self):
        return "pool of", self

    def replay(self):
        pass


@pytest.fixture
def cuda(monkeypatch):
    device = Device()
    monkeypatch.setattr(capture, "Capture", RealCapture)
    monkeypatch.setattr(capture, "side_stream", lambda _: "side")
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", device.graph)
    monkeypatch.setattr(torch.cuda, "stream", device.stream)
    return device


def test_other_threads_go_on_and_python_collects_nothing_while_a_graph_is_captured(cuda):
    """A data loader's thread that pins memory would break the capture, and die of it."""

    def function(values):
        assert cuda.stream_now == "side"
        assert not gc.isenabled()
        return (values + 1,)

    first = capture.Capture(function, (torch.zeros(3),))
    capture.Capture(function, (torch.zeros(4),), first)
    assert gc.isenabled()
    assert cuda.begun == [(None, "thread_local"), (first._graph.pool(), "thread_local")]
    assert torch.equal(first(torch.ones(3))[0], torch.ones(3))  # as no graph was replayed


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_capture_that_fails_leaves_stream_and_generator_as_they_were(error, cuda):
    """Until a capture succeeds, torch rejects every draw on the device, as of a dropout."""

    def function(values):
        raise error("not permitted")

    with pytest.raises(RuntimeError, match="previous error"):
        capture.Capture(function, (torch.zeros(3),))
    assert cuda.stream_now == "caller's"
    assert cuda.ended == 1
    assert gc.isenabled()


def test_copies_in_memory_of_another_stream_come_after_what_it_fills_that_with(monkeypatch, cuda):
    """Torch fills what is empty where algorithms are to be deterministic."""
    done = []

    class Stream:
        device = torch.device("cuda", 0)

        def wait_stream(self, other):
            done.append(("waits for", other))

    def empty_like(result):
        done.append(("fills", cuda.stream_now))
        return torch.full((3,), torch.nan)

    owner = Stream()
    monkeypatch.setattr(torch, "empty_like", empty_like)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    (copy,) = capture._copied((torch.ones(3),), owner)
    assert done == [("fills", owner), ("waits for", owner)]
    assert torch.equal(copy, torch.ones(3))


def test_an_answer_has_arrived_when_its_own_device_says_so(monkeypatch):
    """And not the current one, which may be another."""
    recorded = []

    class Event:
        def record(self, stream=None):
            recorded.append(stream)

        def synchronize(self):
            pass

    class OnDevice:
        is_cuda, device = True, torch.device("cuda", 1)

    class Pinned:
        def copy_(self, value, non_blocking):
            pass

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: f"stream of {device}")
    monkeypatch.setattr(torch, "empty", lambda *_, **__: Pinned())
    capture.Answer(OnDevice())
    assert recorded == ["stream of cuda:1"]
