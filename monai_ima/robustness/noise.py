"""White noise, which nobody designed to deceive: how many samples does it flip?"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from monai_ima.attacks import Norm, misclassified
from monai_ima.attacks.base import Bounds, Model
from monai_ima.attacks.draws import SampleDraws
from monai_ima.attacks.pgd_attack import clipped

Noise: TypeAlias = Literal["uniform", "gaussian"]
_STREAMS = {"uniform": 2, "gaussian": 4}  # other numbers than those of the attacks' starts


def white_noise_errors(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    noise: Noise,
    eps: Tensor,
    norm: Norm,
    draws: int,
    bounds: Bounds | None,
    index: Tensor,
    seed: int,
) -> Tensor:
    """Count the draws of white noise that each sample is misclassified under, at each level.

    Uniform noise is drawn from the ball of radius ``eps``; Gaussian noise has a standard deviation
    of ``eps`` in Linf, and in L2 that of noise whose length is about ``eps``. A draw is one noise,
    scaled to every level, and the sum is cut to the bounds.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``, left as found.
        inputs: ``(N, *)`` clean samples.
        labels: ``(N,)`` true class indices.
        noise: ``"uniform"`` or ``"gaussian"``.
        eps: ``(L,)`` levels, in units of ``inputs``.
        norm: geometry of the ball.
        draws: noises for each sample.
        bounds: range of valid inputs, or ``None``.
        index: ``(N,)`` numbers of the samples, which their noises depend on.
        seed: seed of the noises.

    Returns:
        ``(N, L)`` counts from 0 to ``draws``.

    Source:
        Ma and Liang, Increasing-Margin Adversarial (IMA) Training, 2020, section 1: uniform noise
        flips about 3 % of OCT images at a level of 0.05.
    """
    errors = torch.zeros(len(inputs), len(eps), dtype=torch.long, device=inputs.device)
    for draw in range(draws):
        unit = _unit(noise, inputs, norm, SampleDraws(seed, index, draw, _STREAMS[noise]))
        for level, radius in enumerate(eps.to(inputs)):
            noisy = clipped(inputs + radius * unit, bounds)
            errors[:, level] += misclassified(model, noisy, labels)
    return errors


def _unit(noise: Noise, like: Tensor, norm: Norm, draws: SampleDraws) -> Tensor:
    """Noise of level 1."""
    if noise == "uniform":
        return norm.uniform(like, torch.ones_like(like.flatten(1)[:, 0]), draws)
    dimensions = math.prod(like.shape[1:]) if norm.name == "l2" else 1
    return draws.normal(like) / math.sqrt(dimensions)
