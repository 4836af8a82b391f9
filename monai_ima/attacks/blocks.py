"""An ascent in blocks of steps, after which samples that are done leave the batch.

Within a captured graph nothing can leave. Between two graphs it can: on a GPU which a batch fills, half a
batch takes half the time. A batch is halved, so that few sizes are captured.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from monai_ima.attacks.base import Classify, Model
from monai_ima.attacks.capture import is_captured
from monai_ima.attacks.forms import fixed_shape, in_form
from monai_ima.attacks.pgd_attack import Ascent, ascend

_STEPS = 10  # of a block: half as long as what is needed to cross the whole ball
_SAMPLES = 512  # with fewer a GPU is not full


def leaves_in_blocks(inputs: Tensor, steps: int) -> bool:
    """Whether an ascent that ends at the boundary takes less time in blocks."""
    return (
        fixed_shape(inputs)
        and not is_captured()
        and len(inputs) >= _SAMPLES
        and steps >= 2 * _STEPS
    )


def ascend_in_blocks(
    model: Model,
    classify: Classify,
    inputs: Tensor,
    labels: Tensor,
    *known: Tensor,
    where: Tensor | None,
    steps: int,
    random_start: bool,
    **settings: Any,
) -> Ascent:
    """What :func:`ascend` finds, with the model as it is and as :func:`attacking` yields it."""
    *of_samples, seed = known
    batch = (inputs, labels, *of_samples)
    previous, current = inputs.clone(), inputs.clone()
    crossed = torch.zeros_like(labels, dtype=torch.bool)
    places = torch.arange(len(inputs), device=inputs.device)
    working = torch.ones_like(crossed) if where is None else where
    for done in range(0, steps, _STEPS):
        function = partial(
            ascend,
            steps=min(_STEPS, steps - done),
            random_start=random_start and done == 0,
            **settings,
        )
        begin = (current[places],) if done else ()
        parts = (each[places] for each in batch)
        found = in_form(model, classify, function, *parts, seed, *begin, where=working)
        assert found is not None  # in a fixed shape
        mine = working.nonzero()[:, 0]
        for whole, part in zip((previous, current, crossed), found, strict=True):
            whole[places[mine]] = part[mine]
        left = places[mine][~crossed[places[mine]]]
        if len(left) == 0:
            break
        halved, of_halved = filled_up(left)
        if len(halved) < len(places):
            places, working = halved, of_halved
        else:
            working = working & ~crossed[places]
    return Ascent(previous, current, crossed)


def filled_up(places: Tensor) -> tuple[Tensor, Tensor]:
    """As many places as a power of two, the last one again and again, and which of them are meant."""
    count, size = len(places), 1 << (len(places) - 1).bit_length()
    whole = torch.cat([places, places[-1:].expand(size - count)])
    return whole, torch.arange(size, device=places.device) < count
