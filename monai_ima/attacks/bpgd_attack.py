"""B-PGD: projected gradient descent with a binary search onto the decision boundary."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from monai_ima.attacks.base import (
    Bounds,
    Classify,
    Model,
    attacking,
    fitting_inputs,
)
from monai_ima.attacks.blocks import ascend_in_blocks, filled_up, leaves_in_blocks
from monai_ima.attacks.forms import in_form, search
from monai_ima.attacks.norms import Norm, get_norm, per_sample
from monai_ima.attacks.pgd_attack import ascend, ascent_arguments
from monai_ima.attacks.result import AttackResult
from monai_ima.attacks.rows import Rows
from monai_ima.counts import checked_count
from monai_ima.losses import soft_margin

Segment: TypeAlias = Literal["crossing", "ray"]
Side: TypeAlias = Literal["on", "inside", "outside"]


def bpgd(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    norm: Norm | str,
    steps: int = 20,
    bisections: int = 10,
    step_size: float | Tensor | None = None,
    random_start: bool = False,
    segment: Segment = "crossing",
    side: Side = "on",
    bounds: Bounds | None = (0.0, 1.0),
    loss: Callable[[Tensor, Tensor], Tensor] = soft_margin,
    index: Tensor | None = None,
    generator: torch.Generator | None = None,
    where: Tensor | None = None,
) -> AttackResult:
    """Run PGD inside each sample's margin; where it crosses the decision boundary, bisect onto it.

    The paper's search runs between the two iterates around the first crossing. Started at random,
    every iterate, and so what is found between two of them, lies on the surface of the ball: the
    distance found is the margin itself, and Algorithm 2 can never shrink it. The default start is
    therefore the clean sample, from which the iterates work their way out. ``segment="ray"``
    shrinks too, with any start. ``random_start=True, segment="crossing"`` is the reading that
    does not.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``; a module is attacked in eval mode
            and left exactly as found.
        inputs: ``(N, *)`` correctly classified samples, any number of trailing dimensions. A
            misclassified one crosses at distance zero (from a random start, almost).
        labels: ``(N,)`` true class indices.
        eps: margin, radius of the ball, a number or ``(N,)``, in units of ``inputs``.
        norm: ``"linf"``, ``"l2"`` or a :class:`Norm`.
        steps: N_PGD, number of gradient steps.
        bisections: N_Binary, each halves the segment; ``0`` leaves it as it is.
        step_size: length of a step, a number or ``(N,)``, in units of ``inputs``; by default
            ``4 * eps / steps``, the authors' choice.
        random_start: start at a point drawn uniformly from the ball, instead of at the sample.
        segment: what is bisected: ``"crossing"``, between the iterates around the first crossing
            (the paper), or ``"ray"``, from the clean sample straight to the crossing iterate.
        side: which point of the last segment is returned: ``"on"``, its middle (the paper's point
            on the boundary), ``"inside"``, still correctly classified, or ``"outside"``, not any
            more.
        bounds: range of valid inputs, kept by every iterate, or ``None``.
        loss: what is climbed, logits and labels to ``(N,)`` values.
        index: ``(N,)`` numbers of the samples, on which the random starts depend; by default their
            places in the batch.
        generator: source of the random starts' seed; torch's global one on the CPU by default.
        where: ``(N,)`` bool, the samples to attack; the others are handed back as they are.

    Returns:
        Case 1, ``success``: the point on the boundary. Case 0: the last iterate of PGD.

    Raises:
        TypeError, ValueError: if an argument does not fit; the message says what was expected.

    Source:
        Ma and Liang, Increasing-Margin Adversarial (IMA) Training, 2020, Algorithm 3.
    """
    if segment not in get_args(Segment):
        raise ValueError(f"expected segment to be one of {get_args(Segment)}, got {segment!r}")
    if side not in get_args(Side):
        raise ValueError(f"expected side to be one of {get_args(Side)}, got {side!r}")
    checked_count("bisections", bisections, at_least=0)
    geometry = get_norm(norm)
    inputs, labels = fitting_inputs(inputs, labels, bounds)
    function = partial(
        _bpgd,
        bisections=bisections,
        segment=segment,
        side=side,
        norm=geometry,
        steps=steps,
        random_start=random_start,
        bounds=bounds,
        loss=loss,
    )
    known = ascent_arguments(
        inputs, eps, step_size, index, steps=steps, random_start=random_start, generator=generator
    )
    if leaves_in_blocks(inputs, steps):
        return _bpgd_in_blocks(model, inputs, labels, *known, where=where, **function.keywords)
    return search(model, geometry, function, inputs, labels, *known, where=where)


def _bpgd(
    classify: Classify,
    rows: Rows,
    inputs: Tensor,
    labels: Tensor,
    *known: Tensor,
    bisections: int,
    segment: Segment,
    side: Side,
    norm: Norm,
    **settings: Any,
) -> AttackResult:
    settings["keep_previous"] = segment == "crossing"
    inside, found, crossed = ascend(classify, rows, inputs, labels, *known, norm=norm, **settings)
    rows = rows.of(crossed)
    if rows.any():
        ends = (rows.read(part) for part in (inside, found, labels))
        rows.write(found, bisect(classify, *ends, bisections=bisections, side=side))
    return AttackResult(found, crossed, norm.length(found - inputs))


def _bpgd_in_blocks(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *known: Tensor,
    where: Tensor | None,
    bisections: int,
    segment: Segment,
    side: Side,
    norm: Norm,
    **settings: Any,
) -> AttackResult:
    settings["keep_previous"] = segment == "crossing"
    with attacking(model, inputs) as classify:
        inside, found, crossed = ascend_in_blocks(
            model, classify, inputs, labels, *known, where=where, norm=norm, **settings
        )
        places = crossed.nonzero()[:, 0]
        if len(places) > 0:
            whole, meant = filled_up(places)
            ends = (part[whole] for part in (inside, found, labels))
            function = partial(_narrowed, bisections=bisections, side=side)
            narrowed = in_form(model, classify, function, *ends, where=meant)
            assert narrowed is not None  # in a fixed shape
            found[places] = narrowed[0][: len(places)]
    return AttackResult(found, crossed, norm.length(found - inputs))


def _narrowed(
    classify: Classify, rows: Rows, *ends: Tensor, bisections: int, side: Side
) -> tuple[Tensor]:
    return (bisect(classify, *map(rows.read, ends), bisections=bisections, side=side),)


@torch.no_grad()
def bisect(
    classify: Classify,
    inside: Tensor,
    outside: Tensor,
    labels: Tensor,
    *,
    bisections: int,
    side: Side,
) -> Tensor:
    """Narrow the segments from ``inside``, classified as ``labels``, to ``outside``, which is not."""
    for _ in range(bisections):
        middle = (inside + outside) / 2
        correct = per_sample(classify(middle).argmax(dim=1) == labels, middle)
        inside = torch.where(correct, middle, inside)
        outside = torch.where(correct, outside, middle)
    return {"on": (inside + outside) / 2, "inside": inside, "outside": outside}[side]
