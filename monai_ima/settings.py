"""The settings of the bundles: one schema for each, with type, range and unit of every one.

A schema says what a setting may be; whether it is given at all, and its default, is the config's
affair. What is expected is one phrase a setting, its description, which messages repeat.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, get_args

import torch
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from monai_ima.data.ecg.split import PROTOCOLS as SPLITS
from monai_ima.data.moons import PlaneShape
from monai_ima.data.tensors import Sampling
from monai_ima.robustness import get_protocol

_MOST_EPOCHS = 1_000_000
_MOST_STEPS = 1_000_000
_MOST_SAMPLES = 1_000_000_000
_LARGEST = 1e9  # in input units: beyond, single precision has no finite answers
_MOST_PIXELS = 2**27  # of one image; four channels of it in single precision are 2 GiB


def _number(what: str, **limits: Any) -> Any:
    return Field(default=None, description=what, **limits)


def _whole(least: int, most: int, unit: str, *, none: str = "") -> Any:
    """A whole number; ``none`` says what leaving it open means, where that is allowed."""
    what = f"a whole number from {least} to {most} ({unit})" + (none and f", or None: {none}")
    return Field(default=None, ge=least, le=most, description=what)


def _text(what: str, **limits: Any) -> Any:
    return Field(default=None, description=what, **limits)


def _one_of(*words: str) -> Any:
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


def _not_too_large(sides: Sequence[int]) -> Sequence[int]:
    if math.prod(sides) > _MOST_PIXELS:
        raise ValueError
    return sides


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


def _parts(value: object) -> object:
    if isinstance(value, list):
        return [_part(each) for each in value]
    return _part(value)


Flag: TypeAlias = Annotated[bool, BeforeValidator(_word)]
Level: TypeAlias = Annotated[float, Field(ge=0, le=_LARGEST)]
Bound: TypeAlias = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST)]
Levels: TypeAlias = Annotated[Sequence[Level], Field(min_length=1), AfterValidator(_increasing)]
LevelsByNorm: TypeAlias = Annotated[dict[Literal["linf", "l2"], Levels], Field(min_length=1)]
Bounds: TypeAlias = Annotated[
    Sequence[Bound], Field(min_length=2, max_length=2), AfterValidator(_rising)
]
Shares: TypeAlias = Annotated[
    Sequence[float], Field(min_length=3, max_length=3), AfterValidator(_whole_split)
]
Side: TypeAlias = Annotated[int, Field(ge=1)]
ImageSize: TypeAlias = Annotated[
    Sequence[Side], Field(min_length=1, max_length=3), AfterValidator(_not_too_large)
]
PlaneSize: TypeAlias = Annotated[
    Sequence[Side], Field(min_length=2, max_length=2), AfterValidator(_not_too_large)
]
Even: TypeAlias = Annotated[int, AfterValidator(_even)]
PatientPattern: TypeAlias = Annotated[str, AfterValidator(_compiles)]
Path: TypeAlias = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]
Name: TypeAlias = Annotated[str, Field(min_length=1)]
Device: TypeAlias = Annotated[Any, AfterValidator(_present)]
Part: TypeAlias = Annotated[Any, AfterValidator(_part)]
Group: TypeAlias = Annotated[Any, AfterValidator(_group)]
OptionalPart: TypeAlias = Annotated[Any, AfterValidator(lambda v: v if v is None else _part(v))]
Norm: TypeAlias = Literal["linf", "l2"]
Section: TypeAlias = Literal["training", "validation", "test"]
Protocol: TypeAlias = Literal["minimum_norm", "paper", "screen", "strong", "blackbox"]

_LEVELS = "noise levels, finite, not negative and increasing, like [0, 0.01, 0.02], in input units"
_LEVELS_BY_NORM = "noise levels for linf, l2 or both, like {'linf': [0, 0.01], 'l2': [0, 0.5]}"
_BOUNDS = "[low, high], the range of valid inputs, finite and low < high"
_PATH = "a path (of a name that is a number, ./2024)"
_COLUMN = "the name of a column, as text, or None: known by its name"
_SIZE = f"whole numbers of pixels >= 1, at most {_MOST_PIXELS} pixels together"
_GROUP = "a group of parts of the config, a dictionary"
PART = "a part of the config: a dictionary with _target_, or an expression"
_FLAG = "true or false"
_ALL = "all there are"
_PATTERN = "a regular expression with a group (?P<patient>...)"


class Schema(BaseModel):
    """What every schema has: values are taken as they are, ``"3"`` is no number."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore")


class RunSettings(Schema):
    """What trainings and evaluations of every bundle share."""

    bundle_root: Path = _text(_PATH)
    output_dir: Path = _text(_PATH)
    seed: int = _whole(0, 2**32 - 1, "the seed of all that is random")
    device: Device = Field(
        default=None, description="a device that there is here, such as cpu, cuda or cuda:0"
    )
    protocol: Protocol = _one_of(*get_args(Protocol))
    eval_steps: int | None = _whole(1, _MOST_STEPS, "attack steps", none="the protocol's own")
    eval_restarts: int | None = _whole(1, 10_000, "random starts", none="the protocol's own")
    batch_size: int = _whole(1, _MOST_SAMPLES, "samples")
    network_def: Part = _text(PART)
    network: Part = _text(PART)
    imports: list[Any] = _text("a list of expressions")
    initialize: list[Any] = _text("a list of expressions")
    run: list[Any] = _text("a list of expressions")
    finalize: list[Any] = _text("a list of expressions")


class TrainingSettings(RunSettings):
    """What the ``train.json`` of every bundle has."""

    method: str = _text("a name of letters, digits, . _ and -", pattern=r"^[\w.-]+$")
    resume: Flag = _text(_FLAG)
    norm: Norm = _one_of(*get_args(Norm))
    eps_max: float = _number(
        f"a number > 0 and <= {_LARGEST:g}, the largest noise, in input units", gt=0, le=_LARGEST
    )
    noise_levels: Levels = _number(_LEVELS)
    bounds: Bounds = _number(_BOUNDS)
    num_classes: int = _whole(2, 1_000_000, "classes")
    evaluation_batch_size: int = _whole(1, _MOST_SAMPLES, "samples")
    max_epochs: int = _whole(1, _MOST_EPOCHS, "epochs")
    learning_rate: float = _number(f"a number > 0 and <= {_LARGEST:g}", gt=0, le=_LARGEST)
    beta: float = _number("a number from 0 to 1, the weight of the noisy samples", ge=0, le=1)
    delta: float = _number(
        f"a number > 0 and <= {_LARGEST:g} and <= eps_max, in input units", gt=0, le=_LARGEST
    )
    attack_steps: int = _whole(1, _MOST_STEPS, "attack steps")
    margin_steps: int = _whole(1, _MOST_STEPS, "attack steps")
    bisections: int = _whole(0, 1_000, "halvings")
    margin_interval: int = _whole(1, _MOST_EPOCHS, "epochs")
    val_interval: int = _whole(0, _MOST_EPOCHS, "epochs; 0: after the last one only")
    robust_interval: int = _whole(0, _MOST_EPOCHS, "epochs; 0: after the last one only")
    keep_interval: int = _whole(0, _MOST_EPOCHS, "epochs; 0: none is kept")
    optimizer: Part = _text(PART)
    datalist: Part = _text(PART)
    objective: Part = _text(PART)
    margins: Part = _text(PART)
    resuming: Part = _text(PART)
    run_record: Part = _text(PART)
    run_dir: Part = _text(PART)
    writer: Part = _text(PART)
    curve: Part = _text(PART)
    settings: Group = _text(_GROUP)
    epoch_seed: OptionalPart = _text(f"{PART}, or None")
    validation: OptionalPart = _text(f"{PART}, or None")
    robust_evaluation: OptionalPart = _text(f"{PART}, or None")
    weights_keeper: OptionalPart = _text(f"{PART}, or None")
    checkpoint: OptionalPart = _text(f"{PART}, or None")
    progress: OptionalPart = _text(f"{PART}, or None")
    margin_update: OptionalPart = _text(f"{PART}, or None")
    train: Group = _text(_GROUP)
    validate_: Group = Field(default=None, alias="validate", description=_GROUP)
    robustness: Group = _text(_GROUP)


class ObjectiveSettings(Schema):
    """What the files in ``bundles/objectives`` add; known to a config that has such a file."""

    adv_eps: float = _number(
        f"a number >= 0 and <= {_LARGEST:g}, in input units", ge=0, le=_LARGEST
    )
    ddn_steps: int = _whole(1, _MOST_STEPS, "attack steps")
    iaat_eps: float = _number(
        f"a number >= 0 and <= {_LARGEST:g}, in input units", ge=0, le=_LARGEST
    )
    iaat_gamma: float = _number(
        f"a number >= 0 and <= {_LARGEST:g}, in input units", ge=0, le=_LARGEST
    )
    iaat_beta: float = _number("a number from 0 to 1", ge=0, le=1)
    iaat_warmup: int = _whole(0, _MOST_EPOCHS, "epochs")
    trades_beta: float = _number(f"a number >= 0 and <= {_LARGEST:g}", ge=0, le=_LARGEST)


class ListSettings(Schema):
    """Where samples are read from, of bundles that read images by a list or from folders."""

    dataset_dir: Path = _text(_PATH)
    datalist_file: Path | None = _text(f"{_PATH}, or None")
    path_column: Name | None = _text(_COLUMN)
    class_column: Name | None = _text(_COLUMN)
    patient_column: Name | None = _text(_COLUMN)
    split_column: Name | None = _text(_COLUMN)
    allow_outside: Flag = _text(_FLAG)
    patient_pattern: PatientPattern | None = _text(f"{_PATTERN}, or None")
    image_size: ImageSize = _text(f"one to three {_SIZE}, like [64, 64]")
    crop: Flag = _text(_FLAG)
    nan_value: float | None = _number("a grey value from 0 to 1, or None", ge=0, le=1)
    num_workers: int = _whole(0, 128, "loading processes")


class OctSettings(TrainingSettings, ListSettings):
    """Of ``oct_ima``."""

    fractions: Shares = _number(
        "three shares > 0 with the sum 1, of training, validation and test, like [0.7, 0.15, 0.15]"
    )
    samples_per_class: int | None = _whole(1, _MOST_SAMPLES, "samples", none=_ALL)
    cache_rate: float = _number("a number from 0 to 1, the share kept in memory", ge=0, le=1)
    preprocessing: OptionalPart = _text(f"{PART}, or None")
    augmentation: OptionalPart = _text(f"{PART}, or None")
    margin_dataset: Part = _text(PART)


class TensorSettings(TrainingSettings):
    """Of bundles whose data set is one tensor."""

    sampling: Sampling = _one_of(*get_args(Sampling))
    epoch_size: int | None = _whole(1, _MOST_SAMPLES, "samples of an epoch", none=_ALL)


class EcgSettings(TensorSettings):
    """Of ``ecg_ima``."""

    dataset_dir: Path = _text(_PATH)
    split: Literal["random", "inter_patient"] = _one_of(*SPLITS)
    training_per_class: int | None = _whole(1, _MOST_SAMPLES, "beats", none=_ALL)
    evaluation_per_class: int | None = _whole(1, _MOST_SAMPLES, "beats", none=_ALL)


class SmallImageSettings(TensorSettings):
    """Of ``fashion_mnist_ima`` and ``svhn_ima``."""

    dataset_dir: Path = _text(_PATH)
    image_size: PlaneSize = _text(f"two {_SIZE}, like [32, 32]")
    training_samples: int | None = _whole(1, _MOST_SAMPLES, "samples", none=_ALL)
    validation_samples: int | None = _whole(1, _MOST_SAMPLES, "samples", none=_ALL)
    test_samples: int | None = _whole(1, _MOST_SAMPLES, "samples", none=_ALL)


class MoonsSettings(TensorSettings):
    """Of ``moons_ima``."""

    dataset_dir: None = _text("None: the points are drawn")
    shape: PlaneShape = _one_of(*get_args(PlaneShape))
    noise: float = _number(
        f"a number >= 0 and <= {_LARGEST:g}, the standard deviation of a coordinate",
        ge=0,
        le=_LARGEST,
    )
    training_samples: Even = _number(
        f"an even number from 2 to {_MOST_SAMPLES} (samples)", ge=2, le=_MOST_SAMPLES
    )
    plane_interval: int = _whole(1, _MOST_EPOCHS, "epochs")
    plane: OptionalPart = _text(f"{PART}, or None")


class ReportSettings(Schema):
    """What every ``evaluate.json`` has."""

    bounds: Bounds | None = _number(f"{_BOUNDS}, or None ('$None' on the command line)")
    other_data: Flag = _text(_FLAG)
    chunk_size: int = _whole(1, _MOST_SAMPLES, "samples")
    check_samples: int = _whole(0, _MOST_SAMPLES, "samples; 0: no checks")
    noise_draws: int = _whole(0, 100_000, "draws; 0: none")
    auroc_steps: int = _whole(0, _MOST_STEPS, "attack steps; 0: none")
    classifier: Part = _text(PART)
    samples: Part = _text(PART)
    dataset: Part = _text(PART)
    dataloader: Part = _text(PART)
    evaluation: Part = _text(PART)
    inferer: Part = _text(PART)
    key_metric: Group = _text(_GROUP)
    settings: Group = _text(_GROUP)
    handlers: Annotated[Any, AfterValidator(_parts)] = _text(f"a list of which each is {PART}")
    evaluator: Part = _text(PART)


class EvaluationSettings(ReportSettings):
    """Of the ``evaluate.json`` that goes over a ``train.json``."""

    checkpoint: Path = _text(_PATH)
    evaluation_dir: Path = _text(_PATH)
    section: Section = _one_of(*get_args(Section))
    evaluation_levels: LevelsByNorm = _number(_LEVELS_BY_NORM)


class ClassifierSettings(RunSettings, ListSettings, ReportSettings):
    """Of ``robustness_evaluation``."""

    network_def: OptionalPart = _text(f"{PART}, or None")
    checkpoint: Path | None = _text(f"{_PATH}, or None")
    checkpoint_key: Name | None = _text("the name of the weights in the file, as text, or None")
    checkpoint_prefix: Name | None = _text(
        "what the weights' names start with, as text (what looks like a number in quotes within "
        "quotes: --checkpoint_prefix \"'0.'\"), or None"
    )
    torchscript: Path | None = _text(f"{_PATH}, or None")
    section: Name | None = _text("the name of a section of the list, or None: its test section")
    classes: Sequence[Name] | None = _text(
        "class names in the order of the logits, like ['healthy', 'sick'], or None: as they sort"
    )
    num_classes: int | None = _whole(2, 1_000_000, "classes", none="as the data have them")
    noise_levels: LevelsByNorm = _number(_LEVELS_BY_NORM)
    transforms: Part = _text(PART)


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
    return (_expected(schema).get(name) or "").startswith((PART, _GROUP, "a list of"))


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
