"""Functions that ask a network, captured as CUDA graphs: thousands of small kernels launched as one."""

from __future__ import annotations

import gc
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from monai_ima.attacks.draws import other_generators
from monai_ima.attacks.graph_key import hooks_of, laid_down, numerics

Function: TypeAlias = Callable[..., tuple[Tensor, ...]]

_KEPT = 64  # functions of a network, of which each keeps its tensors


class Capture:
    """A function captured once, to be replayed.

    It does not refer to the function, and so not to the network, which would live as long.

    Args:
        function: from tensors to tensors, without a question to the device, called before on
            :func:`side_stream`. What else it reads, as the weights of a network, is read from where
            it lies at each replay.
        tensors: what it will be called with, in shape, type and device.
        beside: another one, in whose memory this one works as well: what lies there between two
            replays is of no use to anyone. Each in memory of its own would need it as often as there
            are captures.

    Raises:
        RuntimeError: if it does what cannot be captured.
    """

    def __init__(
        self, function: Function, tensors: tuple[Tensor, ...], beside: Capture | None = None
    ) -> None:
        self._device = tensors[0].device
        self._inputs = tuple(tensor.clone() for tensor in tensors)
        self._graph = torch.cuda.CUDAGraph()
        pool = None if beside is None else beside._graph.pool()
        with _uncollected(), _capturing(self._graph, self._device, pool):
            self._outputs = function(*self._inputs)

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """What the function makes of other tensors of the same shapes."""
        with on_side_stream(self._device) as caller:  # one replay after the other, whoever calls
            for own, given in zip(self._inputs, tensors, strict=True):
                own.copy_(given)
            self._graph.replay()
            return _copied(self._outputs, caller)


@contextmanager
def _capturing(graph: torch.cuda.CUDAGraph, device: torch.device, pool: Any) -> Iterator[None]:
    """Capture a graph, and leave torch as it was if that fails."""
    side = side_stream(device)
    # Other threads, such as the one that pins a data loader's batches, go on in the meantime.
    settings: dict[str, Any] = {"stream": side, "capture_error_mode": "thread_local"}
    with torch.cuda.stream(side):  # which torch would not leave where a capture fails
        try:
            with torch.cuda.graph(graph, pool=pool, **settings):
                yield
        except BaseException:
            # Torch's random generator waits for the end of a capture, and rejects every draw until then.
            with suppress(RuntimeError), torch.cuda.graph(torch.cuda.CUDAGraph(), **settings):
                torch.zeros((), device=device)
            raise


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
            # Of the value's device, which need not be the current one.
            self._arrived.record(torch.cuda.current_stream(value.device))

    def __bool__(self) -> bool:
        if self._arrived is not None:
            self._arrived.synchronize()
        return bool(self._value)


# Of each network, by what they are for: "seen" where that was asked for once.
_CAPTURES: WeakKeyDictionary[
    nn.Module, OrderedDict[Hashable, Capture | Literal["seen", "impossible"]]
] = WeakKeyDictionary()
# Of each network one whose memory the next one shares.
_SHARING: WeakKeyDictionary[nn.Module, Capture] = WeakKeyDictionary()
# Of each network what was tried and failed: a capture that fails costs memory, and is not tried again.
_FAILED: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()


def can_be_captured(inputs: Tensor) -> bool:
    """Whether functions of such inputs can be."""
    return inputs.is_cuda


def is_captured() -> bool:
    """Whether what runs now is being captured."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def _calls_python(network: nn.Module) -> bool:
    """Whether there are hooks, but for those of torch which make a weight of others."""
    hooks = (
        hook for part in network.modules() for each in hooks_of(part) for hook in each.values()
    )
    return not all(type(hook).__module__.startswith("torch.nn.utils.") for hook in hooks)


def replayed(
    network: nn.Module, key: Hashable, function: Function, *tensors: Tensor, what: str = "An attack"
) -> tuple[Tensor, ...]:
    """Call a function that asks a network, from the second time on as a captured graph.

    A capture is for one function, its shapes, and what :func:`laid_down` says of the network: the
    memory that the weights and buffers lie in, whose values may change there, as in a training, and
    the numbers that are attributes of its modules, such as the rate of a dropout. What cannot be
    captured, as a network whose forward pass asks the device, has hooks or draws random numbers on
    the CPU, is called as it is, and a warning says so once.

    Args:
        network: what the function asks.
        key: what the function depends on beside the tensors and the network.
        function: from tensors to tensors, without a question to the device.
        tensors: on a CUDA device.
        what: the function is, for the warning.

    Returns:
        What the function makes of the tensors, in memory that nobody else has.
    """
    if is_captured():
        return function(*tensors)
    shapes = tuple((each.shape, each.dtype, each.device) for each in tensors)
    key = (key, tuple(laid_down(network)), shapes, numerics())
    captures = _CAPTURES.setdefault(network, OrderedDict())
    known = captures.get(key)
    if known == "seen":
        known = captures[key] = _captured(network, function, tensors, what)
    captures.setdefault(key, "seen")
    captures.move_to_end(key)
    if len(captures) > _KEPT:
        captures.popitem(last=False)
    if known is not None and not isinstance(known, str):
        return known(*tensors)
    if known is not None:
        return _copied(function(*tensors))
    before = torch.get_rng_state(), other_generators()
    with on_side_stream(tensors[0].device) as caller:
        results = _copied(function(*tensors), caller)
    if not torch.equal(torch.get_rng_state(), before[0]) or other_generators() != before[1]:
        captures[key] = "impossible"
        _say(what, "the network draws random numbers on the CPU")
    return results


def _copied(
    results: tuple[Tensor, ...], owner: torch.cuda.Stream | None = None
) -> tuple[Tensor, ...]:
    """Copies in memory of their own, which is another stream's where that is to work with them.

    Of what a function hands out two may be the same tensor, such as gradients of a sum's parts.
    """
    with nullcontext() if owner is None else torch.cuda.stream(owner):
        copies = tuple(map(torch.empty_like, results))
    if owner is not None:  # where algorithms are deterministic, it fills what is empty
        torch.cuda.current_stream(owner.device).wait_stream(owner)
    for copy, result in zip(copies, results, strict=True):
        copy.copy_(result)
    return copies


@contextmanager
def on_side_stream(device: torch.device) -> Iterator[torch.cuda.Stream | None]:
    """Work on the stream that is captured on, before what comes after; elsewhere than on CUDA as ever.

    What autograd keeps of a parameter belongs to the stream on which it was first asked for, and a
    capture on another one fails as long as it lives.

    Yields:
        The stream of the caller, if any, in whose memory results are to lie.
    """
    if device.type != "cuda":
        yield None
        return
    current, side = torch.cuda.current_stream(device), side_stream(device)
    side.wait_stream(current)
    with torch.cuda.stream(side):
        yield current
    current.wait_stream(side)


def _captured(
    network: nn.Module, function: Function, tensors: tuple[Tensor, ...], what: str
) -> Capture | Literal["impossible"]:
    if what in _FAILED.get(network, ()):
        return "impossible"
    if _calls_python(network):
        _say(what, "the network has hooks, which a graph would not call")
        return "impossible"
    try:
        capture = Capture(function, tensors, _SHARING.get(network))
    except RuntimeError as error:
        _SHARING.pop(network, None)  # for torch before 2.12 its memory is captured into for ever
        if not isinstance(error, torch.OutOfMemoryError):  # less may fit
            _FAILED.setdefault(network, set()).add(what)
        _say(what, str(error))
        return "impossible"
    _SHARING.setdefault(network, capture)
    return capture


def _say(what: str, why: str) -> None:
    warnings.warn(
        f"{what} cannot be captured as a CUDA graph and runs operation by operation, which is "
        f"slower: {why}",
        stacklevel=3,
    )
