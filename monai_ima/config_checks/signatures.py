"""What classes and functions take, and whether a value is that."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from torch.utils.tensorboard import SummaryWriter

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


def is_of(annotation: object, value: object) -> bool:
    """Whether what is built is of a class; nothing of it is called, a loader would start."""
    if not isinstance(annotation, type) or isinstance(value, int | float | str):
        return True
    try:
        return isinstance(value, annotation)
    except TypeError:  # of a protocol that is for type checking alone
        return True


def fits(parameter: inspect.Parameter, value: object) -> bool:
    """Whether a plain value, no part, is of an argument's type, as far as that can be told."""
    if parameter.annotation is Any or value == parameter.default or has_part(value):
        return True
    config = ConfigDict(strict=True, arbitrary_types_allowed=True)
    try:
        adapter: TypeAdapter[object] = TypeAdapter(parameter.annotation, config=config)
        adapter.validate_python(value)
    except ValidationError:
        # a config has lists where Python has tuples
        return isinstance(value, list) and fits(parameter, tuple(value))
    except Exception:  # noqa: BLE001  of types that pydantic has no check for
        return True
    return True


def has_part(value: object) -> bool:
    """Whether a value is a part of the config, or has one inside."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (isinstance(value, dict) and "_target_" in value) or any(map(has_part, inner))


def written_type(annotation: object) -> str:
    """A type in words: its description, if it has one."""
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
def parameters_of(component: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
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
    further = parameters_of(owners[1]) if call else None
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
