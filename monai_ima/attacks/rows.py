"""Which samples of a batch an attack still works on, in two forms of one loop.

On a CPU a sample that is done leaves the batch, which saves its passes. On a GPU a batch of another
size is new memory and new kernels, and to ask how many are left makes the host wait: there the batch
keeps its shape, and what would happen to a sample that is done is thrown away. An attack is written
once, against :class:`Rows`, and finds the same in both.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from monai_ima.attacks.base import finite_logits, fitting_labels
from monai_ima.attacks.norms import per_sample
from monai_ima.faults import require


class Rows(Protocol):
    """The samples of a batch ``(N,)`` that are worked on, in ``M`` rows.

    What is said of the whole batch has ``N`` samples; what the attack computes has ``M``.
    """

    def of(self, chosen: Tensor) -> Rows:
        """Those of the samples ``(N,)`` bool of the whole batch that the attack is for."""
        ...

    def any(self, going_on: Tensor | None = None) -> bool:
        """Whether there may be any, or any of these ``(M,)`` bool."""
        ...

    def read(self, batch: Tensor) -> Tensor:
        """Their part ``(M, *)`` of something ``(N, *)``."""
        ...

    def write(self, batch: Tensor, values: Tensor, where: Tensor | None = None) -> None:
        """Put their values ``(M, *)``, or those ``where`` ``(M,)`` bool, into something ``(N, *)``."""
        ...

    def mark(self, batch: Tensor, where: Tensor) -> None:
        """Put ``True`` into something ``(N,)`` for those ``where`` ``(M,)`` bool."""
        ...

    def keep(self, going_on: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        """Work on with those ``(M,)`` bool only; their part of each of these ``(M, *)``."""
        ...

    def done(self, like: Tensor) -> Tensor:
        """Those ``(N,)`` bool that were worked on at first and are not any more; ``like`` is ``(N, *)``."""
        ...

    def finite(self, logits: Tensor) -> Tensor:
        """Hand back logits ``(M, C)``; the attack fails if they are not finite."""
        ...

    def fitting(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Hand back labels ``(M,)``; the attack fails if one names none of the logits' classes."""
        ...


class Shrinking:
    """What is done leaves: there are as many rows as samples."""

    def __init__(self, places: Tensor | None = None) -> None:
        self.places = places  # in the batch; all where there is none
        self._first = places

    def of(self, chosen: Tensor) -> Shrinking:
        return Shrinking(chosen.nonzero()[:, 0])

    def any(self, going_on: Tensor | None = None) -> bool:
        if going_on is not None:
            return bool(going_on.any())
        return self.places is None or len(self.places) > 0

    def read(self, batch: Tensor) -> Tensor:
        return batch if self.places is None else batch[self.places]

    def write(self, batch: Tensor, values: Tensor, where: Tensor | None = None) -> None:
        if where is not None:
            batch[self._of(where)] = values[where]
        elif self.places is None:
            batch.copy_(values)
        else:
            batch[self.places] = values

    def mark(self, batch: Tensor, where: Tensor) -> None:
        batch[self._of(where)] = True

    def keep(self, going_on: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        if going_on.all():
            return parts
        self.places = self._of(going_on)
        return tuple(part[going_on] for part in parts)

    def done(self, like: Tensor) -> Tensor:
        done = torch.zeros(len(like), dtype=torch.bool, device=like.device)
        done[slice(None) if self._first is None else self._first] = True
        done[slice(None) if self.places is None else self.places] = False
        return done

    def finite(self, logits: Tensor) -> Tensor:
        return finite_logits(logits)

    def fitting(self, labels: Tensor, logits: Tensor) -> Tensor:
        return fitting_labels(labels, logits)

    def _of(self, where: Tensor) -> Tensor:
        return where.nonzero()[:, 0] if self.places is None else self.places[where]


class FixedShape:
    """What is done stays, and is passed over: always ``M = N`` rows, and no question to the device.

    What goes wrong is written down, and ``sound`` tells at the end whether nothing did.
    """

    def __init__(self, chosen: Tensor, book: list[tuple[Tensor, Tensor]] | None = None) -> None:
        self.chosen = chosen  # (N,) bool
        self.working = chosen  # (N,) bool, those that are not done
        self._book = [] if book is None else book  # sums of logits, and of which samples they count

    @property
    def sound(self) -> Tensor:
        """A bool ``()``: whether all logits of samples that were worked on were finite."""
        if not self._book:
            return torch.ones_like(self.chosen[0])
        sums, counted = (torch.stack(part) for part in zip(*self._book, strict=True))
        return ((sums * 0 == 0) | ~counted).all()  # isfinite takes two kernels more

    def of(self, chosen: Tensor) -> FixedShape:
        return FixedShape(self.chosen & chosen, self._book)

    def any(self, going_on: Tensor | None = None) -> bool:  # noqa: ARG002  nobody asks
        return True

    def read(self, batch: Tensor) -> Tensor:
        return batch

    def write(self, batch: Tensor, values: Tensor, where: Tensor | None = None) -> None:
        mine = self.working if where is None else self.working & where
        torch.where(per_sample(mine, batch), values.detach(), batch, out=batch)

    def mark(self, batch: Tensor, where: Tensor) -> None:
        batch |= self.working & where

    def keep(self, going_on: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        self.working = self.working & going_on
        return parts

    def done(self, like: Tensor) -> Tensor:  # noqa: ARG002  as long as all of the batch
        return self.chosen & ~self.working

    def finite(self, logits: Tensor) -> Tensor:
        # A sum overflows at most where logits are as good as infinite; then the other form decides.
        self._book.append((logits.detach().sum(dim=1), self.working))
        return logits

    def fitting(self, labels: Tensor, logits: Tensor) -> Tensor:
        known = labels.clamp(0, logits.shape[1] - 1)  # by any other a CUDA kernel would fail
        require(
            (labels == known).all(), lambda: ValueError("expected labels of the logits' classes")
        )
        return known
