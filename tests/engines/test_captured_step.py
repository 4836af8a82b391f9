"""A step that is replayed trains as one that runs operation by operation does."""

import copy
import random
import warnings
from typing import ClassVar

import numpy as np
import pytest
import torch
from linear import linear_model
from monai.engines.utils import IterationEvents
from torch import nn
from torch.utils.data import DataLoader

from monai_ima.attacks import capture, loop_form
from monai_ima.engines import RobustTrainer, captured_step, trainer
from monai_ima.margins import MarginStore
from monai_ima.objectives import (
    IAAT,
    IMA,
    MMA,
    TRADES,
    CrossEntropy,
    DDNAdversarial,
    StandardAdversarial,
)

COUNT, CLASSES, SHAPE = 22, 3, (1, 6, 7)
BALL = {"norm": "l2", "eps": 0.5}


def margins():
    return MarginStore(COUNT, delta=0.05, eps_max=0.5)


METHODS = {
    "ce": CrossEntropy,
    "adv": lambda: StandardAdversarial(**BALL, steps=3),
    "trades": lambda: TRADES(**BALL, beta=1.0, steps=3),
    "ddn": lambda: DDNAdversarial(**BALL, steps=3),
    "iaat": lambda: IAAT(COUNT, **BALL, gamma=0.1, warmup=1, steps=3),
    "mma": lambda: MMA(margins(), norm="l2", steps=3, bisections=4),
    "ima": lambda: IMA(margins(), norm="l2", beta=0.5, steps=3, random_start=True),
    "trades, weighted": lambda: TRADES(**BALL, beta=1.0, steps=3, class_weights=[1.0, 2.0, 0.5]),
    "ima by steps": lambda: IMA(margins(), norm="l2", beta=0.5, steps=3, margin_update="step"),
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(42, CLASSES)).double()


def trained(objective, model=None, device="cpu", on=(), batch_size=9, **options):
    """The trainer after three epochs of three batches, the last one smaller."""
    images = torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(1)).double()
    model = (network() if model is None else model).to(device)
    images = images.to(next(model.parameters()).dtype)
    labels = torch.arange(COUNT) % CLASSES
    data = [
        {"image": image, "label": label, "index": index}
        for index, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    torch.manual_seed(3)
    made = RobustTrainer(
        objective=objective.to(device),
        device=torch.device(device),
        train_data_loader=DataLoader(data, batch_size=batch_size),
        network=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.05),
        **{"max_epochs": 3} | options,
    )
    for event, handler in on:
        made.add_event_handler(event, handler)
    losses = []
    made.add_event_handler("ITERATION_COMPLETED", lambda e: losses.append(e.state.output["loss"]))
    made.run()
    made.losses = torch.stack(losses).detach().cpu()
    return made


def state(made):
    parts = made.network.state_dict() | {
        f"objective.{name}": value for name, value in made.objective.state_dict().items()
    }
    return {name: value.cpu() for name, value in parts.items()} | {"losses": made.losses}


@pytest.fixture
def replaying(monkeypatch):
    """As on a CUDA device, but that what would be replayed is called; which of them were."""
    calls = []

    def replayed(network, key, function, *tensors, what):
        calls.append(key)
        hash(key)
        return function(*tensors)

    def turn_on():
        monkeypatch.setattr(trainer, "can_be_captured", lambda inputs: True)

    monkeypatch.setattr(captured_step, "replayed", replayed)
    replaying.turn_on, replaying.calls = turn_on, calls
    return replaying


@pytest.mark.parametrize("method", METHODS)
def test_replayed_steps_train_as_plain_ones_do(method, replaying):
    with loop_form("fixed"):
        plain = trained(METHODS[method]())
        drawn = torch.get_rng_state()
        replaying.turn_on()
        replayed = trained(METHODS[method]())
    assert len(replaying.calls) == 8 * replayed.objective.capturable  # all steps but the first
    assert torch.equal(torch.get_rng_state(), drawn)
    for name, value in state(plain).items():
        assert torch.equal(state(replayed)[name], value), name


@pytest.mark.parametrize(
    "options",
    [{"accumulation_steps": 2}, {"prepare_batch": None}],
)
def test_what_a_graph_cannot_hold_goes_the_plain_way(options, replaying):
    replaying.turn_on()
    if "prepare_batch" in options:
        from monai.engines import PrepareBatchExtraInput

        extra = {"index": "index", "labels_again": "label"}

        class Taking(CrossEntropy):
            def forward(self, network, inputs, labels, index, labels_again):
                assert torch.equal(labels, labels_again)
                return super().forward(network, inputs, labels, index)

        trained(Taking(), prepare_batch=PrepareBatchExtraInput(extra))
    else:
        with loop_form("fixed"):
            trained(CrossEntropy(), **options)
    assert not replaying.calls


@pytest.mark.parametrize(
    "draw",
    [torch.rand, lambda _: random.random(), lambda _: np.random.rand()],  # noqa: NPY002
    ids=["torch", "python", "numpy"],
)
def test_a_network_that_draws_numbers_on_the_cpu_is_not_replayed(draw, replaying):
    class Drawing(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network()

        def forward(self, inputs):
            return self.network(inputs) * (1 + float(draw(1)))

    replaying.turn_on()
    with loop_form("fixed"):
        trained(CrossEntropy(), Drawing())
    assert not replaying.calls


@pytest.mark.parametrize("failing", [4, 8])  # a step within an epoch, and the last one
def test_a_step_in_trouble_says_what_it_is(failing, replaying):
    """The graph only knows that something is wrong; the plain way tells, before anyone uses the step."""

    class Failing(CrossEntropy):
        def forward(self, network, inputs, labels, index):
            result = super().forward(network, inputs, labels, index)
            wrong = len(replaying.calls) >= failing
            return result._replace(loss=result.loss * float("nan" if wrong else 1))

    replaying.turn_on()
    said = f"epoch {2 if failing == 4 else 3}, iteration {failing + 1}; lower the learning rate"
    with loop_form("fixed"), pytest.raises(FloatingPointError, match=said):
        trained(Failing())


def test_inputs_out_of_bounds_are_named_by_a_step_that_was_replayed(replaying):
    class Spoiling(IMA):
        def forward(self, network, inputs, labels, index):
            if len(replaying.calls) >= 2:
                inputs = inputs + 3
            return super().forward(network, inputs, labels, index)

    replaying.turn_on()
    objective = Spoiling(margins(), norm="l2", beta=0.5, steps=3)
    with (
        loop_form("fixed"),
        pytest.raises(ValueError, match=r"within bounds .* from 3\.\d+ to 3\.\d+"),
    ):
        trained(objective)


@pytest.mark.parametrize("margin_update", ["pass", "step"])
def test_a_sample_that_has_no_margin_is_named_by_a_step_that_was_replayed(margin_update, replaying):
    class Lost(IMA):
        def forward(self, network, inputs, labels, index):
            if len(replaying.calls) >= 2:
                index = index + 1000
            return super().forward(network, inputs, labels, index)

    replaying.turn_on()
    objective = Lost(margins(), norm="l2", beta=0.5, steps=3, margin_update=margin_update)
    with loop_form("fixed"), pytest.raises(IndexError, match="sample indices from 0 to 21, got 10"):
        trained(objective)


def test_what_a_graph_depends_on_is_in_its_key(replaying):
    """Another weight of the loss, a frozen layer: each is another graph."""
    model, objective = linear_model(SHAPE, classes=CLASSES), IMA(margins(), norm="l2", beta=0.5)
    step = captured_step.CapturedStep(objective, model, torch.no_grad, "float32")
    keys = {step._key()}
    objective.beta = 0.25
    keys.add(step._key())
    next(model.parameters()).requires_grad_(False)
    keys.add(step._key())
    assert len(keys) == 3


class Recorded:
    """As a graph, in that it is called with the memory of the first batch."""

    made: ClassVar[list["Recorded"]] = []

    def __init__(self, function, tensors, beside):
        self.inputs, self.function = [tensor.clone() for tensor in tensors], function
        self.made.append(self)

    def __call__(self, *tensors):
        for own, given in zip(self.inputs, tensors, strict=True):
            own.copy_(given)
        return tuple(each.clone() for each in self.function(*self.inputs))


@pytest.fixture
def capturing(monkeypatch):
    """As on a CUDA device, with what stands in for graphs, which are handed over."""
    Recorded.made.clear()

    def turn_on():
        monkeypatch.setattr(capture, "Capture", Recorded)
        monkeypatch.setattr(trainer, "can_be_captured", lambda inputs: True)

    Recorded.turn_on = turn_on
    return Recorded


def test_an_objective_that_counts_its_steps_goes_on_counting(capturing):
    """It is in the key, though it is no setting: a subclass is capturable unless it says otherwise."""

    class Warming(CrossEntropy):
        steps = 0

        def forward(self, network, inputs, labels, index):
            self.steps += 1
            result = super().forward(network, inputs, labels, index)
            return result._replace(loss=result.loss * self.steps / 10)

    with loop_form("fixed"):
        plain = trained(Warming())
        capturing.turn_on()
        counted = trained(Warming())
    assert not capturing.made
    assert torch.equal(counted.losses, plain.losses)


class Sum(nn.Module):
    """Two weights with one gradient, as where one is what another is corrected by."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.rand(CLASSES, 42).double())
        self.correction = nn.Parameter(torch.zeros(CLASSES, 42).double())

    def forward(self, inputs):
        return nn.functional.linear(inputs.flatten(1), self.weight + self.correction)


def test_each_parameter_has_a_gradient_of_its_own(capturing):
    def clip(engine):
        nn.utils.clip_grad_norm_(engine.network.parameters(), 0.01)

    clipped = [(IterationEvents.BACKWARD_COMPLETED, clip)]
    with loop_form("fixed"):
        plain = trained(CrossEntropy(), Sum(), on=clipped)
        capturing.turn_on()
        captured = trained(CrossEntropy(), Sum(), on=clipped)
    assert capturing.made
    for name, value in state(plain).items():
        assert torch.equal(state(captured)[name], value), name


@pytest.mark.parametrize("hook", ["register_hook", "register_post_accumulate_grad_hook"])
def test_hooks_on_a_gradient_are_called_at_each_step(hook, capturing):
    calls, model = [], network()
    getattr(model[2].weight, hook)(lambda _: calls.append(1))
    capturing.turn_on()
    with loop_form("fixed"):
        trained(CrossEntropy(), model)
    assert len(calls) == 9


def taken_up(method, at, device="cpu"):
    """A run in mixed precision, and another trainer that goes on from before its last step."""
    options = {"amp": True, "amp_kwargs": {"dtype": torch.bfloat16}, "batch_size": COUNT}
    kept = {}

    def keep(engine):
        if engine.state.iteration == at:
            parts = (engine.network, engine.objective, engine.optimizer.state_dict())
            kept["parts"], kept["draws"] = copy.deepcopy(parts), torch.get_rng_state()

    def take_up(engine):
        engine.optimizer.load_state_dict(kept["parts"][2])
        torch.set_rng_state(kept["draws"])

    whole, started = (METHODS[method](), network().float()), "ITERATION_STARTED"
    whole = trained(*whole, device, on=[(started, keep)], max_epochs=at, **options)
    model, objective, _ = kept["parts"]
    later = trained(objective, model, device, on=[(started, take_up)], max_epochs=1, **options)
    return whole.network.state_dict(), later.network.state_dict()


@pytest.mark.parametrize("method", ["adv", "trades", "ima"])
def test_a_run_taken_up_in_mixed_precision_goes_on_as_the_undisturbed_one(method, replaying):
    """Its first step goes the plain way, where the other one replays a graph."""
    replaying.turn_on()
    with loop_form("fixed"):
        whole, later = taken_up(method, at=2)
    assert len(replaying.calls) == 1
    for name, value in whole.items():
        assert torch.equal(later[name], value), name


on_a_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def gpu(test):
    for mark in on_a_gpu:
        test = mark(test)
    return test


def not_captured(recwarn):
    return [str(warning.message) for warning in recwarn if "captured" in str(warning.message)]


@gpu
@pytest.mark.parametrize("method", METHODS)
def test_steps_captured_on_a_gpu_train_as_a_cpu_does(method, recwarn):
    here, there = trained(METHODS[method]()), trained(METHODS[method](), device="cuda")
    assert not not_captured(recwarn)
    for name, value in state(here).items():
        torch.testing.assert_close(state(there)[name], value, rtol=1e-4, atol=1e-5, msg=name)


@gpu
@pytest.mark.parametrize("method", ["ce", "adv", "ima"])
def test_steps_train_on_where_an_older_graph_lives_on_the_stream_of_the_caller(method):
    """It keeps what autograd has of the parameters on that stream, and a capture may fail."""
    model, pristine = network().cuda(), network()
    model.eval()
    alive = model(torch.rand(4, *SHAPE).double().cuda()).sum()
    here = trained(METHODS[method](), pristine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        there = trained(METHODS[method](), model, "cuda")
    for name, value in state(here).items():
        torch.testing.assert_close(state(there)[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert alive.requires_grad
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


@gpu
def test_a_network_with_dropout_that_asks_the_device_trains_on():
    """After a capture that failed torch would reject what a dropout draws."""

    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = nn.Sequential(nn.Dropout(0.3), network())

        def forward(self, inputs):
            return self.network(inputs) + float(inputs.sum() > 1e9)

    with pytest.warns(UserWarning, match="A training step of CrossEntropy cannot be captured"):
        made = trained(CrossEntropy(), Asking(), device="cuda")
    assert made.losses.isfinite().all()


@gpu
@pytest.mark.parametrize("method", ["adv", "trades", "ima"])
def test_nobody_waits_for_the_device_in_a_step_that_is_replayed(method):
    def forbid(engine):
        torch.cuda.set_sync_debug_mode("error" if engine.state.epoch == 3 else "default")

    def permit(_):
        torch.cuda.set_sync_debug_mode("default")

    try:
        events = [("ITERATION_STARTED", forbid), ("ITERATION_COMPLETED", permit)]
        trained(METHODS[method](), device="cuda", on=events)
    finally:
        permit(None)


@gpu
@pytest.mark.parametrize("method", ["ce", "adv", "trades", "ima"])
def test_a_run_taken_up_on_a_gpu_goes_on_as_the_undisturbed_one(method, recwarn):
    whole, later = taken_up(method, at=4, device="cuda")
    assert not not_captured(recwarn)
    for name, value in whole.items():
        assert torch.equal(later[name], value), name


@gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one CUDA device")
def test_a_step_that_goes_wrong_is_noticed_on_a_device_that_is_not_the_current_one():
    def spoil(engine):
        if engine.state.iteration == 8:
            with torch.no_grad():
                engine.network[2].bias.fill_(float("nan"))

    spoiled = [("ITERATION_STARTED", spoil)]
    with pytest.raises((FloatingPointError, ValueError), match="finite"):
        trained(CrossEntropy(), device="cuda:1", on=spoiled)
