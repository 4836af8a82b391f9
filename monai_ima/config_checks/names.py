"""Names in a config that mean nothing, and what is in a part's place and is none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from monai.bundle.properties import InferProperties, TrainProperties
from monai.bundle.reference_resolver import ReferenceResolver

from monai_ima.config_checks.walk import SEP, children, references_in
from monai_ima.settings import PART, shown

# What MONAI reads by name.
_OF_MONAI = {
    ReferenceResolver.normalize_id(str({str(k): v for k, v in about.items()}["id"]))
    for properties in (TrainProperties, InferProperties)
    for about in properties.values()
}
SECTIONS = {"train", "validate", "robustness"}
BY_NAME = ("key_metric", "additional_metrics")
_IN_SECTIONS = (
    *("preprocessing", "dataset", "dataloader", "inferer", "postprocessing", "handlers"),
    *("trainer", "evaluator", *BY_NAME),
)


def _is_component(raw: object) -> bool:
    return isinstance(raw, dict) and "_target_" in raw


def unknown_names(
    resolver: ReferenceResolver, settings: set[str], likeness: float
) -> Iterator[str]:
    """Keys that nothing refers to: MONAI adds a mistyped override, and goes on without it."""
    items = resolver.items
    references = {id_ for item in items.values() for id_ in references_in(item.get_config())}
    tops = {id_ for id_ in items if id_ and SEP not in id_ and not id_.startswith("_")}
    meaning = settings | _firsts(references) | _firsts(_OF_MONAI)
    yield from _unlike(tops, meaning, tops & meaning, likeness)
    if likeness:
        return
    for top in sorted(tops & SECTIONS):
        raw = items[top].get_config()
        if isinstance(raw, dict) and "_target_" not in raw and top not in references:
            inside = {f"{top}{SEP}{key}" for key in raw if not str(key).startswith("_")}
            meaning = _OF_MONAI | references | {f"{top}{SEP}{name}" for name in _IN_SECTIONS}
            yield from _unlike(inside, meaning, inside & meaning, likeness)


def wrong_references(resolver: ReferenceResolver, ids: set[str]) -> Iterator[str]:
    """References to what the config does not have."""
    for id_ in sorted(ids & set(resolver.items)):
        for reference in sorted(references_in(resolver.items[id_].get_config())):
            if reference not in resolver.items:
                near = difflib.get_close_matches(reference, resolver.items, n=1)
                hint = f"; did you mean @{near[0]}?" if near else ""
                yield (f"expected {id_} to refer to what the config has, got @{reference}{hint}")


def no_parts(resolver: ReferenceResolver) -> Iterator[str]:
    """What is in the place of a part of the config in a section, or in a list of them, and is none."""
    for section in sorted(SECTIONS):
        for name in ("", *_IN_SECTIONS):
            id_ = f"{section}{SEP}{name}" if name else section
            raw = resolver.items[id_].get_config() if id_ in resolver.items else None
            if name and not _may_be_part(raw) and not isinstance(raw, list):
                yield f"expected {id_} to be {PART}, got {shown(raw)}"
            if isinstance(raw, list) or (name in BY_NAME and isinstance(raw, dict)):
                if _is_component(raw):
                    continue
                for inner in children(resolver, id_, raw):
                    content = resolver.items[inner].get_config()
                    if content is None or not _may_be_part(content):
                        yield f"expected {inner} to be {PART}, got {shown(content)}"


def plain_states(resolver: ReferenceResolver) -> Iterator[str]:
    """What a checkpoint is to hold, and has no state."""
    id_ = f"checkpoint{SEP}state"
    raw = resolver.items[id_].get_config() if id_ in resolver.items else None
    for inner in children(resolver, id_, raw):
        content = resolver.items[inner].get_config()
        if content is None or not _may_be_part(content):
            yield f"expected {inner} to be {PART}, got {shown(content)}"


def _may_be_part(raw: object) -> bool:
    return (
        raw is None
        or isinstance(raw, dict)
        or (isinstance(raw, str) and raw.startswith(("$", "@")))
    )


def _firsts(ids: Iterable[str]) -> set[str]:
    return {id_.partition(SEP)[0] for id_ in ids}


def _unlike(given: set[str], known: set[str], offered: set[str], likeness: float) -> Iterator[str]:
    for name in sorted(given - known):
        near = difflib.get_close_matches(name, sorted(offered), n=1, cutoff=likeness)
        if near:
            yield (
                f"expected settings that the config knows, got {name}; did you mean {near[0]}? "
                f"Known are {', '.join(sorted(offered))}"
            )
