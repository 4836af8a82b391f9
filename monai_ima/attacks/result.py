"""What an attack hands back."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class AttackResult(NamedTuple):
    """Attacked samples, in the order of the inputs.

    Attributes:
        inputs: ``(N, *)`` perturbed inputs, detached.
        success: ``(N,)`` bool, the decision boundary was crossed.
        distance: ``(N,)`` norm of the perturbation, in units of the inputs.
    """

    inputs: Tensor
    success: Tensor
    distance: Tensor
