"""PGD at every noise level, in a batch that stays full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from monai_ima.attacks import Norm
from monai_ima.attacks.base import Bounds, Model, attacking, checked_logits
from monai_ima.attacks.pgd_attack import advanced, clipped, input_gradient
from monai_ima.robustness.seeds import seeded

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Order: TypeAlias = Literal["up", "down"]


def climb(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    eps: Tensor,
    fell: Tensor,
    norm: Norm,
    order: Order,
    steps: int,
    losses: Sequence[Loss],
    scale: Tensor,
    priority: Tensor,
    bounds: Bounds | None,
    index: Tensor,
    seed: int,
    batch_size: int,
) -> tuple[Tensor, Tensor]:
    """Find the lowest level at which PGD makes each sample fall.

    Restart ``r`` climbs ``losses[r]`` from a start drawn uniformly from the ball, in steps of
    ``eps / 10``. A sample takes a row of the batch and goes from level to level, through the
    restarts of each, until it is decided between which two levels it falls; then the next sample
    takes the row. What an iterate at a level has lost is lost at every higher one: no gradient is
    spent on what is decided, and the batch is full until the last samples.

    The start, in units of the level, depends on ``seed``, the sample's ``index`` and the restart
    alone: neither the other samples nor their order have a say in a sample's fate.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``, left as found.
        inputs: ``(N, *)`` correctly classified samples.
        labels: ``(N,)`` true class indices.
        eps: ``(L,)`` increasing levels; the first is 0.
        fell: ``(N,)`` lowest level known to be lost already, ``L`` where none is.
        norm: geometry of the balls.
        order: ``"up"``, every level from the lowest, or ``"down"`` from the lowest known to be lost:
            the first at which a sample stands is then the last that is attacked, and that it stands
            below as well is taken on trust.
        steps: gradient steps of a restart; ``steps + 1`` iterates are looked at.
        losses: what each restart climbs, logits and labels to ``(N,)`` values.
        scale: ``(N,)`` what the logits of each sample are multiplied with before.
        priority: ``(N,)`` which samples take a row first: those of the largest values. Let it be
            those that will need it longest, so that the batch runs empty late.
        bounds: range of valid inputs, or ``None``.
        index: ``(N,)`` numbers of the samples, for their starts.
        seed: seed of the starts.
        batch_size: number of rows.

    Returns:
        ``(N,)`` lowest level lost, ``L`` where none is, and ``(N, *)`` the iterates that lost it
        (the clean sample where there is none).
    """
    fell, found = fell.clone(), inputs.clone()
    stood, restart, step = (torch.zeros_like(fell) for _ in range(3))
    radii = eps.to(inputs)

    def next_level(samples: Tensor) -> Tensor:
        return stood[samples] + 1 if order == "up" else fell[samples] - 1

    def starts(samples: Tensor) -> Tensor:
        """A random point in the ball of each sample's level."""
        draws = zip(index[samples].tolist(), restart[samples].tolist(), strict=True)
        # Drawn on the CPU, for the same start on every device.
        clean, radius = inputs[samples].cpu(), radii[level[samples]].cpu()
        delta = [
            norm.uniform(clean[row : row + 1], radius[row : row + 1], seeded(seed, *draw))
            for row, draw in enumerate(draws)
        ]
        return clipped(inputs[samples] + torch.cat([inputs[:0].cpu(), *delta]).to(inputs), bounds)

    level = next_level(torch.arange(len(inputs), device=inputs.device))
    queue = priority.argsort(descending=True)
    queue = queue[(fell - stood > 1)[queue]]
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
                scaled = scale[rows, None] * logits
                heights = torch.stack([loss(scaled, targets) for loss in losses])
                own_height = heights.gather(0, restart[rows][None])[0]
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

            lost, ended = rows[crossed], rows[over]
            fell[lost], found[lost] = level[lost], leaf.detach()[crossed]
            restart[ended] += 1
            restart[lost] = 0
            held = ended[restart[ended] == len(losses)]
            stood[held], restart[held] = level[held], 0
            level[ended], step[ended] = next_level(ended), 0

            undecided = ended[fell[ended] - stood[ended] > 1]
            free = len(ended) - len(undecided)
            starting, queue = torch.cat([undecided, queue[:free]]), queue[free:]
            rows = torch.cat([rows[~over], starting])
            iterate = torch.cat([iterate[~over], starts(starting)])
    return fell, found
