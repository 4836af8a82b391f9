"""Functions that ask a network, captured as CUDA graphs: thousands of small kernels launched as one."""

from __future__ import annotations

import gc
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

Function: TypeAlias = Callable[..., tuple[Tensor, ...]]

_PLAIN = frozenset({bool, int, float, str})
_KEPT = 64  # functions of a network, of which each keeps its tensors


class Capture:
    """A function captured once, to be replayed.

    It does not refer to the function, and so not to the network, which would live as long.

    Args:
        function: from tensors to tensors, without a question to the device, called before on
            :func:`side_stream`. What else it reads, as the weights of a network, is read from where
            it lies at each replay.
        tensors: what it will be called with, in shape, type and device.

    Raises:
        RuntimeError: if it does what cannot be captured.
    """

    def __init__(self, function: Function, tensors: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(tensor.clone() for tensor in tensors)
        self._graph = torch.cuda.CUDAGraph()
        side = side_stream(tensors[0].device)
        with _uncollected(), torch.cuda.graph(self._graph, stream=side):
            self._outputs = function(*self._inputs)

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """What the function makes of other tensors of the same shapes."""
        for own, given in zip(self._inputs, tensors, strict=True):
            own.copy_(given)
        self._graph.replay()
        return tuple(output.clone() for output in self._outputs)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let Python not free other graphs in the midst of a capture, which breaks it."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@cache
def side_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream that everything is captured on, after a first call on it chose its kernels."""
    # The thread in which autograd works warns if its first deed is a product of matrices.
    leaf = torch.ones((), device=device, requires_grad=True)
    torch.autograd.grad(2 * leaf, leaf)
    return torch.cuda.Stream(device)


class Answer:
    """A bool ``()`` on its way from a device, which nobody waits for until it is asked for."""

    def __init__(self, value: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        self._value = value
        if value.is_cuda:
            self._value = torch.empty((), dtype=torch.bool, pin_memory=True)
            self._value.copy_(value, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def __bool__(self) -> bool:
        if self._arrived is not None:
            self._arrived.synchronize()
        return bool(self._value)


# Of each network, by what they are for: "seen" where that was asked for once.
_CAPTURES: WeakKeyDictionary[
    nn.Module, OrderedDict[Hashable, Capture | Literal["seen", "impossible"]]
] = WeakKeyDictionary()


def can_be_captured(inputs: Tensor) -> bool:
    """Whether functions of such inputs can be."""
    return inputs.is_cuda


def is_captured() -> bool:
    """Whether what runs now is being captured."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def _laid_down(network: nn.Module) -> Iterator[Hashable]:
    """Of each module its attributes that are plain values, and where its tensors lie."""
    for module in network.modules():
        yield from (value for value in vars(module).values() if type(value) in _PLAIN)
        for tensors in (module._parameters, module._buffers):
            yield from (each.data_ptr() for each in tensors.values() if each is not None)


def _numerics() -> tuple[Hashable, ...]:
    """What decides which kernels are chosen, and is laid down in a capture."""
    cudnn = torch.backends.cudnn
    return (
        torch.get_float32_matmul_precision(),
        cudnn.allow_tf32,
        cudnn.benchmark,
        cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(),
    )


def replayed(
    network: nn.Module, key: Hashable, function: Function, *tensors: Tensor, what: str = "An attack"
) -> tuple[Tensor, ...]:
    """Call a function that asks a network, from the second time on as a captured graph.

    A capture is for one function, its shapes, the memory that the weights and buffers lie in, whose
    values may change there, as in a training, and the numbers that are attributes of the network's
    modules, such as the rate of a dropout. What cannot be captured, as a network whose
    forward pass asks the device, is called as it is, and a warning says so once.

    Args:
        network: what the function asks.
        key: what the function depends on beside the tensors and the network.
        function: from tensors to tensors, without a question to the device.
        tensors: on a CUDA device.
        what: the function is, for the warning.
    """
    if is_captured():
        return function(*tensors)
    shapes = tuple((each.shape, each.dtype, each.device) for each in tensors)
    key = (key, tuple(_laid_down(network)), shapes, _numerics())
    captures = _CAPTURES.setdefault(network, OrderedDict())
    if captures.get(key) == "seen":
        captures[key] = _captured(function, tensors, what)
    capture = captures.setdefault(key, "seen")
    captures.move_to_end(key)
    if len(captures) > _KEPT:
        captures.popitem(last=False)
    if isinstance(capture, str):
        with on_side_stream(tensors[0].device):
            return function(*tensors)
    return capture(*tensors)


@contextmanager
def on_side_stream(device: torch.device) -> Iterator[None]:
    """Work on the stream that is captured on, before what comes after; elsewhere than on CUDA as ever.

    What autograd keeps of a parameter belongs to the stream on which it was first asked for, and a
    capture on another one fails as long as it lives.
    """
    if device.type != "cuda":
        yield
        return
    current, side = torch.cuda.current_stream(device), side_stream(device)
    side.wait_stream(current)
    with torch.cuda.stream(side):
        yield
    current.wait_stream(side)


def _captured(
    function: Function, tensors: tuple[Tensor, ...], what: str
) -> Capture | Literal["impossible"]:
    try:
        return Capture(function, tensors)
    except RuntimeError as error:
        warnings.warn(
            f"{what} cannot be captured as a CUDA graph and runs operation by operation, which is "
            f"slower: {error}",
            stacklevel=2,
        )
        return "impossible"
