"""Classifiers as they come: each is the same linear or given network, told in another way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Output(NamedTuple):
    """As some libraries return it."""

    features: Any
    logits: Any


class Returning(nn.Module):
    """A network whose logits are handed out in some form."""

    def __init__(self, network: nn.Module, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.network = network
        self.form = form

    def forward(self, inputs: Tensor) -> Any:
        return self.form(self.network(inputs))


class InPlace(nn.Module):
    """A network that centres its inputs where they are."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs.sub_(0.5))


class AtMost(nn.Module):
    """A network that takes no more than some samples at once, as memory or an export permits."""

    def __init__(self, network: nn.Module, most: int, least: int = 1) -> None:
        super().__init__()
        self.network = network
        self.sizes = range(least, most + 1)

    def forward(self, inputs: Tensor) -> Tensor:
        if len(inputs) not in self.sizes:
            raise MemoryError(f"{len(inputs)} samples at once")
        return self.network(inputs)


# What is returned, and the logits that it means, both made of (N, 3) logits.
FORMS: dict[str, tuple[Callable[[Tensor], Any], Callable[[Tensor], Tensor]]] = {
    "tuple": (lambda z: (z, [2 * z]), lambda z: z),
    "list": (lambda z: [z, None], lambda z: z),
    "dictionary": (lambda z: {"features": z[:, :1], "logits": z}, lambda z: z),
    "only tensor": (lambda z: {"output": z, "note": "a"}, lambda z: z),
    "object": (lambda z: Output(features=2 * z, logits=z), lambda z: z),
    "nested": (lambda z: ({"logits": z}, None), lambda z: z),
    "one logit": (lambda z: z[:, 1:2], lambda z: torch.stack([0 * z[:, 1], z[:, 1]], dim=1)),
    "one number": (lambda z: z[:, 1], lambda z: torch.stack([0 * z[:, 1], z[:, 1]], dim=1)),
    "squeezed": (lambda z: z[:, 1:2].squeeze(), lambda z: torch.stack([0 * z[:, 1], z[:, 1]], 1)),
}
