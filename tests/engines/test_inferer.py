"""What an engine gets from a network of any kind."""

import pytest
import torch
from linear import linear_model
from models import FORMS, InPlace, Returning
from torch import nn

from monai_ima.engines import LogitsInferer

SHAPE = (1, 2, 3)


@pytest.mark.parametrize("form", FORMS)
def test_logits_whatever_is_returned(form):
    returned, meant = FORMS[form]
    network, inputs = linear_model(SHAPE, classes=3), torch.rand(4, *SHAPE)
    logits = LogitsInferer()(inputs, Returning(network, returned))
    assert torch.equal(logits, meant(network(inputs)))


def test_the_network_gets_a_copy_in_its_precision():
    network, inputs = linear_model(SHAPE, classes=3, dtype=torch.float64), torch.rand(4, *SHAPE)
    before = inputs.clone()
    logits = LogitsInferer()(inputs, InPlace(network))
    assert torch.equal(inputs, before)
    torch.testing.assert_close(logits, network(before.double() - 0.5))


def test_further_arguments_go_to_the_network():
    class Shifted(nn.Module):
        def forward(self, inputs, shift, *, factor):
            return (factor * (inputs + shift)).flatten(1)

    inputs = torch.rand(4, *SHAPE)
    logits = LogitsInferer()(inputs, Shifted(), 1.0, factor=2.0)
    assert torch.equal(logits, (2 * (inputs + 1)).flatten(1))
