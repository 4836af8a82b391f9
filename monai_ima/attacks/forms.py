"""Run an attack's loop in one of two forms: samples leave, or the batch keeps its shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from monai_ima.attacks.base import Classify, Model, attacking
from monai_ima.attacks.capture import replayed
from monai_ima.attacks.norms import Norm
from monai_ima.attacks.result import AttackResult
from monai_ima.attacks.rows import FixedShape, Rows, Shrinking

Form: TypeAlias = Literal["auto", "shrinking", "fixed"]
# From the logits, the rows to work on, and what is known of each sample, the inputs first, to the
# points found ``(N, *)`` and which of them are misclassified ``(N,)``.
Search: TypeAlias = Callable[..., tuple[Tensor, Tensor]]

_chosen: list[Form] = ["auto"]


class loop_form:  # noqa: N801  as torch.set_grad_enabled
    """Choose the form of the attacks' loops, until the end of a ``with`` block or for good.

    Args:
        form: ``"shrinking"``, samples that are done leave the batch; ``"fixed"``, the batch keeps its
            shape, and on a CUDA device the attack is captured as a graph; or ``"auto"``, fixed on a
            CUDA device and shrinking elsewhere, where each is faster. The result is the same.

    Raises:
        ValueError: if there is no such form.
    """

    def __init__(self, form: Form) -> None:
        if form not in get_args(Form):
            raise ValueError(f"expected form to be one of {get_args(Form)}, got {form!r}")
        self._before, _chosen[0] = _chosen[0], form

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        _chosen[0] = self._before


def search(
    model: Model,
    norm: Norm,
    function: partial[tuple[Tensor, Tensor]],
    inputs: Tensor,
    labels: Tensor,
    *known: Tensor,
    where: Tensor | None = None,
) -> AttackResult:
    """Run an attack in the form that is chosen.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``, left as found.
        norm: what the distance is measured in.
        function: the attack, see :data:`Search`, with settings that are no tensors.
        inputs: ``(N, *)`` checked samples.
        labels: ``(N,)`` class indices.
        known: further tensors for the function, of each sample ``(N, *)`` or of all ``()``.
        where: ``(N,)`` bool, the samples to attack; all by default. Others are handed back as they
            are, without success.

    Raises:
        ValueError: if a label names no class, or the logits are not finite.
    """
    if len(inputs) > 0:  # some layers refuse an empty batch
        with attacking(model, inputs) as classify:
            # One that was made in inference mode takes part in no gradient.
            inputs, labels, *rest = (
                each.clone() if each.is_inference() else each for each in (inputs, labels, *known)
            )
            if _chosen[0] == "fixed" or (_chosen[0] == "auto" and inputs.is_cuda):
                result, fault = _in_fixed_shape(
                    model, classify, norm, function, inputs, labels, *rest, where=where
                )
                if not fault:  # the other form says which
                    return result
            rows = Shrinking(None if where is None else where.nonzero()[:, 0])
            if rows.any():
                found, success = function(classify, rows, inputs, labels, *rest)
                return AttackResult(found, success, norm.length(found - inputs))
    nothing = torch.zeros_like(labels, dtype=torch.bool)
    return AttackResult(inputs.clone(), nothing, norm.length(torch.zeros_like(inputs)))


@torch.no_grad()
def clean_pass(
    classify: Classify, rows: Rows, inputs: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Which samples are correctly classified, ``(N,)``, their labels ``(N,)`` and logits ``(N, C)``.

    What most attacks begin with, since a misclassified sample is an adversarial sample itself.
    """
    logits = rows.finite(classify(inputs))
    labels = rows.fitting(labels, logits)
    return logits.argmax(dim=1) == labels, labels, logits


def _in_fixed_shape(
    model: Model,
    classify: Classify,
    norm: Norm,
    function: partial[tuple[Tensor, Tensor]],
    inputs: Tensor,
    *known: Tensor,
    where: Tensor | None,
) -> tuple[AttackResult, Tensor]:
    """What is found, and whether something was at fault, a bool ``()``."""
    count = len(inputs)
    size = padded_size(count)
    working = torch.arange(size, device=inputs.device) < count
    if where is not None:
        working[:count] &= where
    whole = [_padded(tensor, size) for tensor in (inputs, *known)]
    run = partial(_fixed, function, classify, norm)
    if inputs.is_cuda and isinstance(model, nn.Module):
        settings = (_hashable(item) for item in sorted(function.keywords.items()))
        outputs = replayed(model, (function.func, norm, *settings), run, working, *whole)
    else:
        outputs = run(working, *whole)
    found, success, distance, fault = outputs
    return AttackResult(found[:count], success[:count], distance[:count]), fault


def _fixed(
    function: Search,
    classify: Classify,
    norm: Norm,
    working: Tensor,
    inputs: Tensor,
    *known: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = FixedShape(working)
    found, success = function(classify, rows, inputs, *known)
    return found, success, norm.length(found - inputs), rows.fault


def padded_size(count: int) -> int:
    """The number of rows for so many samples: few different ones, at most a quarter more."""
    step = max(16, 1 << max(0, count.bit_length() - 3))
    return math.ceil(count / step) * step


def _padded(tensor: Tensor, size: int) -> Tensor:
    """As many rows, the last one again and again; what is for all samples as it is."""
    if tensor.ndim == 0 or len(tensor) == size:
        return tensor
    return torch.cat([tensor, tensor[-1:].expand(size - len(tensor), *tensor.shape[1:])])


def _hashable(setting: tuple[str, object]) -> tuple[str, object]:
    name, value = setting
    return name, tuple(value) if isinstance(value, list) else value
