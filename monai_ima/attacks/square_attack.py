"""Square: a black-box attack that changes one random window at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from monai_ima.attacks.base import (
    Bounds,
    Classify,
    Model,
    checked_index,
    checked_inputs,
    checked_radius,
)
from monai_ima.attacks.draws import SampleDraws, drawn_seed
from monai_ima.attacks.forms import clean_pass, search
from monai_ima.attacks.norms import L2, Norm, get_norm, per_sample
from monai_ima.attacks.pgd_attack import clipped
from monai_ima.attacks.result import AttackResult
from monai_ima.attacks.rows import Rows
from monai_ima.counts import checked_count
from monai_ima.losses import hard_margin

_HALVED_AT = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # of the queries
_AT_ONCE = 50  # queries whose random numbers are drawn together


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
    index: Tensor | None = None,
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
        index: ``(N,)`` numbers of the samples, on which what is random depends; by default their
            places in the batch.
        generator: source of the seed; torch's global one on the CPU by default.

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
    inputs, labels = checked_inputs(inputs, labels, bounds)
    radius = checked_radius("eps", eps, inputs)
    if inputs.ndim > 5:
        raise ValueError(
            "expected inputs (N, D), or (N, C, *) with one to three spatial dimensions, "
            f"got {tuple(inputs.shape)}"
        )
    function = partial(_square, norm=geometry, queries=queries, p_init=p_init, bounds=bounds)
    seed = torch.as_tensor(drawn_seed(generator), device=inputs.device)
    known = radius, checked_index(index, inputs), seed
    return search(model, geometry, function, inputs, labels, *known)


@torch.no_grad()
def _square(
    classify: Classify,
    rows: Rows,
    inputs: Tensor,
    labels: Tensor,
    radius: Tensor,
    index: Tensor,
    seed: Tensor,
    *,
    norm: Norm,
    queries: int,
    p_init: float,
    bounds: Bounds | None,
) -> AttackResult:
    start, change = _RULES[norm.name]
    correct, labels, _ = clean_pass(classify, rows, inputs, labels)
    found, crossed = inputs.clone(), ~correct
    rows = rows.of(correct)
    if not rows.any():
        return AttackResult(found, crossed, norm.length(found - inputs))
    clean, targets, eps, names = map(rows.read, (inputs, labels, radius, index))
    clean = clean[:, None] if clean.ndim == 2 else clean
    best, height = clean, torch.full_like(eps, -torch.inf)
    numbers = SampleDraws(seed, names, stream=1).uniform(clean)
    query = clipped(clean + start(clean, eps, numbers), bounds)
    for number in range(queries):
        logits = rows.finite(classify(query.reshape(-1, *inputs.shape[1:])))
        value, wrong = hard_margin(logits, targets), logits.argmax(dim=1) != targets
        higher = (value > height) | wrong
        best = torch.where(per_sample(higher, best), query, best)
        height = torch.where(higher, value, height)
        rows.write(found, best.reshape(-1, *inputs.shape[1:]))
        rows.mark(crossed, wrong)
        if not rows.any(~wrong):
            break
        if number % _AT_ONCE == 0:
            numbers = _numbers(clean, SampleDraws(seed, names, number))
        clean, targets, eps, best, height, names, numbers = rows.keep(
            ~wrong, clean, targets, eps, best, height, names, numbers
        )
        share = p_init / 2 ** sum((number + 1) / queries > halved for halved in _HALVED_AT)
        query = change(clean, best, eps, share, bounds, numbers[:, number % _AT_ONCE])
    return AttackResult(found, crossed, norm.length(found - inputs))


def _numbers(images: Tensor, draws: SampleDraws) -> Tensor:
    """What the next queries need at random: two windows' places, and a sign of each channel."""
    needed = 2 * (images.ndim - 2) + images.shape[1]
    return draws.uniform(images.new_empty(len(images), _AT_ONCE, needed))


def _stripes(clean: Tensor, eps: Tensor, numbers: Tensor) -> Tensor:
    along = numbers if clean.ndim == 3 else numbers[:, :, :1]
    return (per_sample(eps, clean) * _signs(along)).expand_as(clean)


def _signed_window(
    clean: Tensor, best: Tensor, eps: Tensor, share: float, bounds: Bounds | None, numbers: Tensor
) -> Tensor:
    place, _, signs = _parts(numbers, best)
    window, _ = random_window(best, _side(share, best), place)
    delta = per_sample(eps, best) * signs
    query = torch.where(window, clipped(clean + delta, bounds), best)
    unchanged = per_sample((query == best).flatten(1).all(dim=1), best)
    return torch.where(window & unchanged, clipped(clean - delta, bounds), query)


def _chequerboard(clean: Tensor, eps: Tensor, numbers: Tensor) -> Tensor:
    tiles = _signs(F.interpolate(numbers, size=(5,) * (clean.ndim - 2), mode="nearest"))
    signs = F.interpolate(tiles, size=clean.shape[2:], mode="nearest")
    return per_sample(eps, clean) * L2().direction(signs)


def _moved_norm(
    clean: Tensor, best: Tensor, eps: Tensor, share: float, bounds: Bounds | None, numbers: Tensor
) -> Tensor:
    norm, delta, side = L2(), best - clean, max(3, _side(share, best))
    place, other_place, signs = _parts(numbers, best)
    to, ring = random_window(best, side, place)
    away, _ = random_window(best, side, other_place)
    # In ring r around the middle: 1 / (r + 1)^2 + ... + 1 / (side // 2 + 1)^2.
    terms = torch.arange(1, side // 2 + 2, device=best.device).to(best) ** -2
    bump = terms.flip(0).cumsum(0).flip(0)[ring.long().clamp(max=side // 2)] * to
    shape = _unit(signs * _unit(bump) + _unit(delta * to))
    unspent = (eps.square() - norm.length(delta).square()).clamp(min=0) / best.shape[1]
    spent = (delta * (to | away)).square().sum(dim=_spatial(best), keepdim=True)
    moved = delta * ~(to | away) + shape * (spent + per_sample(unspent, best)).sqrt()
    return clipped(clean + norm.project(moved, eps), bounds)


def _side(share: float, images: Tensor) -> int:
    """Side of the cube with this share of an image's volume."""
    volume = share * math.prod(images.shape[2:])
    return max(1, round(math.pow(volume, 1 / (images.ndim - 2))))


def random_window(images: Tensor, side: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """A window of each image, ``(N, 1, *)`` bool, and how far from its middle each place lies.

    No side is longer than the image's. The distance is the largest one along a dimension. Where it
    lies is said by ``numbers`` from [0, 1), one a dimension, ``(N, dimensions)``.
    """
    window = torch.ones((), dtype=torch.bool, device=images.device)
    ring = torch.zeros((), dtype=images.dtype, device=images.device)
    for dim, size in enumerate(images.shape[2:], start=2):
        length = min(side, size)
        draw = numbers[:, dim - 2, None]
        middle = (draw * (size - length + 1)).floor() + (length - 1) / 2
        distance = (torch.arange(size, device=images.device) - middle).abs().to(images)
        distance = distance.reshape(-1, *(size if d == dim else 1 for d in range(1, images.ndim)))
        window = window & (distance < length / 2)
        ring = ring.maximum(distance)
    return window, ring


def _parts(numbers: Tensor, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers for two windows ``(N, dimensions)`` and a sign of each channel ``(N, C, 1, ...)``."""
    dimensions = images.ndim - 2
    place, other_place, rest = numbers.split([dimensions, dimensions, images.shape[1]], dim=1)
    return place, other_place, _signs(rest.reshape(*images.shape[:2], *(1,) * dimensions))


def _signs(numbers: Tensor) -> Tensor:
    """-1 or 1 for numbers from [0, 1)."""
    return torch.where(numbers < 0.5, -1, 1).to(numbers)


def _unit(images: Tensor) -> Tensor:
    """Each channel scaled to an L2 length of one, or zero as it is."""
    length = torch.linalg.vector_norm(images, dim=_spatial(images), keepdim=True)
    return images / torch.where(length == 0, 1, length)


def _spatial(images: Tensor) -> tuple[int, ...]:
    return tuple(range(2, images.ndim))


_Start: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
_Change: TypeAlias = Callable[[Tensor, Tensor, Tensor, float, Bounds | None, Tensor], Tensor]
_RULES: dict[str, tuple[_Start, _Change]] = {
    "linf": (_stripes, _signed_window),
    "l2": (_chequerboard, _moved_norm),
}
