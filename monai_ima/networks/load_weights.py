"""Weights into a network, or what does not fit and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from monai_ima.networks.checkpoint_file import NumPyValue
from monai_ima.networks.state_dicts import Weights, some
from monai_ima.networks.weight_names import fitting_prefixes, is_needed, prefixes


def load_weights(network: nn.Module, weights: Weights, *, prefix: str, file: Path) -> None:
    """Load weights into a network, whatever either is wrapped in.

    What ``load_state_dict`` takes is taken. Beyond that, batch norm's counts of batches may be
    missing, and so may further names of a tensor that is there.

    Args:
        network: takes the weights, or has its tensors left as they were.
        weights: with names as in the file.
        prefix: of the network's names in the file; others are left out.
        file: for messages.

    Raises:
        ValueError: if they do not fit.
    """
    own = network.state_dict(keep_vars=True)
    theirs, mine = prefixes(own, weights.values, prefix)
    offered = weights.moved(theirs, mine)
    _check_extra_states(offered.values, file)
    tensors = {name: value for name, value in own.items() if isinstance(value, Tensor)}
    before = {name: t.detach().clone() for name, t in tensors.items() if not is_lazy(t)}
    fault = None
    try:
        missing, unexpected = network.load_state_dict(offered.state_dict(), strict=False)
    except Exception as error:  # noqa: BLE001  from how the network loads what it keeps, too
        fault = error
        missing = [name for name in own if name not in offered.values]
        unexpected = [name for name in offered.values if name not in own]
    filled = {id(tensors[name]) for name in offered.values if name in tensors}
    missing = [name for name in missing if is_needed(name) and id(own.get(name)) not in filled]
    if not (missing or unexpected or fault):
        return
    with torch.no_grad():
        for name, value in before.items():
            tensors[name].copy_(value)
    reshaped = _reshaped(before, offered.values) if fault else []
    order = {name: place for place, name in enumerate(weights.values)}
    unexpected = [theirs + name.removeprefix(mine) for name in unexpected]
    unexpected.sort(key=lambda name: order.get(name, len(order)))
    flaws = {
        f"not in the file ({len(missing)} of the network's {len(own)})": missing,
        f"not in the network ({len(unexpected)} of the file's {len(weights.values)})": unexpected,
        f"of another shape ({len(reshaped)})": reshaped,
    }
    listed = "; ".join(f"{what}: {some(names)}" for what, names in flaws.items() if names)
    said = f"{type(fault).__name__}: {' '.join(str(fault).split())}"
    raise ValueError(
        f"expected the weights in {file} to fit the network, got {listed or said}. "
        f"{_advice(own, weights, missing, unexpected, reshaped)}"
    ) from fault


def _advice(
    own: Mapping[str, Any],
    weights: Weights,
    missing: list[str],
    unexpected: list[str],
    reshaped: list[str],
) -> str:
    define = "Define the network as it was trained"
    if not (missing or unexpected):
        sizes = "its number of classes, of input channels, of dimensions or its size"
        return f"{define}: {sizes}" if reshaped else define
    if fitting := fitting_prefixes(own, weights.values):
        below = " and below ".join(map(repr, fitting))
        which = "one of them" if len(fitting) > 1 else "this"
        return f"The names below {below} fit: give {which} as prefix (setting checkpoint_prefix)"
    define += ": its kind and size"
    if not missing:
        return f"{define}; or save its weights alone"
    if not unexpected and not any(isinstance(own.get(name), nn.Parameter) for name in missing):
        return f"{define}; or save all of model.state_dict(), whose buffers are missing"
    return define


def _reshaped(own: Mapping[str, Tensor], theirs: Mapping[str, Any]) -> list[str]:
    pairs = {name: (own[name], theirs[name]) for name in own if name in theirs}
    return [
        f"{name} {tuple(mine.shape)} is {tuple(other.shape)} in the file"
        for name, (mine, other) in pairs.items()
        if isinstance(other, Tensor) and mine.shape != other.shape
    ]


def _check_extra_states(values: Mapping[str, Any], file: Path) -> None:
    for name, value in values.items():
        if not isinstance(value, Tensor) and any(isinstance(v, NumPyValue) for v in _parts(value)):
            raise ValueError(
                f"expected what modules keep beside tensors to be plain values, got {name} with a "
                f"value of NumPy's in {file}, of which no more is read; where it was made, convert "
                f"it in get_extra_state by float(), int() or torch.from_numpy()"
            )


def _parts(value: object) -> Iterable[object]:
    """A value, and all values in it."""
    yield value
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set):
        for part in value:
            yield from _parts(part)
