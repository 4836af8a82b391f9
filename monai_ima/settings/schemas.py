"""Which settings the config of each bundle has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from monai_ima.attacks.forms import Form
from monai_ima.data.ecg.split import PROTOCOLS as SPLITS
from monai_ima.data.moons import PlaneShape
from monai_ima.data.tensors import Sampling
from monai_ima.settings.fields import (
    ALL,
    BOUNDS,
    COLUMN,
    FLAG,
    FLAG_OR_AUTO,
    LARGEST,
    LEVELS,
    LEVELS_BY_NORM,
    MOST_EPOCHS,
    MOST_SAMPLES,
    MOST_STEPS,
    PATH,
    PATTERN,
    SIGN,
    SIZE,
    UNITS,
    Axes,
    Bounds,
    Device,
    Even,
    Flag,
    FlagOrAuto,
    Group,
    ImageSize,
    Levels,
    LevelsByNorm,
    Name,
    Norm,
    OptionalPart,
    Part,
    Parts,
    Path,
    PatientPattern,
    PlaneSize,
    Protocol,
    Range,
    Section,
    Shares,
    Spacing,
    Units,
    Weights,
    number,
    one_of,
    text,
    whole,
)


class Schema(BaseModel):
    """What every schema has: values are taken as they are, ``"3"`` is no number."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore")


class RunSettings(Schema):
    """What trainings and evaluations of every bundle share."""

    bundle_root: Path = text(PATH)
    output_dir: Path = text(PATH)
    seed: int = whole(0, 2**32 - 1, "the seed of all that is random")
    device: Device = Field(
        default=None, description="a device that there is here, such as cpu, cuda or cuda:0"
    )
    protocol: Protocol = one_of(*get_args(Protocol))
    eval_steps: int | None = whole(1, MOST_STEPS, "attack steps", none="the protocol's own")
    eval_restarts: int | None = whole(1, 10_000, "random starts", none="the protocol's own")
    batch_size: int = whole(1, MOST_SAMPLES, "samples")
    loop_form: Form = one_of(*get_args(Form))
    tf32: Flag = text(FLAG)
    network_def: Part
    network: Part
    imports: list[Any] = text("a list of expressions")
    initialize: list[Any] = text("a list of expressions")
    run: list[Any] = text("a list of expressions")
    finalize: list[Any] = text("a list of expressions")


class TrainingSettings(RunSettings):
    """What the ``train.json`` of every bundle has."""

    method: str = text("a name of letters, digits, . _ and -", pattern=r"^[\w.-]+$")
    resume: Flag = text(FLAG)
    norm: Norm = one_of(*get_args(Norm))
    eps_max: float = number(
        f"a number > 0 and <= {LARGEST:g}, the largest noise, in input units", gt=0, le=LARGEST
    )
    noise_levels: Levels = number(LEVELS)
    bounds: Bounds = number(BOUNDS)
    num_classes: int = whole(2, 1_000_000, "classes")
    evaluation_batch_size: int = whole(1, MOST_SAMPLES, "samples")
    max_epochs: int = whole(1, MOST_EPOCHS, "epochs")
    learning_rate: float = number(f"a number > 0 and <= {LARGEST:g}", gt=0, le=LARGEST)
    beta: float = number("a number from 0 to 1, the weight of the noisy samples", ge=0, le=1)
    class_weights: Literal["balanced"] | Weights | None = text(
        f"balanced, or a list of numbers > 0 and <= {LARGEST:g}, one for each class, like [1, 3], or None: "
        "all classes count alike"
    )
    delta: float = number(
        f"a number > 0 and <= {LARGEST:g} and <= eps_max, in input units", gt=0, le=LARGEST
    )
    attack_steps: int = whole(1, MOST_STEPS, "attack steps")
    margin_steps: int = whole(1, MOST_STEPS, "attack steps")
    bisections: int = whole(0, 1_000, "halvings")
    margin_interval: int = whole(1, MOST_EPOCHS, "epochs")
    val_interval: int = whole(0, MOST_EPOCHS, "epochs; 0: after the last one only")
    robust_interval: int = whole(0, MOST_EPOCHS, "epochs; 0: after the last one only")
    keep_interval: int = whole(0, MOST_EPOCHS, "epochs; 0: none is kept")
    best_by: Literal["accuracy", "balanced_accuracy"] = one_of("accuracy", "balanced_accuracy")
    amp: Flag = text(FLAG)
    optimizer: Part
    datalist: Part
    objective: Part
    loss_weights: OptionalPart
    margins: Part
    resuming: Part
    run_record: Part
    run_dir: Part
    writer: Part
    curve: Part
    settings: Group
    epoch_seed: OptionalPart
    validation: OptionalPart
    robust_evaluation: OptionalPart
    weights_keeper: OptionalPart
    checkpoint: OptionalPart
    progress: OptionalPart
    margin_update: OptionalPart
    train: Group
    validate_: Group = Field(default=None, alias="validate")
    robustness: Group


class ObjectiveSettings(Schema):
    """What the files in ``bundles/objectives`` add; known to a config that has such a file."""

    adv_eps: float = number(f"a number >= 0 and <= {LARGEST:g}, in input units", ge=0, le=LARGEST)
    ddn_steps: int = whole(1, MOST_STEPS, "attack steps")
    iaat_eps: float = number(f"a number >= 0 and <= {LARGEST:g}, in input units", ge=0, le=LARGEST)
    iaat_gamma: float = number(
        f"a number >= 0 and <= {LARGEST:g}, in input units", ge=0, le=LARGEST
    )
    iaat_beta: float = number("a number from 0 to 1", ge=0, le=1)
    iaat_warmup: int = whole(0, MOST_EPOCHS, "epochs")
    trades_beta: float = number(f"a number >= 0 and <= {LARGEST:g}", ge=0, le=LARGEST)


class ListSettings(Schema):
    """Where samples are read from, of bundles that read images by a list or from folders."""

    dataset_dir: Path = text(PATH)
    datalist_file: Path | None = text(f"{PATH}, or None")
    path_column: Name | None = text(COLUMN)
    class_column: Name | None = text(COLUMN)
    patient_column: Name | None = text(COLUMN)
    split_column: Name | None = text(COLUMN)
    allow_outside: Flag = text(FLAG)
    patient_pattern: PatientPattern | None = text(f"{PATTERN}, or None")
    image_size: ImageSize = text(f"one to three {SIZE}, like [64, 64]")
    crop: Flag = text(FLAG)
    colour: Flag = text(FLAG)
    intensity_range: Range | None = text(
        "[low, high] in the units of the files, like [0, 4095], or minmax or percentiles of each image, "
        "or None: as the kind of file has it"
    )
    nan_value: float | None = number("an intensity from 0 to 1, or None", ge=0, le=1)
    num_workers: int = whole(0, 128, "loading processes")


class SamplingSettings(Schema):
    """How an epoch's samples are drawn."""

    sampling: Sampling = one_of(*get_args(Sampling))
    epoch_size: int | None = whole(1, MOST_SAMPLES, "samples of an epoch", none=ALL)


class OctSettings(TrainingSettings, ListSettings, SamplingSettings):
    """Of ``oct_ima``."""

    fractions: Shares = number(
        "three shares > 0 with the sum 1, of training, validation and test, like [0.7, 0.15, 0.15]"
    )
    samples_per_class: int | None = whole(1, MOST_SAMPLES, "samples", none=ALL)
    cache_rate: float = number("a number from 0 to 1, the share kept in memory", ge=0, le=1)
    resident: FlagOrAuto = text(FLAG_OR_AUTO)
    preprocessing: OptionalPart
    augmentation: OptionalPart
    margin_dataset: Part


class VolumeSettings(OctSettings):
    """Of ``volume_ima``."""

    orientation: Axes = text(
        "three letters, of left or right, anterior or posterior, superior or inferior, like RAS"
    )
    spacing: Spacing | None = number("three numbers > 0, in mm, like [1.0, 1.0, 1.5], or None")


class TensorSettings(TrainingSettings, SamplingSettings):
    """Of bundles whose data set is one tensor."""


class EcgSettings(TensorSettings):
    """Of ``ecg_ima``."""

    dataset_dir: Path = text(PATH)
    split: Literal["random", "inter_patient"] = one_of(*SPLITS)
    training_per_class: int | None = whole(1, MOST_SAMPLES, "beats", none=ALL)
    evaluation_per_class: int | None = whole(1, MOST_SAMPLES, "beats", none=ALL)


class SmallImageSettings(TensorSettings):
    """Of ``fashion_mnist_ima`` and ``svhn_ima``."""

    dataset_dir: Path = text(PATH)
    image_size: PlaneSize = text(f"two {SIZE}, like [32, 32]")
    training_samples: int | None = whole(1, MOST_SAMPLES, "samples", none=ALL)
    validation_samples: int | None = whole(1, MOST_SAMPLES, "samples", none=ALL)
    test_samples: int | None = whole(1, MOST_SAMPLES, "samples", none=ALL)


class MoonsSettings(TensorSettings):
    """Of ``moons_ima``."""

    dataset_dir: None = text("None: the points are drawn")
    shape: PlaneShape = one_of(*get_args(PlaneShape))
    noise: float = number(
        f"a number >= 0 and <= {LARGEST:g}, the standard deviation of a coordinate",
        ge=0,
        le=LARGEST,
    )
    training_samples: Even = number(
        f"an even number from 2 to {MOST_SAMPLES} (samples)", ge=2, le=MOST_SAMPLES
    )
    plane_interval: int = whole(1, MOST_EPOCHS, "epochs")
    plane: OptionalPart


class ReportSettings(Schema):
    """What every ``evaluate.json`` has."""

    bounds: Bounds | None = number(f"{BOUNDS}, or None ('$None' on the command line)")
    other_data: Flag = text(FLAG)
    chunk_size: int = whole(1, MOST_SAMPLES, "samples")
    check_samples: int = whole(0, MOST_SAMPLES, "samples; 0: no checks")
    noise_draws: int = whole(0, 100_000, "draws; 0: none")
    auroc_steps: int = whole(0, MOST_STEPS, "attack steps; 0: none")
    positive_class: Name | None = text(
        f"the name of one of two classes, as text ({SIGN}), or None: the second of them"
    )
    operating_specificity: float = number("a number > 0 and < 1, a specificity", gt=0, lt=1)
    prevalence: float | None = number(
        "a number > 0 and < 1, the share of the positive class, or None: that of the samples",
        gt=0,
        lt=1,
    )
    units: Units | None = text(f"{UNITS}, or None: not known")
    classifier: Part
    samples: Part
    dataset: Part
    dataloader: Part
    evaluation: Part
    inferer: Part
    key_metric: Group
    settings: Group
    handlers: Parts
    evaluator: Part


class EvaluationSettings(ReportSettings):
    """Of the ``evaluate.json`` that goes over a ``train.json``."""

    checkpoint: Path = text(PATH)
    evaluation_dir: Path = text(PATH)
    section: Section = one_of(*get_args(Section))
    evaluation_levels: LevelsByNorm = number(LEVELS_BY_NORM)


class ClassifierSettings(RunSettings, ListSettings, ReportSettings):
    """Of ``robustness_evaluation``."""

    network_def: OptionalPart
    checkpoint: Path | None = text(f"{PATH}, or None")
    checkpoint_key: Name | None = text("the name of the weights in the file, as text, or None")
    checkpoint_prefix: Name | None = text(
        "what the weights' names start with, as text (what looks like a number in quotes within "
        "quotes: --checkpoint_prefix \"'0.'\"), or None"
    )
    torchscript: Path | None = text(f"{PATH}, or None")
    section: Name | None = text("the name of a section of the list, or None: its test section")
    classes: Sequence[Name] | None = text(
        "class names in the order of the logits, like ['healthy', 'sick'], or None: as they sort"
    )
    num_classes: int | None = whole(2, 1_000_000, "classes", none="as the data have them")
    noise_levels: LevelsByNorm = number(LEVELS_BY_NORM)
    transforms: Part
