"""Batches of samples that transforms make: indexed where they lie on the device, or loaded one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import torch
from monai.data import CacheDataset, DataLoader
from monai.data.utils import list_data_collate
from monai.transforms import Compose, Randomizable, Transform
from monai.transforms.traits import RandomizableTrait
from torch import Tensor
from torch.utils.data import BatchSampler, Dataset, RandomSampler, Sampler, SequentialSampler

from monai_ima.data import tensors
from monai_ima.data.tensors import Sampling

Resident: TypeAlias = bool | Literal["auto"]

_SHARE = 0.5  # of the device's free memory that samples may take


class ResidentSamples(Dataset[dict[str, Any]]):
    """The samples of a data set, made once and kept on a device, indexed by a whole batch at a time.

    Args:
        dataset: of dictionaries, whose tensors have one shape.
        device: where the tensors are to be.

    Raises:
        ValueError: if shapes differ, naming both.
    """

    def __init__(self, dataset: Dataset[Any], device: torch.device) -> None:
        samples = [dataset[place] for place in range(len(dataset))]  # type: ignore[arg-type]  # map-style
        _check_shapes(samples)
        self.columns = {
            name: _plain(column, device) for name, column in list_data_collate(samples).items()
        }
        self._count = len(samples)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: Sequence[int]) -> dict[str, Any]:
        """Batch of these samples, as MONAI's ``DataLoader`` would collate it."""
        places = torch.tensor(rows)
        return {
            name: column[places.to(column.device)]
            if isinstance(column, Tensor)
            else [column[row] for row in rows]
            for name, column in self.columns.items()
        }


class ImageBatches(DataLoader):
    """Batches of samples, from the device where they fit there.

    The samples, their order and all that is drawn at random are those of MONAI's ``DataLoader``, but
    for balanced ones.

    Args:
        dataset: map-style, of dictionaries.
        batch_size: samples of a batch; the last one may have fewer.
        device: where the samples are used.
        sampling: ``"sequential"``, each sample once in the order given, ``"shuffled"``, each once
            in random order, another one in each epoch, or ``"balanced"``, each class as often as
            any other, see :class:`BatchSampler`.
        epoch_size: samples of an epoch, see there.
        labels: class index of each sample, which balanced ones are drawn by.
        resident: whether they are made once and kept on the device, where a batch is one indexing
            operation. ``"auto"``: on a CUDA device, if a ``CacheDataset`` keeps all of them, which
            no transform changes at random, they have one shape, and they take at most half of the
            memory that is free. On a CPU nothing would be gained.
        num_workers: processes that load samples, if they are not resident.
        kwargs: further arguments of MONAI's ``DataLoader``, with which samples are not resident. On
            a CUDA device memory is pinned by default.

    Raises:
        ValueError: if they are to be resident, and cannot be, or the sampling does not fit.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        *,
        device: torch.device | str,
        sampling: Sampling = "sequential",
        epoch_size: int | None = None,
        labels: Sequence[int] | None = None,
        resident: Resident = "auto",
        num_workers: int = 0,
        **kwargs: Any,
    ) -> None:
        device = torch.device(device)
        if resident == "auto":
            resident = not kwargs and _is_worth_it(dataset, device)
        if resident and kwargs:
            raise ValueError(
                f"expected resident samples to be loaded without {', '.join(kwargs)}; leave that "
                "out, or set resident to false"
            )
        order = _order(dataset, sampling, epoch_size, labels, kwargs.get("generator"))
        if resident:
            rows = BatchSampler(order, batch_size, drop_last=False)
            samples = _kept(dataset, device)
            super().__init__(samples, batch_size=None, sampler=rows, collate_fn=_as_it_is)
        else:
            kwargs.setdefault("pin_memory", device.type == "cuda")
            super().__init__(
                dataset, batch_size=batch_size, sampler=order, num_workers=num_workers, **kwargs
            )


class _OneByOne(Sampler[int]):
    """The rows that are drawn in batches, one after the other, drawn when the first is asked for."""

    def __init__(self, drawn: tensors.BatchSampler) -> None:
        self.drawn = drawn

    def __len__(self) -> int:
        return self.drawn.epoch_size

    def __iter__(self) -> Iterator[int]:
        for rows in self.drawn:
            yield from rows.tolist()


def _order(
    dataset: Dataset[Any],
    sampling: Sampling,
    epoch_size: int | None,
    labels: Sequence[int] | None,
    generator: torch.Generator | None,
) -> Sampler[int]:
    """What gives the rows of an epoch."""
    assert isinstance(dataset, Sized)  # map-style
    if sampling == "balanced" and (labels is None or len(labels) != len(dataset)):
        raise ValueError(
            f"expected the labels of all {len(dataset)} samples to balance their classes, got "
            f"{'none' if labels is None else len(labels)}; give labels, or choose shuffled"
        )
    if sampling == "sequential" and epoch_size is None:
        return SequentialSampler(dataset)
    classes = torch.zeros(len(dataset)) if labels is None else torch.as_tensor(labels)
    drawn = tensors.BatchSampler(classes, 1, sampling=sampling, epoch_size=epoch_size)
    if sampling == "balanced":
        return _OneByOne(drawn)
    return RandomSampler(dataset, num_samples=epoch_size, generator=generator)


# Of each data set by device: a training and its pass over the margins go through the same one.
_KEPT: WeakKeyDictionary[Dataset[Any], dict[torch.device, ResidentSamples]] = WeakKeyDictionary()


def _kept(dataset: Dataset[Any], device: torch.device) -> ResidentSamples:
    if not _is_fixed(dataset):
        raise ValueError(
            "expected resident samples to be the same in every epoch, got a transform that is random, "
            "or none of MONAI's and may be; set resident to false, or leave augmentation out"
        )
    by_device = _KEPT.setdefault(dataset, {})
    if device not in by_device:
        by_device[device] = ResidentSamples(dataset, device)
    return by_device[device]


def _is_worth_it(dataset: Dataset[Any], device: torch.device) -> bool:
    """Whether all samples are in memory as they are used, and fit onto a GPU."""
    if device.type != "cuda" or not isinstance(dataset, CacheDataset) or len(dataset) == 0:
        return False
    if dataset.cache_num < len(dataset) or not _is_fixed(dataset):
        return False
    tensors = [_tensors(dataset[place]) for place in range(len(dataset))]
    shapes = {tuple((name, each.shape) for name, each in sample.items()) for sample in tensors}
    size = sum(each.nbytes for sample in tensors for each in sample.values())
    free, _ = torch.cuda.mem_get_info(device)
    return len(shapes) == 1 and size <= _SHARE * free


def _is_fixed(dataset: Dataset[Any]) -> bool:
    """Whether no transform of a data set is random, as far as is known."""
    transform = getattr(dataset, "transform", None)
    if transform is None:
        return True
    steps = Compose(transform).flatten().transforms
    return all(
        isinstance(step, Transform) and not isinstance(step, Randomizable | RandomizableTrait)
        for step in steps
    )


def _tensors(sample: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in sample.items() if isinstance(value, Tensor)}


def _check_shapes(samples: Sequence[dict[str, Any]]) -> None:
    shapes = [{name: tuple(each.shape) for name, each in _tensors(one).items()} for one in samples]
    for own in shapes:
        if own != shapes[0]:
            raise ValueError(
                f"expected resident samples of one shape, got {shapes[0]} and {own}; resize them, or "
                "set resident to false"
            )


def _plain(column: Any, device: torch.device) -> Any:
    """A tensor on the device, without what MONAI's has beside its values; other values as they are."""
    if not isinstance(column, Tensor):
        return column
    return (column.as_tensor() if hasattr(column, "as_tensor") else column).to(device)


def _as_it_is(batch: dict[str, Any]) -> dict[str, Any]:
    return batch
