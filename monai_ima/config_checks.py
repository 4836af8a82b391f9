"""What is wrong with a config, found before anything of it is built."""

from __future__ import annotations

import difflib
import functools
import inspect
import pydoc
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, get_args, get_type_hints

from monai.bundle.config_item import ConfigComponent
from monai.bundle.properties import InferProperties, TrainProperties
from monai.bundle.reference_resolver import ReferenceResolver
from monai.utils.enums import CompInitMode
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from torch.utils.tensorboard import SummaryWriter

from monai_ima.settings import (
    PART,
    ObjectiveSettings,
    RunSettings,
    Schema,
    expectation,
    is_part,
    names_of,
    shown,
    wrong_method,
    wrong_together,
    wrong_values,
)

_SEP = ReferenceResolver.sep
# What MONAI reads by name.
_OF_MONAI = {
    ReferenceResolver.normalize_id(str({str(k): v for k, v in about.items()}["id"]))
    for properties in (TrainProperties, InferProperties)
    for about in properties.values()
}
_SECTIONS = {"train", "validate", "robustness"}
_BY_NAME = ("key_metric", "additional_metrics")
_IN_SECTIONS = (
    *("preprocessing", "dataset", "dataloader", "inferer", "postprocessing", "handlers"),
    *("trainer", "evaluator", *_BY_NAME),
)
# Arguments that are no plain values, whatever takes them.
_TAKEN_FROM_PARTS = (
    *("dataset", "sampler", "train_data_loader", "val_data_loader", "data_loader", "network"),
    *("optimizer", "objective", "margins", "params", "inferer", "evaluator", "validator"),
    *("handler", "curve_handler", "summary_writer", "key_train_metric", "key_val_metric"),
)
# Of a class that has no types of its own, and is built when the folder of the run is open.
_OF_WRITER: dict[str, Any] = {
    "purge_step": Annotated[
        int | None, Field(ge=0, lt=2**63, description="a whole number from 0 on, or None")
    ],
    "max_queue": Annotated[int, Field(ge=0, lt=2**31, description="a whole number from 0 on")],
    "flush_secs": Annotated[float, Field(gt=0, le=1e6, description="a number > 0 (seconds)")],
    "filename_suffix": Annotated[
        str, Field(pattern=r"^[\w.-]{0,99}$", description="letters, digits, . _ and -")
    ],
    "comment": str,
}
_NOT_RESOLVED = ("dataset_dir",)  # whose default makes the data


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
    known = names_of(*schemas)
    if likeness:
        ids = {
            id_ for root in ("initialize", "run", "network_def") for id_ in needed(resolver, root)
        }
    else:
        ids = set(resolver.items)
    return [
        *_unknown_names(resolver, known, likeness),
        *wrong.values(),
        *mislabelled,
        *wrong_together({name: value for name, value in values.items() if name not in wrong}),
        *_wrong_references(resolver, ids),
        *([] if likeness else _no_parts(resolver)),
        *_plain_states(resolver),
        *_wrong_arguments(resolver, ids),
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
        if is_part(schemas[name], name) or not _refers(resolver, name, raw):
            raw = values[name] = _meant(resolver, raw)
            wrong |= wrong_values(schemas[name], {name: raw})
        elif name not in _NOT_RESOLVED and _is_cheap(resolver, name):
            late.append(name)
    for name in late:
        if needed(resolver, name) & set(wrong):
            continue  # is wrong because another is
        schema = schemas[name]
        try:
            values[name] = resolver.get_resolved_content(name)
        except Exception as error:  # noqa: BLE001  whatever an expression may raise
            cause = _cause_of(error)
            wrong[name] = (
                f"expected {name} to be {expectation(schema, name)}, got "
                f"{shown(resolver.items[name].get_config())}, which cannot be evaluated: "
                f"{type(cause).__name__}: {cause}"
            )
        else:
            wrong |= wrong_values(schema, {name: values[name]})
    return values, wrong


def _is_component(raw: object) -> bool:
    return isinstance(raw, dict) and "_target_" in raw


def _refers(resolver: ReferenceResolver, name: str, raw: object) -> bool:
    """Whether a value is written as an expression or with references, here or further down."""
    return (
        isinstance(raw, str) and (raw.startswith("$") or bool(resolver.match_refs_pattern(raw)))
    ) or any(
        _refers(resolver, id_, resolver.items[id_].get_config())
        for id_ in _children(resolver, name, raw)
    )


def _meant(resolver: ReferenceResolver, raw: object) -> object:
    """What a reference leads to, through others; itself where that is nothing or a circle."""
    seen: list[object] = [raw]
    while isinstance(raw, str) and raw.startswith("@") and raw[1:] in resolver.items:
        raw = resolver.items[raw[1:]].get_config()
        if raw in seen:
            return seen[0]
        seen.append(raw)
    return raw


def _children(resolver: ReferenceResolver, name: str, raw: object) -> list[str]:
    keys: Iterable[object] = ()
    if isinstance(raw, dict):
        keys = raw
    elif isinstance(raw, list):
        keys = range(len(raw))
    return [id_ for key in keys if (id_ := f"{name}{_SEP}{key}") in resolver.items]


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


def _is_cheap(resolver: ReferenceResolver, name: str) -> bool:
    """Whether an item's value takes nothing to be built."""
    ids = needed(resolver, name)
    built = any(isinstance(resolver.items.get(id_), ConfigComponent) for id_ in ids)
    return not built and ids.isdisjoint(_NOT_RESOLVED)


def _cause_of(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


# Names


def _unknown_names(
    resolver: ReferenceResolver, settings: set[str], likeness: float
) -> Iterator[str]:
    """Keys that nothing refers to: MONAI adds a mistyped override, and goes on without it."""
    items = resolver.items
    references = {id_ for item in items.values() for id_ in _references(item.get_config())}
    tops = {id_ for id_ in items if id_ and _SEP not in id_ and not id_.startswith("_")}
    meaning = settings | _firsts(references) | _firsts(_OF_MONAI)
    yield from _unlike(tops, meaning, tops & meaning, likeness)
    if likeness:
        return
    for top in sorted(tops & _SECTIONS):
        raw = items[top].get_config()
        if isinstance(raw, dict) and "_target_" not in raw and top not in references:
            inside = {f"{top}{_SEP}{key}" for key in raw if not str(key).startswith("_")}
            meaning = _OF_MONAI | references | {f"{top}{_SEP}{name}" for name in _IN_SECTIONS}
            yield from _unlike(inside, meaning, inside & meaning, likeness)


def _references(raw: object) -> set[str]:
    return set(ReferenceResolver.match_refs_pattern(raw)) if isinstance(raw, str) else set()


def _wrong_references(resolver: ReferenceResolver, ids: set[str]) -> Iterator[str]:
    for id_ in sorted(ids & set(resolver.items)):
        for reference in sorted(_references(resolver.items[id_].get_config())):
            if reference not in resolver.items:
                near = difflib.get_close_matches(reference, resolver.items, n=1)
                hint = f"; did you mean @{near[0]}?" if near else ""
                yield (f"expected {id_} to refer to what the config has, got @{reference}{hint}")


def _no_parts(resolver: ReferenceResolver) -> Iterator[str]:
    """What is in the place of a part of the config in a section, or in a list of them, and is none."""
    for section in sorted(_SECTIONS):
        for name in ("", *_IN_SECTIONS):
            id_ = f"{section}{_SEP}{name}" if name else section
            raw = resolver.items[id_].get_config() if id_ in resolver.items else None
            if name and not _may_be_part(raw) and not isinstance(raw, list):
                yield f"expected {id_} to be {PART}, got {shown(raw)}"
            if isinstance(raw, list) or (name in _BY_NAME and isinstance(raw, dict)):
                if _is_component(raw):
                    continue
                for inner in _children(resolver, id_, raw):
                    content = resolver.items[inner].get_config()
                    if content is None or not _may_be_part(content):
                        yield f"expected {inner} to be {PART}, got {shown(content)}"


def _plain_states(resolver: ReferenceResolver) -> Iterator[str]:
    """What a checkpoint is to hold, and has no state."""
    id_ = f"checkpoint{_SEP}state"
    raw = resolver.items[id_].get_config() if id_ in resolver.items else None
    for inner in _children(resolver, id_, raw):
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
    return {id_.partition(_SEP)[0] for id_ in ids}


def _unlike(given: set[str], known: set[str], offered: set[str], likeness: float) -> Iterator[str]:
    for name in sorted(given - known):
        near = difflib.get_close_matches(name, sorted(offered), n=1, cutoff=likeness)
        if near:
            yield (
                f"expected settings that the config knows, got {name}; did you mean {near[0]}? "
                f"Known are {', '.join(sorted(offered))}"
            )


# Arguments


def _wrong_arguments(resolver: ReferenceResolver, ids: set[str]) -> Iterator[str]:
    """What does not fit between the parts of a config and the functions or classes they name."""
    for id_, item in resolver.items.items():
        if id_ not in ids or not isinstance(item, ConfigComponent) or item.is_disabled():
            continue
        written = item.get_config()["_target_"]
        if not isinstance(written, str) or not written:
            yield f"expected {id_}{_SEP}_target_ to be a name, as text, got {shown(written)}"
            continue
        if written.startswith(("$", "@")):
            continue
        target = item.resolve_module_name()
        try:
            component = pydoc.locate(target)
        except pydoc.ErrorDuringImport as error:
            yield f"expected {id_}{_SEP}_target_ to be importable, got {target!r}: {error}"
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
        f"expected {id_}{_SEP}_target_ to be a class or function of MONAI, or the full name of "
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
    parameters = _parameters(component)
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
        inner = f"{id_}{_SEP}{name}"
        if name not in accepted:
            near = difflib.get_close_matches(str(name), accepted, n=1, cutoff=0.0)
            hint = f"; did you mean {id_}{_SEP}{near[0]}?" if near else "."
            yield (
                f"expected arguments of {target}, got {inner}{hint} "
                f"Known are {', '.join(accepted) or 'none'}"
            )
        elif _refers(resolver, inner, value) or _has_part(value):
            continue
        elif name == "device":
            for said in wrong_values(RunSettings, {name: value}).values():
                yield said.replace("device", inner, 1)
        elif name in _TAKEN_FROM_PARTS and value is not None:
            yield f"expected {inner} to be {PART}, got {shown(value)}"
        elif not _fits(parameters[name], value):
            yield (
                f"expected {inner} to be {_written(parameters[name].annotation)}, as "
                f"{target} takes it, got {shown(value)}"
            )
    if config.get("_mode_", CompInitMode.DEFAULT) != CompInitMode.DEFAULT:
        return  # of what is called later the rest is given then
    for name in accepted:
        if parameters[name].default is inspect.Parameter.empty and name not in given:
            yield f"expected {id_}{_SEP}{name}, which {target} needs, got none; give it"


def wrong_parts(resolver: ReferenceResolver, ids: set[str]) -> Iterator[str]:
    """Parts that are built, and of another kind than those that are not built yet take.

    Args:
        resolver: of the config.
        ids: of those that are not built yet.
    """
    for id_, item in resolver.items.items():
        if id_ not in ids or not isinstance(item, ConfigComponent) or item.is_disabled():
            continue
        name = f"{id_}{_SEP}_target_"
        target = resolver.resolved_content.get(name, item.resolve_module_name())
        component = pydoc.locate(target) if isinstance(target, str) else target
        if not callable(component):
            yield f"expected {name} to be a class or function, got {shown(target)}"
            continue
        parameters = _parameters(component)
        for name, parameter in (parameters or {}).items():
            raw = item.get_config().get(name)
            inner = f"{id_}{_SEP}{name}"
            if isinstance(raw, str) and _references(raw) == {raw[1:]}:
                inner = raw[1:]
            value = resolver.resolved_content.get(inner)
            if value is not None and not _is_of(parameter.annotation, value):
                yield (
                    f"expected {inner} to be {_written(parameter.annotation)}, as {id_} takes it, "
                    f"got {type(value).__name__}"
                )
    for name in ("preprocessing", "augmentation"):
        transform = resolver.resolved_content.get(name)
        if transform is not None and not callable(transform):
            yield f"expected {name} to be a transform, got {shown(transform)}"
    for section in sorted(_SECTIONS):
        for id_ in (f"{section}{_SEP}{name}" for name in _BY_NAME):
            raw = resolver.items[id_].get_config() if id_ in resolver.items else None
            for inner in _children(resolver, id_, raw):
                metric = resolver.resolved_content.get(inner)
                if not hasattr(metric, "attach"):
                    yield f"expected {inner} to be a metric, got {shown(metric)}"


def _is_of(annotation: object, value: object) -> bool:
    """Whether what is built is of a class; nothing of it is called, a loader would start."""
    if not isinstance(annotation, type) or isinstance(value, int | float | str):
        return True
    try:
        return isinstance(value, annotation)
    except TypeError:  # of a protocol that is for type checking alone
        return True


def _fits(parameter: inspect.Parameter, value: object) -> bool:
    """Whether a plain value, no part, is of an argument's type, as far as that can be told."""
    if parameter.annotation is Any or value == parameter.default or _has_part(value):
        return True
    config = ConfigDict(strict=True, arbitrary_types_allowed=True)
    try:
        adapter: TypeAdapter[object] = TypeAdapter(parameter.annotation, config=config)
        adapter.validate_python(value)
    except ValidationError:
        # a config has lists where Python has tuples
        return isinstance(value, list) and _fits(parameter, tuple(value))
    except Exception:  # noqa: BLE001  of types that pydantic has no check for
        return True
    return True


def _has_part(value: object) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (isinstance(value, dict) and "_target_" in value) or any(map(_has_part, inner))


def _written(annotation: object) -> str:
    for field in get_args(annotation):
        if isinstance(field, FieldInfo) and field.description:
            return field.description
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _hints(component: Any) -> dict[str, Any]:
    """The types of arguments that are relied on: all of this package's, few of MONAI's engines'."""
    if isinstance(component, type) and issubclass(component, SummaryWriter):
        return _OF_WRITER
    ours = component.__module__.startswith("monai_ima")
    if not ours and not component.__module__.startswith("monai.engines"):
        return {}
    try:
        hints = get_type_hints(vars(component).get("__init__", component))
    except NameError:  # of what is imported for type checking alone
        return {}
    return {name: hint for name, hint in hints.items() if ours or hint in (bool, int)}


@functools.cache
def _parameters(component: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """The arguments by name, or ``None`` if that cannot be told.

    What a class hands on to the next one as it is, ``super().__init__(..., **kwargs)``, are the
    next one's arguments, but for those that it fills in itself; they are taken for optional.
    """
    try:
        own = dict(inspect.signature(component).parameters)
    except (TypeError, ValueError):
        return None
    hints = _hints(component)
    own = {name: each.replace(annotation=hints.get(name, Any)) for name, each in own.items()}
    rest = next((name for name, each in own.items() if each.kind is each.VAR_KEYWORD), None)
    if rest is None:
        return own
    if not inspect.isclass(component):
        return None
    owners = [owner for owner in component.__mro__ if "__init__" in vars(owner)]
    try:
        source = inspect.getsource(vars(owners[0])["__init__"])
    except (OSError, TypeError):
        return None
    call = re.search(rf"super\(\)\.__init__\(([^()]*)\*\*{rest}\b", source)
    further = _parameters(owners[1]) if call else None
    if call is None or further is None:
        return None
    filled = set(re.findall(r"(\w+)=", call[1]))
    del own[rest]
    handed_on = {
        name: each if each.default is not each.empty else each.replace(default=None)
        for name, each in further.items()
        if name not in filled
    }
    return handed_on | own
