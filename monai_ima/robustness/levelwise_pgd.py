"""PGD at every noise level, in a batch that stays full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from monai_ima.attacks import Norm
from monai_ima.attacks.base import Bounds, Model, attacking, checked_logits
from monai_ima.attacks.draws import SampleDraws
from monai_ima.attacks.pgd_attack import advanced, clipped, input_gradient

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Order: TypeAlias = Literal["up", "down"]


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
    broken_at, found = broken_at.clone(), inputs.clone()
    robust_at, attempt, step = (torch.zeros_like(broken_at) for _ in range(3))
    radii = eps.to(inputs)

    def next_level(samples: Tensor) -> Tensor:
        return robust_at[samples] + 1 if order == "up" else broken_at[samples] - 1

    def starts(samples: Tensor) -> Tensor:
        draws = SampleDraws(seed, index[samples], attempt[samples] % restarts)
        delta = norm.uniform(inputs[samples], radii[level[samples]], draws)
        return clipped(inputs[samples] + delta, bounds)

    level = next_level(torch.arange(len(inputs), device=inputs.device))
    queue = priority.argsort(descending=True)
    queue = queue[(broken_at - robust_at > 1)[queue]]
    rows, queue = queue[:batch_size], queue[batch_size:]
    iterate = starts(rows)
    with attacking(model, inputs) as classify:
        while len(rows):
            targets, radius = labels[rows], radii[level[rows]]
            leaf = iterate.detach().requires_grad_()
            logits = checked_logits(classify(leaf), targets)
            crossed = logits.argmax(dim=1) != targets
            over = crossed | (step[rows] == steps)
            if not over.all():
                heights = torch.stack([loss(logits, targets) for loss in losses])
                own_height = heights.gather(0, attempt[rows][None] // restarts)[0]
                iterate = advanced(
                    iterate,
                    input_gradient(own_height, leaf),
                    inputs[rows],
                    step=radius / 10,
                    eps=radius,
                    norm=norm,
                    bounds=bounds,
                )
            step[rows] += 1
            if not over.any():
                continue

            broken, ended = rows[crossed], rows[over]
            broken_at[broken], found[broken] = level[broken], leaf.detach()[crossed]
            attempt[ended] += 1
            attempt[broken] = 0
            held = ended[attempt[ended] == restarts * len(losses)]
            robust_at[held], attempt[held] = level[held], 0
            level[ended], step[ended] = next_level(ended), 0

            undecided = ended[broken_at[ended] - robust_at[ended] > 1]
            free = len(ended) - len(undecided)
            starting, queue = torch.cat([undecided, queue[:free]]), queue[free:]
            rows = torch.cat([rows[~over], starting])
            iterate = torch.cat([iterate[~over], starts(starting)])
    return broken_at, found
