"""Which handlers have a state that a checkpoint must keep."""

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping
from ignite.metrics import Accuracy
from monai.handlers import LrScheduleHandler

from monai_ima.handlers.handler_states import states_of_handlers


class Remembers:
    def __init__(self, state):
        self.state = state

    def __call__(self, engine):
        pass

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


def test_handlers_with_a_state_are_found_once_each_and_what_is_known_is_not():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    schedules = [torch.optim.lr_scheduler.StepLR(optimizer, 1) for _ in range(2)]
    engine, other = Engine(lambda *_: None), Engine(lambda *_: None)
    for schedule in schedules:
        LrScheduleHandler(schedule).attach(engine)
    Accuracy().attach(engine, "accuracy")
    stops = EarlyStopping(2, lambda engine: 0, engine)
    other.add_event_handler(Events.COMPLETED, stops)
    each = Remembers({"a": 1})
    engine.add_event_handler(Events.EPOCH_COMPLETED(every=2), each)
    engine.add_event_handler(Events.STARTED, each)
    holder = LrScheduleHandler(schedules[0])
    holder.optimizer, holder.part, holder.engine = optimizer, network[0], other
    holder.attach(engine)

    found = states_of_handlers([engine, other], [network, optimizer])
    assert found == {
        "LrScheduleHandler.lr_scheduler": schedules[0],
        "LrScheduleHandler.lr_scheduler 2": schedules[1],
        "Remembers": each,
        "EarlyStopping": stops,
    }


def test_a_state_that_no_checkpoint_can_hold_is_refused():
    engine = Engine(lambda *_: None)
    engine.add_event_handler(Events.STARTED, Remembers({"a": Remembers}))
    with pytest.raises(TypeError, match=r"state of the handler Remembers to be tensors and plain"):
        states_of_handlers([engine], [])
