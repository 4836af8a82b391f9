"""Conditions on values in tensors: asked at once, or written down where nobody may wait for a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_books: list[list[Tensor]] = []


def require(holds: Tensor, error: Callable[[], Exception]) -> None:
    """Raise an error unless a condition holds.

    To ask makes the host wait for the device, which cannot be while a CUDA graph is captured: inside
    :func:`written_down` the answer is left to whoever asks there.

    Args:
        holds: bool ``()``.
        error: makes the error, and may ask the device what it is to say.
    """
    if _books:
        _books[-1].append(holds)
    elif not holds:
        raise error()


@contextmanager
def written_down() -> Iterator[list[Tensor]]:
    """Write down in the list what :func:`require` was to see to, a bool ``()`` each."""
    book: list[Tensor] = []
    _books.append(book)
    try:
        yield book
    finally:
        _books.pop()


def any_fault(book: list[Tensor], like: Tensor) -> Tensor:
    """Whether anything was written down that does not hold, a bool ``()`` on the device of ``like``."""
    if not book:
        return torch.zeros((), dtype=torch.bool, device=like.device)
    return ~torch.stack([holds.to(like.device) for holds in book]).all()
