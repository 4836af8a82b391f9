"""What each of several processes takes of the batches of a data loader."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from monai.data.utils import set_rnd
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from monai_ima.distributed import processes, rank, same_draws

_APART = 7_919  # between the seeds of two processes' transforms


class SharedBatches(DataLoader[Any]):
    """Each process's share of every batch: all shares together are the batch of one process.

    Shares of a batch differ by one sample at most, and every process has as many batches as the
    others. For a batch with fewer samples than there are processes, some get one of its samples that
    is another's, to keep step.

    To each batch, a mapping, ``share`` is added: how much of a mean over its samples counts in the
    mean over the processes. It is 1 where all have the same number of samples, and 0 for a sample
    that is another's.

    Args:
        data_loader: of one process, of whatever sampling; each process is to have the same.

    Raises:
        TypeError: if its data set has no samples to choose from, as an ``IterableDataset``.
    """

    def __init__(self, data_loader: DataLoader[Any]) -> None:
        self._shares = _Shares(_batch_sampler(data_loader))
        super().__init__(**_with_batches(data_loader, self._shares))

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]  # the same, read-only
        self._shares.of_batches.clear()
        for batch in super().__iter__():
            if not isinstance(batch, Mapping):
                raise TypeError(f"expected batches by name, got {type(batch).__name__}")
            yield {**batch, "share": self._shares.of_batches.popleft()}


class _Shares:
    """The rows that this process takes of each batch, which all processes draw alike."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches
        self.of_batches: deque[float] = deque()  # as they are drawn, ahead of the data

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        same_draws()
        return self._of(iter(self.batches))  # begun here: it may draw before the loader itself does

    def _of(self, batches: Iterator[Any]) -> Iterator[Any]:
        for rows in batches:
            own = rows[rank() :: processes()]
            self.of_batches.append(len(own) * processes() / len(rows))
            yield own if len(own) else rows[:1]


def share_of_samples(data_loader: Iterable[Any]) -> Iterable[Any]:
    """A loader of this process's share of the samples that a loader goes through.

    Each sample is one process's. All of them have about as many, but may have more or fewer batches
    than others.

    Args:
        data_loader: of one process, which gives the same samples in every epoch. In one process it
            is handed back.

    Raises:
        TypeError: if it is no ``DataLoader``, or its data set has no samples to choose from.
        ValueError: if it has fewer samples than there are processes.
    """
    if processes() == 1:
        return data_loader
    if not isinstance(data_loader, DataLoader):
        raise TypeError(f"expected a DataLoader, got {type(data_loader).__name__}")
    same_draws()
    batches = list(_batch_sampler(data_loader))
    if not batches or max(map(len, batches)) < processes():
        raise ValueError(
            f"expected batches of at least as many samples as the {processes()} processes, got "
            f"{max(map(len, batches), default=0)}; start fewer processes, or take larger batches"
        )
    own = [rows[rank() :: processes()] for rows in batches]
    return DataLoader(**_with_batches(data_loader, [rows for rows in own if len(rows)]))


def _batch_sampler(data_loader: DataLoader[Any]) -> Any:
    """What gives the rows of one batch after the other."""
    if isinstance(data_loader.dataset, IterableDataset):
        raise TypeError(
            "expected a data set whose samples have a number, got an IterableDataset, of which "
            "processes cannot each take a share; use a map-style data set"
        )
    if data_loader.batch_sampler is None:  # whose sampler gives batches
        return data_loader.sampler
    return data_loader.batch_sampler


def _with_batches(data_loader: DataLoader[Any], batches: Any) -> dict[str, Any]:
    """The arguments of a loader that is like another, of these batches of rows."""
    has_workers = data_loader.num_workers > 0
    return {
        "dataset": data_loader.dataset,
        **(
            {"batch_size": None, "sampler": batches}
            if data_loader.batch_sampler is None
            else {"batch_sampler": batches}
        ),
        "num_workers": data_loader.num_workers,
        "collate_fn": data_loader.collate_fn,
        "pin_memory": data_loader.pin_memory,
        "timeout": data_loader.timeout,
        "worker_init_fn": (
            partial(_start_worker, data_loader.worker_init_fn, rank()) if has_workers else None
        ),
        "multiprocessing_context": data_loader.multiprocessing_context,
        "prefetch_factor": data_loader.prefetch_factor,
        "persistent_workers": data_loader.persistent_workers,
    }


def _start_worker(start: Any, of_rank: int, worker: int) -> None:
    """As the loader has it, and then random transforms that draw otherwise in each process."""
    if start is not None:
        start(worker)
    about = get_worker_info()
    if of_rank and about is not None:
        set_rnd(about.dataset, transforms_seed(about.seed, of_rank))


def transforms_seed(seed: int, of_rank: int) -> int:
    """The seed of a process's random transforms, which for the first one is that of the run."""
    return seed + _APART * of_rank
