import sys
import warnings

import pytest
import torch
from hypothesis import HealthCheck, settings

with warnings.catch_warnings():
    # Ignite's handlers import this part of torch, which uses what torch itself has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import torch.distributed.optim

from undrawn import leave_undrawn

# However slow a machine that others use as well: no test is of time.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

_EXCEPTHOOK = sys.excepthook
# Each takes a minute: one that is left for the end leaves the other core without work.
_LONGEST = (
    "test_oct", "test_site", "test_mutated_files", "test_kills", "test_evaluate", "test_selection",
    "test_settings_fuzz", "test_reproduce", "test_main",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: (*_LONGEST, item.path.stem).index(item.path.stem))


@pytest.fixture(autouse=True)
def _same_state_for_every_test():
    torch.manual_seed(0)
    yield
    sys.excepthook = _EXCEPTHOOK  # which the configs replace


@pytest.fixture
def undrawn(monkeypatch):
    leave_undrawn(monkeypatch)


@pytest.fixture
def unmeasured():
    """Turn coverage off, which doubles the time of a fuzz; ``no_cover`` does not under xdist."""
    trace = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(trace)
