"""The weights in what a file holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from monai_ima.networks.weight_names import has, last, prefixes, prefixes_near

_NAMES = ("model", "state_dict", "network", "net", "model_state_dict")
# what modules may keep beside their tensors: any module, and quantised layers
_NO_TENSORS = ("_extra_state", "_packed_params", "dtype")
_SHOWN = 3


@dataclass(frozen=True)
class Weights:
    """A ``state_dict``, and what torch notes of each module beside it, such as its version.

    Args:
        values: by name.
        metadata: by the dotted path of the module, which is empty for the whole.
    """

    values: Mapping[str, Any]
    metadata: Mapping[str, Any]

    def moved(self, old: str, new: str) -> Weights:
        """What is below one prefix, below another."""
        noted = {f"{path}." if path else "": value for path, value in self.metadata.items()}
        return Weights(
            _moved(self.values, old, new),
            {path.removesuffix("."): value for path, value in _moved(noted, old, new).items()},
        )

    def state_dict(self) -> OrderedDict[str, Any]:
        """As ``load_state_dict`` takes it."""
        state = OrderedDict(self.values)
        state._metadata = self.metadata  # type: ignore[attr-defined]  # where torch has it
        return state


def find_weights(
    content: object, network: nn.Module, *, key: str | None, prefix: str, file: Path
) -> Weights:
    """The one ``state_dict`` that is meant, in a dictionary of them or by itself.

    Args:
        content: of the file.
        network: whose weights are searched.
        key: where the weights are, with dots between the levels. Without it, there must be only one
            candidate: what is called as usual or has names for all of the network's parameters, or
            else any.
        prefix: of the network's names in the file.
        file: for messages.

    Raises:
        ValueError: if there is none, or several, or the key or the prefix is not there.
    """
    found = dict(_state_dicts(content))
    if not found:
        holds = (
            f"a dictionary with {some(content) or 'nothing'}"
            if isinstance(content, Mapping)
            else f"a {type(content).__name__}"
        )
        raise ValueError(
            f"expected {file} to hold a state_dict, got {holds}; save the weights with "
            f"torch.save(model.state_dict(), 'model.pt')"
        )
    candidates = list(found)
    if key is None:
        prefixed = [path for path in found if has(found[path].values, prefix)] or candidates
        likely = [
            path
            for path in prefixed
            if last(path) in _NAMES or _is_of(network, found[path].values, prefix)
        ]
        candidates = likely or prefixed
    chosen = candidates[0] if key is None and len(candidates) == 1 else key
    if chosen not in found:
        there = ", ".join(path or "the file itself, which needs no key" for path in candidates)
        raise ValueError(
            f"expected key (setting checkpoint_key) to say which state_dict of {file} is the "
            f"network's, got {key!r}; there is {there}"
        )
    weights = found[chosen]
    if not has(weights.values, prefix):
        near = ", ".join(map(repr, prefixes_near(prefix, weights.values))) or "none"
        raise ValueError(
            f"expected prefix (setting checkpoint_prefix) to be one of the names in {file}, got "
            f"{prefix!r}; there is {near}"
        )
    return weights


def some(names: Iterable[object]) -> str:
    """The first few, as text."""
    listed = [str(name) for name in names]
    return ", ".join(listed[:_SHOWN]) + (", ..." if len(listed) > _SHOWN else "")


def _moved(values: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    return {
        new + name.removeprefix(old): value
        for name, value in values.items()
        if name.startswith(old)
    }


def _state_dicts(content: object, path: str = "") -> Iterable[tuple[str, Weights]]:
    """Every state_dict in nested dictionaries, by its dotted path."""
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        return  # an optimizer's states are numbered
    values = dict(content)
    metadata = values.pop("_metadata", getattr(content, "_metadata", {}))
    others = [name for name, value in values.items() if not isinstance(value, Tensor)]
    if len(others) < len(values) and all(last(name) in _NO_TENSORS for name in others):
        yield path, Weights(values, metadata if isinstance(metadata, Mapping) else {})
        return
    for name, value in content.items():
        yield from _state_dicts(value, f"{path}.{name}" if path else name)


def _is_of(network: nn.Module, names: Collection[str], prefix: str) -> bool:
    """Whether all of a network's parameters are there, by their names."""
    own = network.state_dict(keep_vars=True)
    theirs, mine = prefixes(own, names, prefix)
    parameters = [name for name, value in own.items() if isinstance(value, nn.Parameter)]
    return all(theirs + name.removeprefix(mine) in names for name in parameters or own)
