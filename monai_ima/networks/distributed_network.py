"""A network that several processes train together."""

# no annotations from the future: torch looks at those of a communication hook

import inspect
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from monai_ima.distributed import processes
from monai_ima.networks.global_batch_norm import with_global_batch_norm

# renamed in torch 2.12
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)


class DistributedNetwork(DistributedDataParallel):
    """``DistributedDataParallel`` for a training in which the network is attacked.

    In train mode the gradients of all processes are averaged. In eval mode, which attacks put it
    into, it is the network inside: processes need not take the same number of steps. Batch norm is
    over the samples of all processes, see :class:`~monai_ima.networks.GlobalBatchNorm`.

    Args:
        module: the network, in which batch norms are replaced where they are.
        kwargs: further arguments of ``DistributedDataParallel``, such as ``find_unused_parameters``.
    """

    def __init__(self, module: nn.Module, **kwargs: Any) -> None:
        device = next(module.parameters()).device
        if device.type == "cuda":
            kwargs.setdefault("device_ids", [device])
        # Statistics are the same in all processes, and a network goes through train mode twice in a
        # step, between which nothing may change them.
        kwargs.setdefault(_SYNC_BUFFERS, False)
        super().__init__(with_global_batch_norm(module), **kwargs)
        self.register_comm_hook(None, _averaged_one_by_one)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network gives."""
        return (super().forward if self.training else self.module)(*args, **kwargs)


def _averaged_one_by_one(
    _: object,
    bucket: dist.GradBucket,  # type: ignore[name-defined]  # exported where there are collectives
) -> Future[Tensor]:
    """Average each parameter's gradient by itself.

    Torch puts them into other buckets after the first step of a process, and with its place in a
    bucket the order changes in which the processes' values are added: a run that goes on from a
    checkpoint would differ from one that was never cut off.
    """
    for gradient in bucket.gradients():
        dist.all_reduce(gradient)
    future: Future[Tensor] = Future()
    future.set_result(bucket.buffer().div_(processes()))
    return future
