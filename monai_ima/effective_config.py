"""The config that a bundle's command makes of its files and overrides, while it is evaluated."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from monai.bundle.reference_resolver import ReferenceResolver

_REFERENCE = re.compile(r"@[\w:]+")
_NOT_SETTINGS = ("imports", "initialize", "run", "finalize")


def current_resolver() -> ReferenceResolver:
    """The resolver of the config that is being evaluated.

    MONAI hands an expression the values that it refers to, and no reference to the config that it
    is in; so look for the resolver among the callers.

    Raises:
        RuntimeError: if none is.
    """
    caller = inspect.currentframe()
    while caller is not None:
        resolver = caller.f_locals.get("self")
        if isinstance(resolver, ReferenceResolver):
            return resolver
        caller = caller.f_back
    raise RuntimeError("to be called by an expression in a MONAI config only")


class EffectiveConfig:
    """What a command runs with: references and expressions as they are, or their values.

    Args:
        resolver: of the config, by default that which is being evaluated.
    """

    def __init__(self, resolver: ReferenceResolver | None = None) -> None:
        self.resolver = current_resolver() if resolver is None else resolver
        self.config: dict[str, Any] = self.resolver.items[""].get_config()

    def __contains__(self, id_: str) -> bool:
        return id_ in self.resolver.items

    def raw(self, id_: str) -> Any:
        """What is at a place such as ``train::trainer``."""
        config: Any = self.config
        for key in id_.split(ReferenceResolver.sep):
            config = config[int(key)] if isinstance(config, list) else config[key]
        return config

    def values(self, id_: str) -> Any:
        """What is at a place, with plain values in place of references and expressions.

        A component stays the mapping that defines it, one that is referred to as well; an expression
        whose value is none of numbers, text, lists and mappings stays as it is.
        """
        raw = self.raw(id_)
        if isinstance(raw, dict):
            return {key: self.values(f"{id_}{ReferenceResolver.sep}{key}") for key in raw}
        if isinstance(raw, list | tuple):
            return [self.values(f"{id_}{ReferenceResolver.sep}{at}") for at in range(len(raw))]
        if isinstance(raw, str) and _REFERENCE.fullmatch(raw) and raw[1:] in self:
            return self.values(raw[1:])
        if isinstance(raw, str) and raw.startswith("$"):
            value = _plain(self.resolver.get_resolved_content(id_))
            return raw if value is _NOT_PLAIN else value
        value = _plain(raw)
        return str(raw) if value is _NOT_PLAIN else value

    def settings(self) -> dict[str, Any]:
        """The plain values of the top-level keys, of expressions those that were needed."""
        found = {}
        for key, raw in self.config.items():
            if key.startswith("_") or key in _NOT_SETTINGS or isinstance(raw, dict):
                continue
            if isinstance(raw, str) and raw[:1] in ("$", "@"):
                value = _plain(self.resolver.resolved_content.get(key, _NOT_PLAIN))
            else:
                value = _plain(raw)
            if value is not _NOT_PLAIN:
                found[key] = value
        return found

    def depending_on(self, setting: str) -> Iterator[str]:
        """The top-level keys whose expression refers to a setting."""
        for key, raw in self.config.items():
            if isinstance(raw, str) and setting in ReferenceResolver.match_refs_pattern(raw):
                yield key

    def replace(self, key: str, value: Any) -> None:
        """Give a top-level key, on which nothing depends yet that was evaluated, a plain value."""
        self.config[key] = value
        self.resolver.resolved_content[key] = value

    def as_json(self) -> dict[str, Any]:
        """A copy that can be written as JSON, and read by MONAI again.

        Raises:
            TypeError: naming what cannot be written: an object that a program handed over.
        """
        return {key: _writable(key, value) for key, value in copy.copy(self.config).items()}


_NOT_PLAIN: Any = object()


def _plain(value: Any) -> Any:
    """The value with lists in place of tuples, or ``_NOT_PLAIN``."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return _NOT_PLAIN if any(item is _NOT_PLAIN for item in items) else items
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        entries = {key: _plain(item) for key, item in value.items()}
        return _NOT_PLAIN if any(item is _NOT_PLAIN for item in entries.values()) else entries
    return _NOT_PLAIN


def _writable(id_: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _writable(f"{id_}#{key}", item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(f"{id_}#{place}", item) for place, item in enumerate(value)]
    if isinstance(value, Path | torch.device):
        return str(value)
    if _plain(value) is _NOT_PLAIN:
        raise TypeError(
            f"expected {id_} to be a number, text, list or mapping, got {type(value).__name__}, "
            "which config.json of the run cannot hold; define it by _target_ or by an expression"
        )
    return value
