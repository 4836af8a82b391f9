"""Means over an epoch of what a step hands out, without a wait for the device at each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor


class MeansOverSamples(Metric):
    """The mean of each of a batch's scalars over the samples of an epoch, of all processes.

    Args:
        names: of the scalars in the output of a step.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(output_transform=self._scalars)

    @reinit__is_reduced
    def reset(self) -> None:
        self._sums: Tensor | float = 0.0
        self._count = 0

    def _scalars(self, output: Any) -> tuple[Tensor, int]:
        """Of a batch, or of its samples one by one, each of which carries the batch's."""
        whole = isinstance(output, dict)
        scalars, count = (output, len(output[Keys.LABEL])) if whole else (output[0], len(output))
        values = [torch.as_tensor(scalars[name]).detach() for name in self.names]
        return torch.stack(values), count

    @reinit__is_reduced
    def update(self, output: tuple[Tensor, int]) -> None:
        """Take a batch's scalars, and its number of samples."""
        values, count = output
        self._sums = self._sums + values * count
        self._count += count

    @sync_all_reduce("_sums", "_count")
    def compute(self) -> dict[str, float]:
        if self._count == 0:
            raise ValueError("expected samples in an epoch, got none")
        means = torch.as_tensor(self._sums) / self._count
        return dict(zip(self.names, means.tolist(), strict=True))

    def completed(self, engine: Engine, name: str) -> None:
        """Put each mean into the engine's metrics, under its name after ``name``."""
        if isinstance(self._sums, Tensor):
            self._sums = self._sums.cpu()  # what processes tell one another is on the CPU
        for each, mean in self.compute().items():
            engine.state.metrics[name + each] = mean
