"""What is captured on a real device is what a CPU finds; skipped where there is no CUDA device."""

import gc
import threading

import pytest
import torch
import torch.nn.functional as F
from test_contract import cases, run, takes
from test_forms import batch, network
from test_square import with_rows_led_by_rounding
from torch import nn

from monai_ima.attacks import SampleDraws, capture, fmn_targeted, forms, loop_form, pgd
from monai_ima.robustness import closest_errors

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def said(recwarn):
    return [str(warning.message) for warning in recwarn]


def attacked(model, count=21, attack=pgd, **options):
    inputs, labels = (part.to(next(model.parameters()).device) for part in batch(2, count))
    options = {"eps": 0.3, "norm": "linf", "generator": torch.Generator().manual_seed(0)} | options
    return run(attack, model, inputs, labels, **options)


def assert_as_on_a_cpu(model, count=21, **options):
    """From the first call to the second replay."""
    expected = attacked(network(2), count, **options)
    for _ in range(4):
        found = attacked(model, count, **options)
        for part, other in zip(found, expected, strict=True):
            torch.testing.assert_close(part.cpu(), other, rtol=0, atol=1e-6)


@cases()
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_replays_find_what_a_cpu_finds(attack, norm, dimensions, recwarn):
    models = {"cpu": network(dimensions), "cuda": network(dimensions).cuda()}
    for count in (21, 17, 30, 25):  # called, captured, replayed, replayed
        inputs, labels = batch(dimensions, count)
        labels = torch.where(labels == 1, labels, models["cpu"](inputs).argmax(dim=1))
        eps = torch.linspace(0.02, 0.6 if norm == "linf" else 2, count, dtype=torch.float64)

        def on(device, inputs=inputs, labels=labels, eps=eps):
            return run(
                attack,
                models[device],
                inputs.to(device),
                labels.to(device),
                eps=eps.to(device),
                norm=norm,
                random_start=True,
                generator=torch.Generator().manual_seed(0),
            )

        expected, captured = on("cpu"), on("cuda")
        assert not said(recwarn)
        sure = torch.ones(count, dtype=torch.bool)
        if attack.__name__ == "square" and norm == "l2":
            _, led = with_rows_led_by_rounding(lambda: on("cpu"))
            sure = ~led[:count]
        assert torch.equal(captured.success.cpu()[sure], expected.success[sure])
        differ = (captured.inputs.cpu() - expected.inputs).abs().flatten(1).amax(dim=1) > 1e-6
        assert not differ[sure].any()
        assert not takes(attack, "eps") or 0 < expected.success.sum() < count


@cases()
@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_replay_is_bit_by_bit_what_the_device_finds_without_a_graph(
    attack, norm, dimensions, monkeypatch, recwarn
):
    """What differs here is a fault of the capture; what differs from a CPU alone may be rounding."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    model, other = network(dimensions).cuda(), network(dimensions).cuda()
    for count in (21, 17, 30, 25):
        inputs, labels = (part.cuda() for part in batch(dimensions, count))
        labels = torch.where(labels == 1, labels, other(inputs).argmax(dim=1))
        eps = torch.linspace(0.02, 0.6 if norm == "linf" else 2, count, dtype=torch.float64).cuda()

        def found(model, inputs=inputs, labels=labels, eps=eps):
            generator = torch.Generator().manual_seed(0)
            options = {"eps": eps, "norm": norm, "random_start": True, "generator": generator}
            return run(attack, model, inputs, labels, **options)

        replayed = found(model)
        with monkeypatch.context() as plainly:
            plainly.setattr(forms, "can_be_captured", lambda _: False)
            expected = found(other)
        assert not said(recwarn)
        for part, wanted in zip(replayed, expected, strict=True):
            assert torch.equal(part, wanted)


class Asking(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = network(2)

    def forward(self, inputs):
        return self.network(inputs) + float(inputs.sum() > 1e9)


class Dropping(nn.Module):
    """In eval mode as well."""

    def __init__(self):
        super().__init__()
        self.network = network(2)

    def forward(self, inputs):
        return self.network(F.dropout(inputs, 0.1, training=True))


def test_a_network_that_asks_the_device_is_attacked_all_the_same():
    model = Asking().cuda()
    first = attacked(model).inputs
    with pytest.warns(UserWarning, match="cannot be captured"):
        second = attacked(model).inputs
    torch.testing.assert_close(second, first)
    torch.testing.assert_close(attacked(model).inputs, first)


def test_a_capture_that_fails_leaves_the_device_as_it_was(recwarn):
    """The stream, the random generator, and what can be captured afterwards."""
    stream, asking, dropping = torch.cuda.current_stream(), Asking().cuda(), Dropping().cuda()
    for _ in range(2):  # the second one is captured before the failure, and replayed after it
        attacked(dropping)
    for _ in range(3):
        attacked(asking)
    assert len([text for text in said(recwarn) if "cannot be captured" in text]) == 1
    assert torch.cuda.current_stream() == stream
    assert torch.rand(2, device="cuda").std() > 0
    one, two = (attacked(dropping).inputs for _ in range(2))
    assert not torch.equal(one, two)
    assert_as_on_a_cpu(network(2).cuda())
    assert len([text for text in said(recwarn) if "cannot be captured" in text]) == 1


def test_random_numbers_in_a_replay_are_those_of_the_seed(monkeypatch, recwarn):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    dropping, results = Dropping().cuda(), []
    for _ in range(4):
        torch.cuda.manual_seed(5)
        results.append((attacked(dropping).inputs, torch.rand(3, device="cuda")))
    assert not said(recwarn)
    for found, drawn in results[1:]:
        assert torch.equal(found, results[0][0])
        assert torch.equal(drawn, results[0][1])


def test_python_may_collect_networks_while_others_are_captured(recwarn):
    """The longest attack to capture, which collections fell into."""
    thresholds = gc.get_threshold()
    gc.set_threshold(500, 1, 1)
    try:
        for _ in range(3):
            left = network(2).cuda()
            left.itself = [left]  # nothing but a collection frees it, and its graphs
            for _ in range(2):
                attacked(left)
            del left
            assert_as_on_a_cpu(network(2).cuda(), attack=fmn_targeted)
    finally:
        gc.set_threshold(*thresholds)
    assert not said(recwarn)


def test_a_thread_may_pin_memory_while_a_graph_is_captured(recwarn):
    stopping, errors = threading.Event(), []

    def pin():
        size = 1
        try:
            while not stopping.wait(0.001):
                size += 4096  # of no size that is at hand already
                torch.empty(size).pin_memory()
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=pin)
    thread.start()
    try:
        for count in (17, 33, 49, 65):
            assert_as_on_a_cpu(network(2).cuda(), count, attack=fmn_targeted)
    finally:
        stopping.set()
        thread.join()
    assert not errors
    assert not said(recwarn)


def test_captures_of_several_shapes_need_little_more_memory_than_the_largest(recwarn):
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(1024, 5)),
    ).cuda()

    def reserved(count):
        for _ in range(3):
            inputs, labels = torch.rand(count, 1, 64, 64).cuda(), torch.arange(count).cuda() % 5
            pgd(model, inputs, labels, eps=0.1, norm="linf", steps=3)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved() - before

    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    largest = reserved(256)
    after = [reserved(count) for count in (224, 192, 160, 128)][-1]
    assert largest > 2**27
    assert after < 1.5 * largest  # each in memory of its own: nearly four times
    assert not said(recwarn)
    assert len(capture._CAPTURES[model]) == 5


@pytest.mark.filterwarnings("ignore:.*deterministic:UserWarning")
def test_deterministic_algorithms_fill_no_result():
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        for count in (17, 33):
            assert_as_on_a_cpu(network(2).cuda(), count)
    finally:
        torch.use_deterministic_algorithms(False)


def test_two_streams_of_a_caller_do_not_meet_in_a_graph(recwarn):
    model, streams = network(2).cuda(), [torch.cuda.Stream() for _ in range(2)]
    expected = [attacked(network(2), eps=eps).inputs for eps in (0.1, 0.5)]
    torch.cuda.synchronize()
    for _ in range(20):
        found = []
        for stream, eps in zip(streams, (0.1, 0.5), strict=True):
            with torch.cuda.stream(stream):
                torch.cuda._sleep(1_000_000)
                found.append(attacked(model, eps=eps).inputs)
        torch.cuda.synchronize()
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.cpu(), other, rtol=0, atol=1e-6)
    assert not said(recwarn)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one CUDA device")
def test_a_device_that_is_not_the_current_one(recwarn):
    assert_as_on_a_cpu(network(2).to("cuda:1"))
    assert torch.cuda.current_device() == 0
    assert not said(recwarn)


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_random_numbers_are_those_of_a_cpu(kind):
    like, samples = torch.empty(500, 3, 17), torch.arange(500)
    there = getattr(SampleDraws(3, samples.cuda(), 2), kind)(like.cuda()).cpu()
    here = getattr(SampleDraws(3, samples, 2), kind)(like)
    torch.testing.assert_close(there, here, rtol=1e-6, atol=0 if kind == "uniform" else 1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("protocol", ["minimum_norm", "paper", "screen", "strong", "blackbox"])
def test_an_evaluation_finds_what_a_cpu_finds(protocol, norm):
    model, (inputs, _) = network(2), batch(2, 40)
    labels = model(inputs).argmax(dim=1)
    eps = {"linf": [0.05, 0.1, 0.2], "l2": [0.2, 0.4, 0.8]}[norm]
    options = {"eps": eps, "norm": norm, "protocol": protocol}
    here = closest_errors(model, inputs, labels, **options).margins
    there = closest_errors(model.cuda(), inputs.cuda(), labels.cuda(), **options).margins.cpu()
    differ = ~torch.isclose(there, here, rtol=1e-3, atol=1e-6)
    assert differ.sum() <= (1 if protocol == "blackbox" else 0)


def test_the_other_form_is_at_hand_on_a_gpu():
    model, (inputs, labels) = network(2).cuda(), batch(2, 21)
    results = []
    for form in ("shrinking", "fixed"):
        generator = torch.Generator().manual_seed(0)
        with loop_form(form):
            options = {"eps": 0.3, "norm": "linf", "generator": generator}
            results.append(pgd(model, inputs.cuda(), labels.cuda(), **options))
    assert torch.equal(results[0].success, results[1].success)
    torch.testing.assert_close(results[0].inputs, results[1].inputs, rtol=0, atol=1e-6)
