"""What one setting may be: its type, its range, and the phrase that says so."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

import torch
from pydantic import AfterValidator, BeforeValidator, Field

MOST_EPOCHS = 1_000_000
MOST_STEPS = 1_000_000
MOST_SAMPLES = 1_000_000_000
LARGEST = 1e9  # in input units: beyond, single precision has no finite answers
_MOST_PIXELS = 2**27  # of one image; four channels of it in single precision are 2 GiB
PART = "a part of the config: a dictionary with _target_, or an expression"
GROUP = "a group of parts of the config, a dictionary"
_AXES = ["AP", "IS", "LR"]


def number(what: str, **limits: Any) -> Any:
    """A number, of which ``what`` says the range and the unit."""
    return Field(default=None, description=what, **limits)


def whole(least: int, most: int, unit: str, *, none: str = "") -> Any:
    """A whole number; ``none`` says what leaving it open means, where that is allowed."""
    what = f"a whole number from {least} to {most} ({unit})" + (none and f", or None: {none}")
    return Field(default=None, ge=least, le=most, description=what)


def text(what: str, **limits: Any) -> Any:
    """Anything, of which ``what`` says what it is."""
    return Field(default=None, description=what, **limits)


def one_of(*words: str) -> Any:
    """One of a few words."""
    return Field(default=None, description=f"one of {', '.join(words)}")


def _word(value: object) -> object:
    """The command line hands over words; Python and JSON have their own."""
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value


def _increasing(levels: Sequence[float]) -> Sequence[float]:
    rising = all(low < high for low, high in itertools.pairwise(levels))
    if not rising or levels[0] < 0 or levels[-1] <= 0:
        raise ValueError
    return levels


def _rising(bounds: Sequence[float]) -> Sequence[float]:
    low, high = bounds
    if not low < high:
        raise ValueError
    return bounds


def _whole_split(fractions: Sequence[float]) -> Sequence[float]:
    if min(fractions) <= 0 or not math.isclose(sum(fractions), 1):
        raise ValueError
    return fractions


def _one_of_each_axis(letters: str) -> str:
    if sorted(next((pair for pair in _AXES if each in pair), "") for each in letters) != _AXES:
        raise ValueError(letters)
    return letters


def _not_too_large(sides: Sequence[int]) -> Sequence[int]:
    if math.prod(sides) > _MOST_PIXELS:
        raise ValueError
    return sides


def _as_it_was_written(words: str) -> str:
    """MONAI's parser makes ``::`` of ``#``: there would be another folder or class, or none."""
    if "::" in words:
        raise ValueError
    return words


def _even(count: int) -> int:
    if count % 2:
        raise ValueError
    return count


def _finds_patient(pattern: str) -> str:
    if "patient" not in re.compile(pattern).groupindex:
        raise ValueError
    return pattern


def _compiles(pattern: str) -> str:
    try:
        return _finds_patient(pattern)
    except re.error as error:
        raise ValueError from error


def _present(device: object) -> object:
    try:
        chosen = torch.device(device) if isinstance(device, str) else device
        if not isinstance(chosen, torch.device) or chosen.type == "meta":
            raise ValueError
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError from error
    return device


def _part(value: object) -> object:
    """A part of the config, which is no plain value: a dictionary, an expression or a reference."""
    written = isinstance(value, str) and value.startswith(("$", "@"))
    if not written and not (isinstance(value, dict) and "_target_" in value):
        raise ValueError
    return value


def _group(value: object) -> object:
    """Parts and values by name."""
    if not isinstance(value, dict) or "_target_" in value:
        raise ValueError
    return value


def _units(units: dict[str, Any]) -> dict[str, Any]:
    match units:
        case {"name": str(name), "per_unit": int() | float() as number, **others} if (
            name and 0 < number < math.inf and not others
        ):
            return units
    raise ValueError


def _parts(value: object) -> object:
    if isinstance(value, list):
        return [_part(each) for each in value]
    return _part(value)


Flag: TypeAlias = Annotated[bool, BeforeValidator(_word)]
FlagOrAuto: TypeAlias = Annotated[
    bool | Literal["auto"],
    BeforeValidator(lambda value: value if value == "auto" else _word(value)),
]
Level: TypeAlias = Annotated[float, Field(ge=0, le=LARGEST)]
Bound: TypeAlias = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Levels: TypeAlias = Annotated[Sequence[Level], Field(min_length=1), AfterValidator(_increasing)]
LevelsByNorm: TypeAlias = Annotated[dict[Literal["linf", "l2"], Levels], Field(min_length=1)]
Bounds: TypeAlias = Annotated[
    Sequence[Bound], Field(min_length=2, max_length=2), AfterValidator(_rising)
]
Range: TypeAlias = Literal["minmax", "percentiles"] | Bounds
Shares: TypeAlias = Annotated[
    Sequence[float], Field(min_length=3, max_length=3), AfterValidator(_whole_split)
]
Weights: TypeAlias = Annotated[
    Sequence[Annotated[float, Field(gt=0, le=LARGEST)]], Field(min_length=2)
]
Axes: TypeAlias = Annotated[str, AfterValidator(_one_of_each_axis)]
Spacing: TypeAlias = Annotated[
    Sequence[Annotated[float, Field(gt=0, le=1000)]], Field(min_length=3, max_length=3)
]
Side: TypeAlias = Annotated[int, Field(ge=1)]
ImageSize: TypeAlias = Annotated[
    Sequence[Side], Field(min_length=1, max_length=3), AfterValidator(_not_too_large)
]
PlaneSize: TypeAlias = Annotated[
    Sequence[Side], Field(min_length=2, max_length=2), AfterValidator(_not_too_large)
]
Even: TypeAlias = Annotated[int, AfterValidator(_even)]
PatientPattern: TypeAlias = Annotated[
    str, AfterValidator(_compiles), AfterValidator(_as_it_was_written)
]
Path: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$"),
    AfterValidator(_as_it_was_written),
]
Name: TypeAlias = Annotated[str, Field(min_length=1), AfterValidator(_as_it_was_written)]
Device: TypeAlias = Annotated[Any, AfterValidator(_present)]
Part: TypeAlias = Annotated[Any, text(PART), AfterValidator(_part)]
Group: TypeAlias = Annotated[Any, text(GROUP), AfterValidator(_group)]
Parts: TypeAlias = Annotated[Any, text(f"a list of which each is {PART}"), AfterValidator(_parts)]
OptionalPart: TypeAlias = Annotated[
    Any, text(f"{PART}, or None"), AfterValidator(lambda v: v if v is None else _part(v))
]
Units: TypeAlias = Annotated[dict[str, Any], AfterValidator(_units)]
Norm: TypeAlias = Literal["linf", "l2"]
Section: TypeAlias = Literal["training", "validation", "test"]
Protocol: TypeAlias = Literal["minimum_norm", "paper", "screen", "strong", "blackbox"]

LEVELS = "noise levels, finite, not negative and increasing, like [0, 0.01, 0.02], in input units"
LEVELS_BY_NORM = "noise levels for linf, l2 or both, like {'linf': [0, 0.01], 'l2': [0, 0.5]}"
UNITS = (
    "{'name': NAME, 'per_unit': NUMBER}, the units of the data, and how many of them > 0 one unit of the "
    "inputs is"
)
BOUNDS = "[low, high], the range of valid inputs, finite and low < high"
SIGN = "with a #, for which MONAI's configs have ::, an expression like $'a\\x231'"
PATH = f"a path (of a name that is a number, ./2024; {SIGN})"
COLUMN = f"the name of a column, as text ({SIGN}), or None: known by its name"
SIZE = f"whole numbers of pixels >= 1, at most {_MOST_PIXELS} pixels together"
FLAG = "true or false"
FLAG_OR_AUTO = "true, false or auto"
ALL = "all there are"
PATTERN = f"a regular expression with a group (?P<patient>...) ({SIGN})"
