import sys
import warnings

import pytest
import torch

with warnings.catch_warnings():
    # Ignite's handlers import this part of torch, which uses what torch itself has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import torch.distributed.optim


_EXCEPTHOOK = sys.excepthook


@pytest.fixture(autouse=True)
def _same_state_for_every_test():
    torch.manual_seed(0)
    yield
    sys.excepthook = _EXCEPTHOOK  # which the configs replace
