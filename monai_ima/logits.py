"""What a classifier returns, read as logits."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor


def logits_of(outputs: object, samples: int) -> Tensor:
    """Logits ``(N, C)`` in what a classifier returned for ``N`` samples.

    They are the tensor itself, what an object or a mapping calls ``logits``, a mapping's only
    tensor, or the first element of a tuple or list, behind which MONAI's ``ViT`` has hidden states.

    A single output ``z`` for each sample, ``(N, 1)`` or ``(N,)``, is the logit of the second of two
    classes, which become ``(0, z)``. It is not seen here whether it is the probability of that class,
    which would win at any value. A lone sample may lack its dimension.

    Args:
        outputs: what the model returned.
        samples: number N of samples that it was given.

    Returns:
        ``(N, C)`` with two or more classes; half precision becomes float32, in which small
        differences of logits, and their gradients, survive.

    Raises:
        ValueError: if there are no such logits.
    """
    logits = outputs if isinstance(outputs, Tensor) else _tensor_in(outputs)
    if logits is None or not logits.is_floating_point():
        raise ValueError(_rejection(outputs, samples))
    if logits.ndim < 2:
        logits = logits.reshape(1, -1) if samples == 1 else logits.reshape(-1, 1)
    if logits.ndim != 2 or len(logits) != samples or logits.shape[1] == 0:
        raise ValueError(_rejection(outputs, samples))
    if logits.element_size() < 4:
        logits = logits.float()
    return F.pad(logits, (1, 0)) if logits.shape[1] == 1 else logits


def is_single_output(logits: Tensor) -> bool:
    """Whether ``(N, C)`` logits are those that :func:`logits_of` makes of a single output."""
    return logits.shape[1] == 2 and not logits[:, 0].any()


def _tensor_in(outputs: object) -> Tensor | None:
    named = getattr(outputs, "logits", None)
    if isinstance(named, Tensor):
        return named
    match outputs:
        case Tensor():
            return outputs
        case Mapping() if "logits" in outputs:
            return _tensor_in(outputs["logits"])
        case Mapping():
            tensors = [value for value in outputs.values() if isinstance(value, Tensor)]
            return tensors[0] if len(tensors) == 1 else None
        case tuple() | list() if outputs:
            return _tensor_in(outputs[0])
    return None


def _rejection(outputs: object, samples: int) -> str:
    return (
        f"expected the model to return logits of shape ({samples}, classes), as a tensor, first in a "
        f"tuple or as 'logits' in a dictionary, or one logit for each sample where there are two "
        f"classes, got {_described(outputs)}; give a network (network_def) that returns them"
    )


def _described(outputs: object) -> str:
    match outputs:
        case Tensor():
            return f"{tuple(outputs.shape)} of {outputs.dtype}"
        case Mapping():
            return f"a dictionary with {', '.join(map(repr, outputs)) or 'nothing'}"
        case tuple() | list():
            first = _described(outputs[0]) if outputs else "nothing"
            return f"a {type(outputs).__name__} that begins with {first}"
    return f"a {type(outputs).__name__}"
