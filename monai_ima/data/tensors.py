"""Data sets that fit into memory as one tensor: a batch is one indexing operation."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from monai_ima.counts import checked_count

Sampling: TypeAlias = Literal["sequential", "shuffled", "balanced"]


class TensorSamples(Dataset[dict[str, Tensor]]):
    """Samples as tensors on one device, indexed by a whole batch at a time.

    Args:
        inputs: ``(N, C, *)``.
        labels: ``(N,)`` class indices.
        ids: a name for each sample, for reports.
        patients: the patient of each sample, where patients are known.
        device: where the tensors are to be.

    Raises:
        ValueError: if there is no sample, or the numbers of inputs, labels and names differ.
    """

    def __init__(
        self,
        inputs: Tensor,
        labels: Tensor,
        *,
        ids: list[str],
        patients: list[str] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        counts = [len(inputs), len(labels), len(ids), len(ids if patients is None else patients)]
        if counts[0] == 0 or len(set(counts)) > 1:
            raise ValueError(
                "expected as many labels, ids and patients as inputs, and at least one, got "
                f"{', '.join(map(str, counts))}"
            )
        self.inputs = inputs.to(device)
        self.labels = labels.to(device)
        self.ids = ids
        self.patients = patients

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Tensor) -> dict[str, Tensor]:
        """Batch of the samples ``rows`` ``(B,)``, as MONAI's engines take it, with their index."""
        rows = rows.to(self.labels.device)
        return {"image": self.inputs[rows], "label": self.labels[rows], "index": rows}

    @property
    def samples(self) -> list[dict[str, Any]]:
        """What is known of each sample, as a MONAI datalist has it, without the input."""
        columns = {"id": self.ids, "label": self.labels.tolist()}
        if self.patients is not None:
            columns["patient"] = self.patients
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@dataclass(frozen=True, eq=False)
class TensorDatalist:
    """Training, validation and test samples.

    Attributes:
        training: what a network learns from; a sample's place here is its key in a margin store.
        validation: what settings and checkpoints are chosen by.
        test: what results are reported on.
        classes: names of the classes.
        warning: what a reader of the results has to know; empty if nothing.
        test_shares: how frequent each class is where the test samples were drawn from, if that may
            not be how frequent it is among them.
    """

    training: TensorSamples
    validation: TensorSamples
    test: TensorSamples
    classes: tuple[str, ...]
    warning: str = ""
    test_shares: tuple[float, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Digest of the training samples; a checkpoint belongs to them and to no others."""
        digest = hashlib.sha256(repr(tuple(self.training.inputs.shape)).encode())
        for values in (self.training.inputs, self.training.labels):
            digest.update(values.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


class BatchSampler(Sampler[Tensor]):
    """Rows of one batch after another, for a ``DataLoader`` with ``batch_size=None``.

    Args:
        labels: ``(N,)`` class indices of the samples to choose from.
        batch_size: rows of a batch; the last one may have fewer.
        sampling: ``"sequential"``, each sample once in the order given, ``"shuffled"``, each once
            in random order, or ``"balanced"``, up-sampled at random so that every class has the
            same number: each sample comes as often as any other of its class, or once more.
        epoch_size: samples of an epoch, by default all; if balanced, by default as many of each
            class as the largest has. A smaller number is a new random choice in every epoch.

    Randomness is torch's global generator.

    Raises:
        ValueError: if an argument does not fit.
    """

    def __init__(
        self,
        labels: Tensor,
        batch_size: int,
        *,
        sampling: Sampling = "sequential",
        epoch_size: int | None = None,
    ) -> None:
        if sampling not in get_args(Sampling):
            raise ValueError(f"expected sampling to be one of {get_args(Sampling)}, got {sampling}")
        for name, value in {"batch_size": batch_size, "epoch_size": epoch_size}.items():
            if value is not None:
                checked_count(name, value, at_least=1)
        if sampling == "sequential" and epoch_size is not None:
            raise ValueError(
                "expected no epoch_size with sequential samples, which are all taken once; leave "
                "it out, or choose shuffled or balanced"
            )
        if sampling == "shuffled" and epoch_size is not None and epoch_size > len(labels):
            raise ValueError(
                f"expected an epoch_size of at most the {len(labels)} samples that there are, got "
                f"{epoch_size}; more are drawn with balanced only"
            )
        self.batch_size = batch_size
        self.sampling = sampling
        labels = labels.cpu()
        self._rows = torch.arange(len(labels))
        self._classes = [(labels == label).nonzero()[:, 0] for label in labels.unique()]
        largest = max(map(len, self._classes)) * len(self._classes)
        self.epoch_size = epoch_size or (largest if sampling == "balanced" else len(labels))

    def __len__(self) -> int:
        return math.ceil(self.epoch_size / self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        match self.sampling:
            case "sequential":
                rows = self._rows
            case "shuffled":
                rows = _permuted(self._rows)
            case "balanced":
                each = math.ceil(self.epoch_size / len(self._classes))
                chosen = [_drawn(rows, each) for rows in self._classes]
                rows = _permuted(torch.cat(chosen))
        return iter(rows[: self.epoch_size].split(self.batch_size))


def batches(
    samples: TensorSamples,
    batch_size: int,
    *,
    sampling: Sampling = "sequential",
    epoch_size: int | None = None,
) -> DataLoader[dict[str, Tensor]]:
    """Batches of samples, each one indexing operation.

    Args:
        samples: to choose from.
        batch_size: samples of a batch; the last one may have fewer.
        sampling: which samples, and in what order, see :class:`BatchSampler`.
        epoch_size: samples of an epoch, see there.

    Raises:
        ValueError: if an argument does not fit.
    """
    sampler = BatchSampler(samples.labels, batch_size, sampling=sampling, epoch_size=epoch_size)
    return DataLoader(samples, batch_size=None, sampler=sampler)


def _permuted(rows: Tensor) -> Tensor:
    return rows[torch.randperm(len(rows))]


def _drawn(rows: Tensor, count: int) -> Tensor:
    """That many of the rows at random, each as often as any other or once more."""
    rounds = math.ceil(count / len(rows))
    return torch.cat([_permuted(rows) for _ in range(rounds)])[:count]
