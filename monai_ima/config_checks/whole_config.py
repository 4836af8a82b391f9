"""All that is wrong with a config, in one list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from monai.bundle.config_item import ConfigComponent
from monai.bundle.reference_resolver import ReferenceResolver

from monai_ima.config_checks.arguments import wrong_arguments
from monai_ima.config_checks.names import no_parts, plain_states, unknown_names, wrong_references
from monai_ima.config_checks.walk import meant, needed, refers
from monai_ima.errors import root_cause
from monai_ima.settings import (
    ObjectiveSettings,
    Schema,
    expectation,
    is_part,
    names_of,
    shown,
    takes_nothing,
    unused_weights,
    wrong_method,
    wrong_together,
    wrong_values,
)

_NOT_RESOLVED = ("dataset_dir",)  # whose default makes the data, by a call
_PLAIN = (str, int, float, type(None))  # what is no part of a config


def complaints(
    resolver: ReferenceResolver, schemas: Iterable[type[Schema]], likeness: float = 0.0
) -> list[str]:
    """All that is wrong with a config, a sentence each, in the order of what causes what.

    Settings that are expressions or references are checked by their value, unless it takes a part
    of the config to be built, or is that of ``dataset_dir``.

    Args:
        resolver: of the config, parsed.
        schemas: what its settings may be.
        likeness: how like a known name an unknown one has to be to be called wrong, from 0, not at
            all, to 1, equal; above 0 for a config that may lie over another bundle's, whose parts
            are its own affair.
    """
    every: list[type[Schema]] = [ObjectiveSettings, *schemas]
    of = {name: schema for schema in every for name in names_of(schema)}
    values, wrong = _values(resolver, of)
    mislabelled = []
    if "objective" in resolver.items and "method" in values:
        objective = resolver.items["objective"].get_config()
        target = objective.get("_target_") if isinstance(objective, dict) else None
        mislabelled = wrong_method(values["method"], target)
        if isinstance(objective, dict):
            mislabelled += unused_weights(values.get("class_weights"), objective)
    known = names_of(*schemas)
    if likeness:
        ids = {
            id_ for root in ("initialize", "run", "network_def") for id_ in needed(resolver, root)
        }
    else:
        ids = set(resolver.items)
    return [
        *unknown_names(resolver, known, likeness),
        *wrong.values(),
        *mislabelled,
        *wrong_together({name: value for name, value in values.items() if name not in wrong}),
        *wrong_references(resolver, ids),
        *([] if likeness else no_parts(resolver)),
        *plain_states(resolver),
        *wrong_arguments(resolver, ids),
    ]


def _values(
    resolver: ReferenceResolver, schemas: Mapping[str, type[Schema]]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings' values as far as they are known, and what is wrong with each."""
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    late = []
    for name in sorted(set(schemas) & set(resolver.items)):
        raw = resolver.items[name].get_config()
        if is_part(schemas[name], name) and _builds_nothing(resolver, name, raw):
            late.append(name)
        elif (
            is_part(schemas[name], name)
            or takes_nothing(schemas[name], name)
            or not refers(resolver, name, raw)
        ):
            raw = values[name] = meant(resolver, raw)
            wrong |= wrong_values(schemas[name], {name: raw})
        elif (name not in _NOT_RESOLVED or "(" not in raw) and _is_cheap(resolver, name):
            late.append(name)
    for name in late:
        if needed(resolver, name) & set(wrong):
            continue  # is wrong because another is
        schema = schemas[name]
        try:
            values[name] = resolver.get_resolved_content(name)
        except Exception as error:  # noqa: BLE001  whatever an expression may raise
            cause = root_cause(error)
            wrong[name] = (
                f"expected {name} to be {expectation(schema, name)}, got "
                f"{shown(resolver.items[name].get_config())}, which cannot be evaluated: "
                f"{type(cause).__name__}: {cause}"
            )
        else:
            if not is_part(schema, name) or isinstance(values[name], _PLAIN):
                wrong |= wrong_values(schema, {name: values[name]})
    return values, wrong


def _builds_nothing(resolver: ReferenceResolver, name: str, raw: object) -> bool:
    """Whether a part is an expression without a call, whose value is known before all is built."""
    written = isinstance(raw, str) and raw.startswith("$") and "(" not in raw
    return written and _is_cheap(resolver, name)


def _is_cheap(resolver: ReferenceResolver, name: str) -> bool:
    """Whether an item's value takes nothing to be built."""
    ids = needed(resolver, name)
    built = any(isinstance(resolver.items.get(id_), ConfigComponent) for id_ in ids)
    return not built and (ids - {name}).isdisjoint(_NOT_RESOLVED)
