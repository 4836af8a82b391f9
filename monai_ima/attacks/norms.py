"""The geometry of an attack: what a ball, a step and a distance are in a norm."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from monai_ima.attacks.draws import SampleDraws


class Norm(Protocol):
    """A norm on perturbations ``delta`` of shape ``(N, *)``; radii ``eps`` have shape ``(N,)``."""

    name: str

    def length(self, delta: Tensor) -> Tensor:
        """Norm of each perturbation, ``(N,)``."""
        ...

    def direction(self, gradient: Tensor) -> Tensor:
        """Perturbation of norm one that climbs ``gradient`` fastest; zero where it is exactly zero."""
        ...

    def project(self, delta: Tensor, eps: Tensor) -> Tensor:
        """Closest perturbation inside the ball of radius ``eps``."""
        ...

    def uniform(self, like: Tensor, eps: Tensor, draws: SampleDraws) -> Tensor:
        """Perturbation drawn uniformly from the ball of radius ``eps``, shaped ``like``."""
        ...


class Linf:
    """Largest absolute component."""

    name = "linf"

    def length(self, delta: Tensor) -> Tensor:
        return delta.flatten(1).abs().amax(dim=1)

    def direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def project(self, delta: Tensor, eps: Tensor) -> Tensor:
        eps = per_sample(eps, delta)
        return delta.clamp(-eps, eps)

    def uniform(self, like: Tensor, eps: Tensor, draws: SampleDraws) -> Tensor:
        return (2 * draws.uniform(like) - 1) * per_sample(eps, like)


class L2:
    """Euclidean length."""

    name = "l2"

    def length(self, delta: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
        return length

    def direction(self, gradient: Tensor) -> Tensor:
        # Scaled by its largest component first: the squares of a tiny gradient underflow.
        largest = per_sample(gradient.flatten(1).abs().amax(dim=1), gradient)
        scaled = gradient / torch.where(largest == 0, 1, largest)
        length = per_sample(self.length(scaled), scaled)
        return scaled / torch.where(length == 0, 1, length)

    def project(self, delta: Tensor, eps: Tensor) -> Tensor:
        length = self.length(delta)
        inside = length <= eps
        shrink = torch.where(inside, 1, eps / torch.where(inside, 1, length))
        return delta * per_sample(shrink, delta)

    def uniform(self, like: Tensor, eps: Tensor, draws: SampleDraws) -> Tensor:
        # The direction of a Gaussian is uniform; a radius u^(1/d) makes the volume uniform.
        dimensions = max(1, math.prod(like.shape[1:]))
        shares = draws._replace(stream=draws.stream + 1).uniform(eps[:, None])[:, 0]
        radius = eps * shares ** (1 / dimensions)
        return self.direction(draws.normal(like)) * per_sample(radius, like)


_NORMS: dict[str, Norm] = {"linf": Linf(), "l2": L2()}


def get_norm(norm: Norm | str) -> Norm:
    """Look a norm up by its name, ``"linf"`` or ``"l2"``; a norm itself is handed back.

    Raises:
        ValueError: if no norm has that name.
    """
    if isinstance(norm, str) and norm in _NORMS:
        return _NORMS[norm]
    if isinstance(norm, str) or not hasattr(norm, "project"):
        raise ValueError(f"expected norm to be one of {sorted(_NORMS)}, got {norm!r}")
    return norm


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Shape ``(N,)`` values so that they broadcast over the trailing dimensions of ``like``."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))
