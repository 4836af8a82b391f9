"""What a captured graph of a network is made for, beside the values of its weights."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any
from weakref import ref

import torch
from torch import nn

_PLAIN = frozenset({bool, int, float, str, type(None)})
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, partial)
_OF_EVERY_MODULE = frozenset(vars(nn.Module())) - {"training"}


def laid_down(module: nn.Module) -> Iterator[Hashable]:
    """Of a module and those in it what a graph of theirs is made for.

    Attributes that are plain values or functions, or rows and dictionaries of them, where weights and buffers
    lie and of which form they are, and hooks.
    """
    for part in module.modules():
        for name, value in vars(part).items():
            if name not in _OF_EVERY_MODULE:
                yield _described(value)
        for tensors in (part._parameters, part._buffers):
            for each in tensors.values():
                if each is not None:
                    yield each.data_ptr()
                    yield each.dtype
                    yield each.numel()
        for hooks in hooks_of(part):
            if hooks:
                yield tuple(hooks)


def _described(value: object) -> Hashable:
    """What tells an attribute's value from another one; ``None`` of what a network may write at each pass."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list | tuple):
        return tuple(map(_described, value))
    if isinstance(value, dict):
        return tuple((_described(name), _described(each)) for name, each in value.items())
    # A reference keeps nothing alive, and to another function in the same memory it is another one.
    return ref(value) if isinstance(value, _FUNCTIONS) else None


def hooks_of(module: nn.Module) -> tuple[dict[int, Callable[..., Any]], ...]:
    """By which a module calls Python before or after its forward and backward passes."""
    return (
        module._forward_pre_hooks,
        module._forward_hooks,
        module._backward_pre_hooks,
        module._backward_hooks,
    )


def numerics() -> tuple[Hashable, ...]:
    """What decides which kernels are chosen, and is laid down in a capture."""
    cudnn = torch.backends.cudnn
    return (
        *_float32_precisions(),
        cudnn.enabled,
        cudnn.benchmark,
        cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(),
    )


def _float32_precisions() -> tuple[Hashable, ...]:
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    if hasattr(cudnn, "conv"):  # torch 2.9, which rejects the older question once these differ
        parts = (cuda.matmul, cudnn.conv, cudnn.rnn)
        return tuple(part.fp32_precision for part in parts)
    return torch.get_float32_matmul_precision(), cudnn.allow_tf32
