"""What the items of a config refer to, have inside and need."""

from __future__ import annotations

from collections.abc import Iterable

from monai.bundle.reference_resolver import ReferenceResolver

SEP = ReferenceResolver.sep


def refers(resolver: ReferenceResolver, name: str, raw: object) -> bool:
    """Whether a value is written as an expression or with references, here or further down."""
    return (
        isinstance(raw, str) and (raw.startswith("$") or bool(resolver.match_refs_pattern(raw)))
    ) or any(
        refers(resolver, id_, resolver.items[id_].get_config())
        for id_ in children(resolver, name, raw)
    )


def meant(resolver: ReferenceResolver, raw: object) -> object:
    """What a reference leads to, through others; itself where that is nothing or a circle.

    ``$None`` is how a command line has to write None.
    """
    seen: list[object] = [raw]
    while isinstance(raw, str) and raw.startswith("@") and raw[1:] in resolver.items:
        raw = resolver.items[raw[1:]].get_config()
        if raw in seen:
            return seen[0]
        seen.append(raw)
    return None if raw == "$None" else raw


def children(resolver: ReferenceResolver, name: str, raw: object) -> list[str]:
    """The ids of what an item has inside."""
    keys: Iterable[object] = ()
    if isinstance(raw, dict):
        keys = raw
    elif isinstance(raw, list):
        keys = range(len(raw))
    return [id_ for key in keys if (id_ := f"{name}{SEP}{key}") in resolver.items]


def needed(resolver: ReferenceResolver, name: str) -> set[str]:
    """All that has to be known before an item is, itself and what does not exist included."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        id_ = waiting.pop()
        if id_ in found:
            continue
        found.add(id_)
        if id_ in resolver.items:
            raw = resolver.items[id_].get_config()
            waiting += resolver.find_refs_in_config(raw, id_)
    return found


def waiting_for(resolver: ReferenceResolver, name: str) -> set[str]:
    """All items that need one, itself included."""
    return {id_ for id_ in resolver.items if name in needed(resolver, id_)}


def references_in(raw: object) -> set[str]:
    """The ids that a value refers to, itself and not further down."""
    return set(ReferenceResolver.match_refs_pattern(raw)) if isinstance(raw, str) else set()
