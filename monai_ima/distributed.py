"""Several processes that train or evaluate one network together, each a part of the samples.

All that asks how many there are, and what they tell one another, is here. In one process, which no
group was made for, each function does nothing or hands back what it is given.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import torch
from torch import Tensor
from torch.distributed import PrefixStore, Store, rendezvous  # type: ignore[attr-defined]

_T = TypeVar("_T")
# A process waits for the slowest one's attacks, or for the first one's files. Whether all are alive
# is torchrun's affair, which ends those that wait for a dead one.
_PATIENCE = timedelta(hours=12)
_idle = False
_left: list[object] = []


def processes() -> int:
    """How many there are."""
    return torch.distributed.get_world_size() if _in_group() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return torch.distributed.get_rank() if _in_group() else 0


def is_first() -> bool:
    """Whether this is the one process that writes files, and speaks on the console."""
    return rank() == 0


def _in_group() -> bool:
    return torch.distributed.is_initialized()


def local_device() -> torch.device:
    """The GPU of this process, of all that torchrun has started on this machine; or the CPU.

    Raises:
        RuntimeError: if there are more processes than GPUs.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number, there_are = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= there_are:
        raise RuntimeError(
            f"expected a GPU for each process of this machine, got {there_are} and a process "
            f"number {number + 1}; set --nproc_per_node={there_are}, or add --device cpu"
        )
    return torch.device("cuda", number)


def join(device: torch.device | str) -> None:
    """Join the processes that torchrun has started: NCCL between GPUs, gloo between CPUs.

    Processes but the first are silent from here on, unless something goes wrong.

    Args:
        device: of this process.

    Raises:
        RuntimeError: if torchrun has not started this process.
    """
    if "WORLD_SIZE" not in os.environ:
        raise RuntimeError(
            "expected to be started by torchrun, which sets WORLD_SIZE, got none; start it by "
            "torchrun --nproc_per_node=N -m monai.bundle run ..., or leave bundles/scale out of "
            "--config_file"
        )
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # What handlers tell one another is on the CPU, also where the network is on a GPU.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    store, own_rank, world_size = next(rendezvous("env://", timeout=_PATIENCE))
    meeting = PrefixStore(_meeting(store, own_rank, world_size), store)
    torch.distributed.init_process_group(
        backend, store=meeting, rank=own_rank, world_size=world_size, timeout=_PATIENCE
    )
    if not is_first():
        logging.disable(logging.WARNING)


def _meeting(store: Store, own_rank: int, world_size: int) -> str:
    """A name that all processes agree on, and none that are dead have ever agreed on.

    Those that torchrun starts anew have the store of the dead ones, with their addresses in it, at
    which they would look for one another (https://github.com/pytorch/pytorch/issues/135712); and
    torchrun does not count its starts alike on all machines.
    """
    own = uuid4().hex
    if own_rank == 0:
        store.set("meeting", own)
        present = [store.get(f"{own}/{other}").decode() for other in range(1, world_size)]
        store.set(f"{own}/present", " ".join(present))
        return own
    while True:  # until the first one is there, and says that it has seen this one
        name = store.get("meeting").decode()
        store.set(f"{name}/{own_rank}", own)
        present_in = f"{name}/present"
        if store.check([present_in]) and own in store.get(present_in).decode().split():
            return name
        time.sleep(0.05)


def leave() -> None:
    """End what :func:`join` began."""
    if _in_group():
        # Its destructor waits for threads, which may need Python's lock to let go of what they have
        # sent last; it runs when the program ends, by when they have.
        _left.append(torch.distributed.group.WORLD)
        torch.distributed.destroy_process_group()
        logging.disable(logging.NOTSET)


def this_launch() -> str | None:
    """What tells the call of torchrun that has started this process from all others: its run id.

    The processes that it starts anew, when one has died, have the same. ``None`` in a process that
    it has not started.
    """
    run_id = os.environ.get("TORCHELASTIC_RUN_ID")
    if run_id == "none":  # nobody gave one: on each machine torchrun is the parent
        return f"{socket.gethostname()} {os.getppid()}"
    return run_id


def by_first(action: Callable[[], _T]) -> _T:
    """What an action gives that the first process does alone, while the others wait.

    Args:
        action: such as to write a file. What it gives is sent to all, so let that be small.

    Raises:
        Exception: in all of them, that of the action.
    """
    if not _in_group():
        return action()
    told: list[Any] = [None, None]
    if is_first():
        try:
            told[0] = action()
        except Exception as error:  # noqa: BLE001  raised below, in all processes
            told[1] = error
    torch.distributed.broadcast_object_list(told)
    if told[1] is not None:
        raise told[1]
    result: _T = told[0]
    return result


def from_all(value: _T) -> list[_T]:
    """The value of each process, in the order of their ranks."""
    if not _in_group():
        return [value]
    values: list[Any] = [None] * processes()
    torch.distributed.all_gather_object(values, value)
    return values


def same_draws() -> None:
    """Let the global random generator of all processes go on as the first one's."""
    if _in_group():
        state = torch.get_rng_state()
        torch.distributed.broadcast(state, src=0)
        torch.set_rng_state(state)


@contextmanager
def idling(is_idle: bool) -> Iterator[None]:
    """For as long as a process has no sample of its own, and one to keep step with the others by.

    :func:`gathered` and :func:`sum_of_all` leave out what it has.

    Args:
        is_idle: whether it has none; otherwise nothing happens.
    """
    global _idle  # noqa: PLW0603  of the process, as its group is
    _idle = is_idle
    try:
        yield
    finally:
        _idle = False


def gathered(*values: Tensor) -> tuple[Tensor, ...]:
    """The rows of all processes, those of the first one first.

    Args:
        values: each ``(N, *)``; ``N``, which may be 0, need not be the same in other processes.
    """
    if not _in_group():
        return values
    own = [each[:0] if _idle else each for each in values]
    counts = torch.tensor([len(own[0])], device=own[0].device)
    everyone_s = [torch.empty_like(counts) for _ in range(processes())]
    torch.distributed.all_gather(everyone_s, counts)
    lengths = torch.cat(everyone_s).tolist()
    return tuple(_rows_of_all(each.contiguous(), lengths) for each in own)


def _rows_of_all(own: Tensor, lengths: list[int]) -> Tensor:
    # bool has no collective everywhere
    plain = own.to(torch.uint8) if own.dtype == torch.bool else own
    padded = plain.new_zeros(max(lengths), *plain.shape[1:])
    padded[: len(plain)] = plain
    parts = [torch.empty_like(padded) for _ in lengths]
    torch.distributed.all_gather(parts, padded)
    rows = [part[:length] for part, length in zip(parts, lengths, strict=True)]
    return torch.cat(rows).to(own.dtype)


def by_sample(index: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
    """What all processes have found out about samples: each sample once, in the order of its index.

    Args:
        index: ``(N,)`` of the samples that this process has. Of one that several have, the first
            one's values count.
        values: each ``(N, *)``.

    Returns:
        The indices, and the values. In one process they are as they were given.
    """
    if not _in_group():
        return index, *values
    index, *values = gathered(index, *values)  # type: ignore[assignment]
    found, order = index.sort(stable=True)
    is_new = torch.ones_like(found, dtype=torch.bool)
    is_new[1:] = found[1:] != found[:-1]
    return tuple(each[order[is_new]] for each in (index, *values))


def sum_of_all(values: Tensor) -> Tensor:
    """The sum over all processes, through which gradients flow to the values of each."""
    if not _in_group():
        return values
    total: Tensor = _SumOfAll.apply(values * 0 if _idle else values)  # type: ignore[no-untyped-call]
    return total


class _SumOfAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004  torch hands it over
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total
