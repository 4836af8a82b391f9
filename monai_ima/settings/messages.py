"""What is wrong with settings, in words."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from monai_ima.robustness import get_protocol
from monai_ima.settings.fields import GROUP, PART
from monai_ima.settings.schemas import Schema

_OBJECTIVES = {
    "adv": "StandardAdversarial",
    "ce": "CrossEntropy",
    "ddn": "DDNAdversarial",
    "iaat": "IAAT",
    "ima": "IMA",
    "mma": "MMA",
    "trades": "TRADES",
}


def names_of(*schemas: type[Schema]) -> set[str]:
    """The settings that the schemas have, as the config calls them."""
    return {
        field.alias or name for schema in schemas for name, field in schema.model_fields.items()
    }


def is_part(schema: type[Schema], name: str) -> bool:
    """Whether a setting is a part of the config, which is looked at as it is written."""
    return (_expected(schema).get(name) or "").startswith((PART, GROUP, "a list of"))


def takes_nothing(schema: type[Schema], name: str) -> bool:
    """Whether a setting may be None alone, which no expression needs to be evaluated for."""
    field = schema.model_fields.get(name)
    return field is not None and field.annotation is type(None)


def wrong_values(schema: type[Schema], values: Mapping[str, object]) -> dict[str, str]:
    """What is wrong with each setting by itself, in words.

    Args:
        schema: what settings may be.
        values: what they are; those that the schema does not have are passed over.

    Returns:
        For each that is wrong, a sentence with what was expected and what was got.
    """
    try:
        schema.model_validate(dict(values))
    except ValidationError as error:
        names = dict.fromkeys(str(each["loc"][0]) for each in error.errors(include_url=False))
        return {name: _sentence(schema, name, values[name]) for name in names}
    return {}


def wrong_together(values: Mapping[str, Any]) -> list[str]:
    """What does not fit in settings that are each right by itself, a sentence each."""
    found = []
    delta, eps_max = values.get("delta"), values.get("eps_max")
    if delta is not None and eps_max is not None and delta > eps_max:
        found.append(
            f"expected delta, by which a margin grows at an update, to be at most "
            f"eps_max={eps_max:g}, got {delta:g}"
        )
    found += _class_weights(values)
    found += _beyond_bounds(values)
    if values.get("protocol") is not None:
        own = {"steps": values.get("eval_steps"), "restarts": values.get("eval_restarts")}
        try:
            get_protocol(values["protocol"], **own)
        except ValueError:
            found.append(
                f"expected eval_restarts to be None with protocol={values['protocol']}, which has no "
                f"random starts, got {own['restarts']}; leave it out, or choose the protocol paper"
            )
    return found


def wrong_method(method: object, target: object) -> list[str]:
    """What is wrong if the name of a method is that of another objective than the config's.

    Args:
        method: the setting.
        target: the objective's class by its full name, or ``None`` where that is not known.
    """
    meant = _OBJECTIVES.get(str(method))
    got = str(target).rpartition(".")[2]
    if meant is None or got == meant or got not in _OBJECTIVES.values():
        return []
    said = (
        f"expected method to name the objective, which is {got}, got {method!r}: this setting is the "
        f"name alone; add bundles/objectives/{method}.json to --config_file"
    )
    return [said]


def unused_weights(class_weights: object, objective: Mapping[str, Any]) -> list[str]:
    """What is wrong if classes are weighed, and the config's objective does not weigh them.

    Args:
        class_weights: the setting.
        objective: the part of the config.
    """
    if class_weights is None or "class_weights" in objective:
        return []
    said = (
        f"expected an objective that takes class_weights, since the setting is {shown(class_weights)}, got "
        f'{objective.get("_target_")} without; add "class_weights": "@loss_weights" to its arguments, '
        f"or leave the setting out"
    )
    return [said]


def _class_weights(values: Mapping[str, Any]) -> list[str]:
    """Weights for other classes than there are, or against what is drawn in balance already."""
    weights, classes = values.get("class_weights"), values.get("num_classes")
    if weights == "balanced" and values.get("sampling") == "balanced":
        said = (
            "expected class_weights other than balanced with sampling=balanced, which draws every class "
            "as often as any other already; set sampling to shuffled, or leave class_weights out"
        )
        return [said]
    if weights is None or weights == "balanced" or classes is None or len(weights) == classes:
        return []
    said = (
        f"expected class_weights to be {classes} numbers, one for each of num_classes={classes} classes, "
        f"got {len(weights)}, {shown(weights)}; correct class_weights or num_classes"
    )
    return [said]


def _beyond_bounds(values: Mapping[str, Any]) -> list[str]:
    """Levels in Linf that reach every valid input; in L2 that depends on the size of the input."""
    low, high = values.get("bounds") or (
        (0, 1) if "bounds" not in values else (-math.inf, math.inf)
    )
    found = []
    for name in ("noise_levels", "evaluation_levels"):
        levels = values.get(name) or ()
        if isinstance(levels, Mapping):
            levels = levels.get("linf", ())
        elif values.get("norm") != "linf":
            continue
        if levels and levels[-1] > (high - low) * (1 + 1e-6):
            found.append(
                f"expected {name} within the bounds [{low:g}, {high:g}], got the level "
                f"{levels[-1]:g} (linf) where {high - low:g} reaches every valid input; correct "
                f"{name}" + (" or bounds" if "bounds" in values else "")
            )
    return found


def _expected(schema: type[Schema]) -> dict[str, str | None]:
    return {field.alias or name: field.description for name, field in schema.model_fields.items()}


def _sentence(schema: type[Schema], name: str, value: object) -> str:
    expected = _expected(schema)[name] or ""
    return f"expected {name} to be {expected}, got {shown(value)}" + _hint(expected, value)


def expectation(schema: type[Schema], name: str) -> str:
    """What a setting is expected to be, in words."""
    return _expected(schema).get(name) or ""


def shown(value: object) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _hint(expected: str, value: object) -> str:
    if isinstance(value, float) and value.is_integer() and "whole number" in expected:
        return f"; write {int(value)}" if abs(value) < 2**53 else ""
    if isinstance(value, str) and expected.startswith("one of "):
        words = expected.removeprefix("one of ").split(", ")
        near = difflib.get_close_matches(value.lower(), words, n=1)
        return f"; did you mean {near[0]}?" if near else ""
    return ""
