"""Square: a black-box attack that changes one random window at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from monai_ima.attacks.base import (
    Bounds,
    Classify,
    Model,
    checked_inputs,
    checked_radius,
    finite_logits,
    search_correct,
)
from monai_ima.attacks.norms import L2, Norm, get_norm, per_sample
from monai_ima.attacks.pgd_attack import clipped
from monai_ima.attacks.result import AttackResult
from monai_ima.counts import checked_count
from monai_ima.losses import hard_margin

_HALVED_AT = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # of the queries


def square(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    norm: Norm | str,
    queries: int = 1000,
    p_init: float = 0.8,
    bounds: Bounds | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> AttackResult:
    """Search the surface of the ball around each sample for a misclassified point, at random.

    The model is a black box: forward passes without gradients, whether it has any or not. From a
    random start, each query changes a window (segment, square or cube, by the number of spatial
    dimensions) at a random place, a new one for each sample, and stays there if the logit margin is
    higher. The windows become smaller as the paper's do, whatever the number of queries. A
    sample is done with its first misclassified query.

    - Linf: starts at stripes along the first of two or three spatial dimensions, and gives each
      channel of a window a random sign times ``eps``; the opposite ones where that changes nothing.
    - L2: starts at a chequerboard of random signs, five tiles along each dimension, and moves what
      one window has spent of the norm, and what the bounds have left of it, to another one: there
      each channel gets a bump with a random sign on top of what it has. In the paper each bump has two
      halves of opposite signs, and so have the tiles at the start; without them we found more.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``; a module is attacked in eval mode
            and left exactly as found.
        inputs: ``(N, D)`` features, or ``(N, C, *)`` with one to three spatial dimensions. A
            misclassified sample is its own adversarial sample.
        labels: ``(N,)`` true class indices.
        eps: radius of the ball, a number or ``(N,)``, in units of ``inputs``.
        norm: ``"linf"`` or ``"l2"``.
        queries: forward passes of each sample beside the clean one.
        p_init: share of the sample that the first windows cover, between 0 and 1.
        bounds: range of valid inputs, kept by every query, or ``None``.
        generator: source of the randomness; the global one of torch by default.

    Returns:
        For each sample the first misclassified query, or the one with the highest margin where there
        is none.

    Raises:
        TypeError, ValueError: if an argument does not fit; the message says what was expected.

    Source:
        Andriushchenko et al., Square Attack: a Query-Efficient Black-Box Adversarial Attack via
        Random Search, ECCV 2020.
    """
    checked_count("queries", queries, at_least=1)
    if not 0 < p_init <= 1:
        raise ValueError(f"expected p_init to lie between 0 and 1, got {p_init!r}")
    geometry = get_norm(norm)
    if geometry.name not in _RULES:
        raise ValueError(f"expected norm to be one of {sorted(_RULES)}, got {geometry.name!r}")
    start, change = _RULES[geometry.name]
    inputs, labels = checked_inputs(inputs, labels, bounds)
    radius = checked_radius("eps", eps, inputs)
    if inputs.ndim > 5:
        raise ValueError(
            "expected inputs (N, D), or (N, C, *) with one to three spatial dimensions, "
            f"got {tuple(inputs.shape)}"
        )
    images = inputs[:, None] if inputs.ndim == 2 else inputs

    @torch.no_grad()
    def search(classify: Classify, correct: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        clean, targets, eps = images[correct], labels[correct], radius[correct]
        found, crossed = clean.clone(), torch.zeros_like(targets, dtype=torch.bool)
        places = torch.arange(len(clean), device=clean.device)
        best, height = clean, torch.full_like(eps, -torch.inf)
        query = clipped(clean + start(clean, eps, generator), bounds)
        for number in range(1, queries + 1):
            logits = finite_logits(classify(query.reshape(-1, *inputs.shape[1:])))
            value, wrong = hard_margin(logits, targets), logits.argmax(dim=1) != targets
            higher = (value > height) | wrong
            best = torch.where(per_sample(higher, best), query, best)
            height = torch.where(higher, value, height)
            found[places], crossed[places] = best, wrong
            if wrong.all():
                break
            if wrong.any():
                places, clean, targets, eps, best, height = (
                    part[~wrong] for part in (places, clean, targets, eps, best, height)
                )
            share = p_init / 2 ** sum(number / queries > halved for halved in _HALVED_AT)
            query = change(clean, best, eps, share, bounds, generator)
        return found.reshape(-1, *inputs.shape[1:]), crossed

    return search_correct(model, inputs, labels, geometry, search)


def _stripes(clean: Tensor, eps: Tensor, generator: torch.Generator | None) -> Tensor:
    along = [] if clean.ndim == 3 else [1]
    signs = _signs(clean, [*along, *clean.shape[2 + len(along) :]], generator)
    return (per_sample(eps, clean) * signs).expand_as(clean)


def _signed_window(
    clean: Tensor,
    best: Tensor,
    eps: Tensor,
    share: float,
    bounds: Bounds | None,
    generator: torch.Generator | None,
) -> Tensor:
    window, _ = random_window(best, _side(share, best), generator)
    delta = per_sample(eps, best) * _signs(best, [1] * (best.ndim - 2), generator)
    query = torch.where(window, clipped(clean + delta, bounds), best)
    unchanged = per_sample((query == best).flatten(1).all(dim=1), best)
    return torch.where(window & unchanged, clipped(clean - delta, bounds), query)


def _chequerboard(clean: Tensor, eps: Tensor, generator: torch.Generator | None) -> Tensor:
    tiles = _signs(clean, [5] * (clean.ndim - 2), generator)
    signs = F.interpolate(tiles, size=clean.shape[2:], mode="nearest")
    return per_sample(eps, clean) * L2().direction(signs)


def _moved_norm(
    clean: Tensor,
    best: Tensor,
    eps: Tensor,
    share: float,
    bounds: Bounds | None,
    generator: torch.Generator | None,
) -> Tensor:
    norm, delta, side = L2(), best - clean, max(3, _side(share, best))
    to, ring = random_window(best, side, generator)
    away, _ = random_window(best, side, generator)
    # In ring r around the middle: 1 / (r + 1)^2 + ... + 1 / (side // 2 + 1)^2.
    terms = torch.arange(1, side // 2 + 2, device=best.device).to(best) ** -2
    bump = terms.flip(0).cumsum(0).flip(0)[ring.long().clamp(max=side // 2)] * to
    signs = _signs(best, [1] * (best.ndim - 2), generator)
    shape = _unit(signs * _unit(bump) + _unit(delta * to))
    unspent = (eps.square() - norm.length(delta).square()).clamp(min=0) / best.shape[1]
    spent = (delta * (to | away)).square().sum(dim=_spatial(best), keepdim=True)
    moved = delta * ~(to | away) + shape * (spent + per_sample(unspent, best)).sqrt()
    return clipped(clean + norm.project(moved, eps), bounds)


def _side(share: float, images: Tensor) -> int:
    """Side of the cube with this share of an image's volume."""
    volume = share * math.prod(images.shape[2:])
    return max(1, round(math.pow(volume, 1 / (images.ndim - 2))))


def random_window(
    images: Tensor, side: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """A window of each image, ``(N, 1, *)`` bool, and how far from its middle each place lies.

    No side is longer than the image's. The distance is the largest one along a dimension.
    """
    window = torch.ones((), dtype=torch.bool, device=images.device)
    ring = torch.zeros((), dtype=images.dtype, device=images.device)
    for dim, size in enumerate(images.shape[2:], start=2):
        length = min(side, size)
        draw = torch.rand(len(images), 1, generator=generator, device=images.device)
        middle = (draw * (size - length + 1)).floor() + (length - 1) / 2
        distance = (torch.arange(size, device=images.device) - middle).abs().to(images)
        distance = distance.reshape(-1, *(size if d == dim else 1 for d in range(1, images.ndim)))
        window = window & (distance < length / 2)
        ring = ring.maximum(distance)
    return window, ring


def _signs(images: Tensor, shape: list[int], generator: torch.Generator | None) -> Tensor:
    """-1 or 1 at random for each channel, ``(N, C, *shape)``."""
    draw = torch.rand(*images.shape[:2], *shape, generator=generator, device=images.device)
    return torch.where(draw < 0.5, -1, 1).to(images)


def _unit(images: Tensor) -> Tensor:
    """Each channel scaled to an L2 length of one, or zero as it is."""
    length = torch.linalg.vector_norm(images, dim=_spatial(images), keepdim=True)
    return images / torch.where(length == 0, 1, length)


def _spatial(images: Tensor) -> tuple[int, ...]:
    return tuple(range(2, images.ndim))


_Start: TypeAlias = Callable[[Tensor, Tensor, torch.Generator | None], Tensor]
_Change: TypeAlias = Callable[
    [Tensor, Tensor, Tensor, float, Bounds | None, torch.Generator | None], Tensor
]
_RULES: dict[str, tuple[_Start, _Change]] = {
    "linf": (_stripes, _signed_window),
    "l2": (_chequerboard, _moved_norm),
}
