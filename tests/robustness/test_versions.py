"""One name and version of a protocol is one attack: what it finds is written down here.

If a change to the attacks is meant, give the protocol its next version, add a row to the table of
versions in docs/evaluation.md, and write down what it finds now.
"""

import math

import pytest
import torch
from torch import nn

from monai_ima.robustness import closest_errors, get_protocol

FOUND = {
    ("minimum_norm", 3, "linf"): [0.045551, 0.041759, 0.066375, 0.116541, 0.013973, 0.163225],
    ("minimum_norm", 3, "l2"): [0.121021, 0.098244, 0.170080, 0.292852, 0.033066, 0.304003],
    ("paper", 5, "linf"): [0.045550, 0.041778, 0.086447, 0.116644, 0.013973, 0.163288],
    ("paper", 5, "l2"): [0.120971, 0.098255, 0.170148, 0.292701, 0.033090, 0.304204],
    ("screen", 1, "linf"): [0.045548, 0.041753, 0.066374, 0.166941, 0.013972, 0.163227],
    ("screen", 1, "l2"): [0.121014, 0.098236, 0.170112, 0.292996, 0.033064, 0.304437],
    ("strong", 5, "linf"): [0.045551, 0.041759, 0.066375, 0.116541, 0.013973, 0.163225],
    ("strong", 5, "l2"): [0.121021, 0.098244, 0.170080, 0.292852, 0.033066, 0.304003],
    ("blackbox", 3, "linf"): [0.045879, 0.055137, 0.137695, 0.141211, 0.014727, 0.190625],
    ("blackbox", 3, "l2"): [0.221680, 0.117533, 0.274650, math.inf, 0.046143, 0.488281],
}


def classifier():
    """Three classes of signals of eight values, by a network whose weights are a formula."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            places = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_((3 * torch.sin(1.7 * places + number)).reshape(parameter.shape))
    return model


def margins(name, norm):
    inputs = (0.5 + 0.5 * torch.sin(torch.arange(48, dtype=torch.float64) ** 1.5)).reshape(6, 1, 8)
    model = classifier()
    labels = model(inputs).argmax(dim=1)
    eps = {"linf": [0.02, 0.06, 0.2], "l2": [0.05, 0.15, 0.5]}[norm]
    return closest_errors(model, inputs, labels, eps=eps, norm=norm, protocol=name).margins


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["minimum_norm", "paper", "screen", "strong", "blackbox"])
def test_a_version_finds_what_it_found(name, norm):
    version = get_protocol(name).version
    assert (name, version, norm) in FOUND, "write down what this version finds"
    assert margins(name, norm).tolist() == pytest.approx(FOUND[name, version, norm], rel=1e-3)
