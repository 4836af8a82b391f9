"""MONAI's simple inference for classifiers of any kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.inferers import SimpleInferer
from torch import Tensor

from monai_ima.attacks.base import classifying


class LogitsInferer(SimpleInferer):
    """Give an engine logits ``(N, C)``, as attacks see them, whatever the network returns.

    With MONAI's own inferer the output of a network that returns a tuple, such as MONAI's ``ViT``,
    reaches metrics and handlers as it is, a network in another precision does not take the inputs,
    and one that changes its inputs changes what handlers see.
    """

    def __call__(
        self, inputs: Tensor, network: Callable[..., object], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Logits of ``inputs`` ``(N, *)``; further arguments go to the network."""
        return super().__call__(inputs, classifying(network), *args, **kwargs)
