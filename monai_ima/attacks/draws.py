"""Random numbers from a counter: each is a hash of a seed, a sample, a draw and an element."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

# SplitMix64's increment and multipliers, as signed numbers: those of torch, which wrap around.
_INCREMENT = 0x9E3779B97F4A7C15 - 2**64
_MULTIPLIERS = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))

_given: list[Iterator[Tensor]] = []


class SampleDraws(NamedTuple):
    """The random numbers of each sample of a batch.

    They depend on what is named here alone: they are the same in whatever batch and order a sample
    comes, on every device and in every process, and there is no state between two calls.

    Attributes:
        seed: of all samples.
        sample: ``(N,)`` numbers of the samples.
        draw: which of a sample's draws it is, such as a restart: a number, or one of each sample
            ``(N,)``.
        stream: what is drawn, where a draw needs numbers for several things.

    Source:
        Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
    """

    seed: int | Tensor
    sample: Tensor
    draw: int | Tensor = 0
    stream: int = 0

    def uniform(self, like: Tensor) -> Tensor:
        """Numbers from [0, 1) for each sample, shaped ``like`` ``(N, *)``."""
        wide = like.dtype == torch.float64
        count = math.prod(like.shape[1:])
        return self._fractions(count, 53 if wide else 24, wide).view_as(like).to(like)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers for each sample, shaped ``like`` ``(N, *)``.

        By Box and Muller's method, in float64: devices differ in a logarithm's last places, which are
        rounded off in float32.
        """
        count = math.prod(like.shape[1:])
        first, second = self._fractions(2 * math.ceil(count / 2), 53, wide=True).chunk(2, dim=1)
        radius, angle = (-2 * (1 - first).log()).sqrt(), 2 * math.pi * second
        both = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
        return both[:, :count].reshape(like.shape).to(like)

    def _fractions(self, count: int, bits: int, wide: bool) -> Tensor:
        """``(N, count)`` multiples of ``2 ** -bits`` from [0, 1)."""
        words: Tensor = torch.zeros_like(self.sample, dtype=torch.int64)
        for name in (self.seed, self.sample, self.draw, self.stream):
            words = _hashed(words + name + _INCREMENT)
        elements = torch.arange(1, count + 1, device=words.device) * _INCREMENT
        words = _hashed(words[:, None] + elements)
        fractions = _shifted(words, 64 - bits).to(torch.float64 if wide else torch.float32)
        return fractions * 2.0**-bits


def drawn_seed(generator: torch.Generator | None) -> int | Tensor:
    """A seed from a generator, torch's global one on the CPU by default.

    Inside :func:`seeds_given`, one of those, a tensor ``()``.
    """
    if generator is not None or not _given:
        return _seed(generator)
    seed = next(_given[-1], None)
    if seed is None:
        raise RuntimeError("more random starts are drawn than at the first time")
    return seed


def _seed(generator: torch.Generator | None) -> int:
    device = "cpu" if generator is None else generator.device
    return int(torch.randint(2**63 - 1, (), generator=generator, device=device))


def drawn_seeds(count: int, device: torch.device | str = "cpu") -> Tensor:
    """As many seeds ``(count,)`` as so many calls of :func:`drawn_seed` would draw."""
    seeds = torch.empty(count, dtype=torch.int64, device=device)
    for seed in seeds:
        seed.fill_(_seed(None))  # a copy from the CPU would wait for the device
    return seeds


def other_generators() -> tuple[object, ...]:
    """The states of Python's and NumPy's global generators, from which a network may draw."""
    numpy = sys.modules.get("numpy")  # of use to nobody where nobody imported it
    if numpy is None:
        return (random.getstate(),)
    _, words, *rest = numpy.random.get_state()
    return random.getstate(), words.tobytes(), *rest


@contextmanager
def seeds_given(seeds: Iterator[Tensor]) -> Iterator[None]:
    """Inside, attacks take their seeds from these, as where they are captured as a CUDA graph."""
    _given.append(seeds)
    try:
        yield
    finally:
        _given.pop()


def _hashed(words: Tensor) -> Tensor:
    """SplitMix64's mixing of each word."""
    for bits, multiplier in _MULTIPLIERS:
        words = words.bitwise_xor(_shifted(words, bits)) * multiplier
    return words.bitwise_xor(_shifted(words, 31))


def _shifted(words: Tensor, bits: int) -> Tensor:
    """To the right, with zeros from the left: torch repeats the sign."""
    return words.bitwise_right_shift(bits).bitwise_and(2 ** (64 - bits) - 1)
