"""Run an attack's loop in one of two forms: samples leave, or the batch keeps its shape."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from monai_ima.attacks.base import Classify, Model, attacking
from monai_ima.attacks.capture import can_be_captured, is_captured, replayed
from monai_ima.attacks.norms import Norm
from monai_ima.attacks.result import AttackResult
from monai_ima.attacks.rows import FixedShape, Rows, Shrinking
from monai_ima.faults import any_fault, require, written_down

Form: TypeAlias = Literal["auto", "shrinking", "fixed"]
Results: TypeAlias = tuple[Tensor, ...]

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
    function: partial[Any],
    inputs: Tensor,
    labels: Tensor,
    *known: Tensor,
    where: Tensor | None = None,
) -> AttackResult:
    """Run an attack in the form that is chosen.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``, left as found.
        norm: what the distance is measured in.
        function: the attack, see :func:`in_form`, whose results are an :class:`AttackResult`.
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
            found = in_form(model, classify, function, inputs, labels, *known, where=where)
        if found is not None:
            return AttackResult(*found)
    nothing = torch.zeros_like(labels, dtype=torch.bool)
    return AttackResult(inputs.clone(), nothing, norm.length(torch.zeros_like(inputs)))


def fixed_shape(inputs: Tensor) -> bool:
    """Whether attacks on such inputs keep the shape of the batch."""
    return _chosen[0] == "fixed" or (_chosen[0] == "auto" and inputs.is_cuda)


def in_form(
    model: Model,
    classify: Classify,
    function: partial[Any],
    *batch: Tensor,
    where: Tensor | None,
) -> Results | None:
    """Run a function of a batch in the form that is chosen.

    Args:
        model: what is attacked.
        classify: the same, as :func:`~monai_ima.attacks.base.attacking` yields it.
        function: from ``classify``, the rows to work on and the batch to results of each sample
            ``(N, *)``, with settings that are no tensors.
        batch: inputs ``(N, *)`` first, then what is known of each sample ``(N, *)`` or of all ``()``.
        where: ``(N,)`` bool, the samples to work on, or ``None`` for all.

    Returns:
        The results, or ``None`` where there is nothing to work on.

    Raises:
        ValueError: what the function finds at fault.
    """
    # What was made in inference mode takes part in no gradient.
    batch = tuple(each.clone() if each.is_inference() else each for each in batch)
    if fixed_shape(batch[0]):
        with suppress(TypeError, ValueError):
            *results, fault = _in_fixed_shape(model, classify, function, batch, where)
            if is_captured():
                require(~fault, lambda: ValueError("expected an attack without a fault"))
                return tuple(results)
            if not fault:
                return tuple(results)
        # In the other form what is at fault is said, of as many samples as there are.
    rows = Shrinking(None if where is None else where.nonzero()[:, 0])
    return function(classify, rows, *batch) if rows.any() else None


def _in_fixed_shape(
    model: Model,
    classify: Classify,
    function: partial[Any],
    batch: tuple[Tensor, ...],
    where: Tensor | None,
) -> Results:
    """The results, and whether something was at fault, a bool ``()``."""
    count = len(batch[0])
    size = padded_size(count)
    if where is None:
        where = torch.ones(count, dtype=torch.bool, device=batch[0].device)
    if size > count:
        batch = tuple(_padded(tensor, size) for tensor in batch)
        where = torch.cat([where, where.new_zeros(size - count)])

    def run(working: Tensor, *whole: Tensor) -> Results:
        rows = FixedShape(working)
        with written_down() as book:
            results = function(classify, rows, *whole)
        return *results, any_fault([*book, rows.sound], working)

    if isinstance(model, nn.Module) and can_be_captured(batch[0]):
        settings = (_hashable(item) for item in sorted(function.keywords.items()))
        results = replayed(model, (function.func, *settings), run, where, *batch)
    else:
        results = run(where, *batch)
    return *(result[:count] for result in results[:-1]), results[-1]


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
