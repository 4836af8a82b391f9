"""Arguments of the parts of a config that do not fit what the parts name."""

from __future__ import annotations

import difflib
import inspect
import pydoc
from collections.abc import Callable, Iterator
from typing import Any

from monai.bundle.config_item import ConfigComponent
from monai.bundle.reference_resolver import ReferenceResolver
from monai.utils.enums import CompInitMode

from monai_ima.config_checks.names import BY_NAME, SECTIONS
from monai_ima.config_checks.signatures import fits, has_part, is_of, parameters_of, written_type
from monai_ima.config_checks.walk import SEP, children, references_in, refers
from monai_ima.settings import PART, RunSettings, shown, wrong_values

# Arguments that are no plain values, whatever takes them.
_TAKEN_FROM_PARTS = (
    *("dataset", "sampler", "train_data_loader", "val_data_loader", "data_loader", "network"),
    *("optimizer", "objective", "margins", "params", "inferer", "evaluator", "validator"),
    *("handler", "curve_handler", "summary_writer", "key_train_metric", "key_val_metric"),
)


def wrong_arguments(resolver: ReferenceResolver, ids: set[str]) -> Iterator[str]:
    """What does not fit between the parts of a config and the functions or classes they name."""
    for id_, item in resolver.items.items():
        if id_ not in ids or not isinstance(item, ConfigComponent) or item.is_disabled():
            continue
        written = item.get_config()["_target_"]
        if not isinstance(written, str) or not written:
            yield f"expected {id_}{SEP}_target_ to be a name, as text, got {shown(written)}"
            continue
        if written.startswith(("$", "@")):
            continue
        target = item.resolve_module_name()
        try:
            component = pydoc.locate(target)
        except pydoc.ErrorDuringImport as error:
            yield f"expected {id_}{SEP}_target_ to be importable, got {target!r}: {error}"
            continue
        if not callable(component):
            yield _not_located(id_, target)
        else:
            yield from _misfits(resolver, id_, target, component)


def _not_located(id_: str, target: str) -> str:
    module, _, name = target.rpartition(".")
    offered = dir(pydoc.locate(module)) if module and _importable(module) else []
    public = [each for each in offered if not each.startswith("_")]
    near = difflib.get_close_matches(name, public, n=1)
    hint = f"; did you mean {module}.{near[0]}?" if near else ""
    return (
        f"expected {id_}{SEP}_target_ to be a class or function of MONAI, or the full name of "
        f"another, got {target!r}{hint}"
    )


def _importable(module: str) -> bool:
    try:
        return pydoc.locate(module) is not None
    except pydoc.ErrorDuringImport:
        return False


def _misfits(
    resolver: ReferenceResolver, id_: str, target: str, component: Callable[..., Any]
) -> Iterator[str]:
    parameters = parameters_of(component)
    if parameters is None:
        return
    config = resolver.items[id_].get_config()
    given = {name: v for name, v in config.items() if name not in ConfigComponent.non_arg_keys}
    accepted = [
        name
        for name, each in parameters.items()
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    for name, value in given.items():
        inner = f"{id_}{SEP}{name}"
        if name not in accepted:
            near = difflib.get_close_matches(str(name), accepted, n=1, cutoff=0.0)
            hint = f"; did you mean {id_}{SEP}{near[0]}?" if near else "."
            yield (
                f"expected arguments of {target}, got {inner}{hint} "
                f"Known are {', '.join(accepted) or 'none'}"
            )
        elif refers(resolver, inner, value) or has_part(value):
            continue
        elif name == "device":
            for said in wrong_values(RunSettings, {name: value}).values():
                yield said.replace("device", inner, 1)
        elif name in _TAKEN_FROM_PARTS and value is not None:
            yield f"expected {inner} to be {PART}, got {shown(value)}"
        elif not fits(parameters[name], value):
            yield (
                f"expected {inner} to be {written_type(parameters[name].annotation)}, as "
                f"{target} takes it, got {shown(value)}"
            )
    if config.get("_mode_", CompInitMode.DEFAULT) != CompInitMode.DEFAULT:
        return  # of what is called later the rest is given then
    for name in accepted:
        if parameters[name].default is inspect.Parameter.empty and name not in given:
            yield f"expected {id_}{SEP}{name}, which {target} needs, got none; give it"


def wrong_parts(resolver: ReferenceResolver, ids: set[str]) -> Iterator[str]:
    """Parts that are built, and of another kind than those that are not built yet take.

    Args:
        resolver: of the config.
        ids: of those that are not built yet.
    """
    for id_, item in resolver.items.items():
        if id_ not in ids or not isinstance(item, ConfigComponent) or item.is_disabled():
            continue
        name = f"{id_}{SEP}_target_"
        target = resolver.resolved_content.get(name, item.resolve_module_name())
        component = pydoc.locate(target) if isinstance(target, str) else target
        if not callable(component):
            yield f"expected {name} to be a class or function, got {shown(target)}"
            continue
        parameters = parameters_of(component)
        for name, parameter in (parameters or {}).items():
            raw = item.get_config().get(name)
            inner = f"{id_}{SEP}{name}"
            if isinstance(raw, str) and references_in(raw) == {raw[1:]}:
                inner = raw[1:]
            value = resolver.resolved_content.get(inner)
            if value is not None and not is_of(parameter.annotation, value):
                yield (
                    f"expected {inner} to be {written_type(parameter.annotation)}, as {id_} takes it, "
                    f"got {type(value).__name__}"
                )
    for name in ("preprocessing", "augmentation"):
        transform = resolver.resolved_content.get(name)
        if transform is not None and not callable(transform):
            yield f"expected {name} to be a transform, got {shown(transform)}"
    for section in sorted(SECTIONS):
        for id_ in (f"{section}{SEP}{name}" for name in BY_NAME):
            raw = resolver.items[id_].get_config() if id_ in resolver.items else None
            for inner in children(resolver, id_, raw):
                metric = resolver.resolved_content.get(inner)
                if not hasattr(metric, "attach"):
                    yield f"expected {inner} to be a metric, got {shown(metric)}"
