"""Batch norm whose batch is that of all processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from monai_ima.distributed import processes, sum_of_all


class GlobalBatchNorm(_BatchNorm):
    """A batch norm that, in train mode, takes mean and variance over the samples of all processes.

    In eval mode, in which attacks run, and in one process it is the batch norm that it replaces.
    Unlike torch's ``SyncBatchNorm`` it works on the CPU, and for a process that has no sample of its
    own (see :func:`~monai_ima.distributed.idling`).
    """

    def _check_input_dim(self, inputs: Tensor) -> None:
        if inputs.ndim < 2:
            raise ValueError(f"expected inputs (N, C, *), got {tuple(inputs.shape)}")

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise ``(N, C, *)``."""
        if not self.training or processes() == 1:
            return super().forward(inputs)
        self._check_input_dim(inputs)
        values = inputs.float() if inputs.dtype in (torch.float16, torch.bfloat16) else inputs
        others = [dim for dim in range(values.ndim) if dim != 1]
        shape = [-1 if dim == 1 else 1 for dim in range(values.ndim)]
        count = values.new_tensor([values.numel() / values.shape[1]])
        sums = sum_of_all(torch.cat([values.sum(others), count]))
        n = sums[-1].item()
        if n <= 1:
            raise ValueError("expected more than one value for each channel in training, got one")
        mean = sums[:-1] / n
        deviation = values - mean.view(shape)
        # in a second step, without which digits are lost where the mean is large
        variance = sum_of_all(deviation.square().sum(others)) / n
        normalised = deviation * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            normalised = normalised * self.weight.view(shape)
        if self.bias is not None:
            normalised = normalised + self.bias.view(shape)
        self._remember(mean.detach(), variance.detach() * n / (n - 1))
        return normalised.to(inputs.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the statistics that eval mode takes, as torch's own batch norm does."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None  # as the other two
        self.num_batches_tracked.add_(1)
        seen = int(self.num_batches_tracked)
        momentum = 1 / seen if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), momentum)
        self.running_var.lerp_(variance.to(self.running_var), momentum)


def with_global_batch_norm(network: nn.Module) -> nn.Module:
    """Make each batch norm of a network, itself among them, a :class:`GlobalBatchNorm`.

    Args:
        network: changed where it is: parameters, statistics and their names stay, as they are known
            to an optimizer already.

    Returns:
        The network.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            module.__class__ = GlobalBatchNorm  # type: ignore[assignment]  # what torch's own lazy modules do
    return network
