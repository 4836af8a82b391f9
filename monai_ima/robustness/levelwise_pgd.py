"""PGD at every noise level, in a batch that stays full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from monai_ima.attacks import Norm
from monai_ima.attacks.base import Bounds, Classify, Model, attacking
from monai_ima.attacks.draws import SampleDraws
from monai_ima.attacks.forms import fixed_shape, in_form
from monai_ima.attacks.norms import per_sample
from monai_ima.attacks.pgd_attack import advanced, clipped, input_gradient
from monai_ima.attacks.rows import Rows

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Order: TypeAlias = Literal["up", "down"]

_STEPS_OF_A_BLOCK = 10  # on a GPU, between two looks at who is done


def levelwise_pgd(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    eps: Tensor,
    broken_at: Tensor,
    norm: Norm,
    order: Order,
    steps: int,
    losses: Sequence[Loss],
    restarts: int,
    priority: Tensor,
    bounds: Bounds | None,
    index: Tensor,
    seed: int,
    batch_size: int,
) -> tuple[Tensor, Tensor]:
    """Find the lowest level at which PGD has each sample misclassified.

    Each loss is climbed from each of ``restarts`` starts drawn uniformly from the ball, the same
    for every loss, in steps of ``eps / 10``. A sample takes a row of the batch and goes from level
    to level, through all climbs at each, until it is decided between which two levels it is robust
    no more; then the next sample takes the row. What is misclassified at a level is so at every
    higher one: no gradient is spent on what is decided, and the batch is full until the last samples.

    The start, in units of the level, depends on ``seed``, the sample's ``index`` and the restart
    alone: neither the other samples nor their order change what is found for a sample.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``, left as found.
        inputs: ``(N, *)`` correctly classified samples.
        labels: ``(N,)`` true class indices.
        eps: ``(L,)`` increasing levels; the first is 0.
        broken_at: ``(N,)`` lowest level at which an error is known already, ``L`` where none is.
        norm: geometry of the balls.
        order: ``"up"``, every level from the lowest, or ``"down"`` from the lowest with a known error:
            the first at which a sample is robust is then the last that is attacked, and that it is
            robust below as well is taken on trust.
        steps: gradient steps of a climb; ``steps + 1`` iterates are looked at.
        losses: what is climbed, one after another, logits and labels to ``(N,)`` values.
        restarts: random starts of each loss.
        priority: ``(N,)`` which samples take a row first: those of the largest values. Let it be
            those that will need it longest, so that the batch runs empty late.
        bounds: range of valid inputs, or ``None``.
        index: ``(N,)`` numbers of the samples, for their starts.
        seed: seed of the starts.
        batch_size: number of rows.

    Returns:
        ``(N,)`` lowest level with an error, ``L`` where none is, and ``(N, *)`` the iterates that are
        misclassified there (the clean sample where none was found).
    """
    found, radii = inputs.clone(), eps.to(inputs)
    # Who is where is kept on the CPU; only whole blocks of steps are waited for.
    broken_at, index, device = broken_at.cpu().clone(), index.to(inputs.device), inputs.device
    robust_at, attempt = torch.zeros_like(broken_at), torch.zeros_like(broken_at)
    left = torch.full_like(broken_at, steps)
    whole = fixed_shape(inputs)
    block = partial(
        _block,
        steps=_STEPS_OF_A_BLOCK if whole else steps + 1,
        whole=whole,
        losses=tuple(losses),
        norm=norm,
        bounds=bounds,
    )

    def next_level(samples: Tensor) -> Tensor:
        return robust_at[samples] + 1 if order == "up" else broken_at[samples] - 1

    def radius(samples: Tensor) -> Tensor:
        return radii[level[samples].to(device)]

    def starts(samples: Tensor) -> Tensor:
        places, restart = samples.to(device), (attempt[samples] % restarts).to(device)
        draws = SampleDraws(seed, index[places], restart)
        delta = norm.uniform(inputs[places], radius(samples), draws)
        return clipped(inputs[places] + delta, bounds)

    level = next_level(torch.arange(len(inputs)))
    queue = priority.cpu().argsort(descending=True)
    queue = queue[(broken_at - robust_at > 1)[queue]]
    rows, queue = queue[:batch_size], queue[batch_size:]
    iterate = starts(rows)
    with attacking(model, inputs) as classify:
        while len(rows):
            places, which = rows.to(device), (attempt[rows] // restarts).to(device)
            batch = (
                iterate,
                inputs[places],
                labels[places],
                radius(rows),
                which,
                left[rows].to(device),
            )
            results = in_form(model, classify, block, *batch, where=None)
            assert results is not None  # there are rows
            iterate, *states = results
            crossed, over = torch.stack(states[:2]).cpu().bool()
            left[rows] = states[2].cpu()
            if not over.any():
                continue

            broken, ended = rows[crossed], rows[over]
            broken_at[broken] = level[broken]
            found[broken.to(device)] = iterate[crossed.to(device)]
            attempt[ended] += 1
            attempt[broken] = 0
            held = ended[attempt[ended] == restarts * len(losses)]
            robust_at[held], attempt[held] = level[held], 0
            level[ended], left[ended] = next_level(ended), steps

            undecided = ended[broken_at[ended] - robust_at[ended] > 1]
            free = len(ended) - len(undecided)
            starting, queue = torch.cat([undecided, queue[:free]]), queue[free:]
            rows = torch.cat([rows[~over], starting])
            iterate = iterate[(~over).to(device)]
            if len(starting):
                iterate = torch.cat([iterate, starts(starting)])
    return broken_at.to(device), found


def _block(
    classify: Classify,
    rows: Rows,
    iterate: Tensor,
    clean: Tensor,
    labels: Tensor,
    radius: Tensor,
    which: Tensor,
    left: Tensor,
    *,
    steps: int,
    whole: bool,
    losses: tuple[Loss, ...],
    norm: Norm,
    bounds: Bounds | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Some steps of each row's climb, which ends where it is misclassified or has none left.

    The block ends after ``steps``, or, unless it is to be a ``whole`` one, with the first row's climb.

    Returns:
        The iterates ``(N, *)``, where the climb ended or goes on; ``(N,)`` bool where it is
        misclassified; ``(N,)`` bool where the climb is over; and ``(N,)`` the steps left.
    """
    crossed = torch.zeros_like(labels, dtype=torch.bool)
    over = torch.zeros_like(crossed)
    for step in range(steps):
        leaf = iterate.detach().requires_grad_()
        logits = rows.finite(classify(leaf))
        labels = rows.fitting(labels, logits) if step == 0 else labels
        wrong = logits.argmax(dim=1) != labels
        crossed = crossed | (wrong & ~over)
        over = over | wrong | (left == 0)
        if not rows.any(~over):
            break
        heights = torch.stack([loss(logits, labels) for loss in losses])
        gradient = input_gradient(heights.gather(0, which[None])[0], leaf)
        moved = advanced(
            iterate, gradient, clean, step=radius / 10, eps=radius, norm=norm, bounds=bounds
        )
        iterate = torch.where(per_sample(over, iterate), iterate, moved)
        left = left - (~over).long()
        if not whole and over.any():
            break
    return iterate, crossed, over, left
