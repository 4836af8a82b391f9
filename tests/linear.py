"""A linear classifier, whose distance to the decision boundary is known in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def linear_model(
    shape: Sequence[int], classes: int = 2, seed: int = 0, dtype: torch.dtype = torch.float32
) -> nn.Module:
    """``Flatten`` and ``Linear`` on samples of this shape, with weights drawn from ``seed``."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes, dtype=dtype))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=dtype))
    return model


@torch.no_grad()
def exact_distance(model: nn.Module, inputs: Tensor, labels: Tensor, norm: str) -> Tensor:
    """Distance ``(N,)`` of each sample to the nearest other class, 0 where it is misclassified.

    ``|logit difference| / dual norm of the weight difference``; the dual of Linf is L1, of L2 is L2.
    """
    logits = model(inputs)
    own = logits.gather(1, labels[:, None])
    weights = model[1].weight
    slopes = weights[labels][:, None] - weights[None]  # (N, C, D)
    dual = torch.linalg.vector_norm(slopes, ord={"linf": 1, "l2": 2}[norm], dim=2)
    distance = (own - logits).clamp(min=0) / dual
    return distance.scatter(1, labels[:, None], math.inf).amin(dim=1)
