"""The settings of the bundles: one schema for each, with type, range and unit of every one.

A schema says what a setting may be; whether it is given at all, and its default, is the config's
affair. What is expected is one phrase a setting, its description, which messages repeat.
"""

from monai_ima.settings.fields import PART
from monai_ima.settings.messages import (
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
from monai_ima.settings.schemas import (
    ClassifierSettings,
    EcgSettings,
    EvaluationSettings,
    ListSettings,
    MoonsSettings,
    ObjectiveSettings,
    OctSettings,
    ReportSettings,
    RunSettings,
    Schema,
    SmallImageSettings,
    TensorSettings,
    TrainingSettings,
    VolumeSettings,
)

__all__ = [
    "PART",
    "ClassifierSettings",
    "EcgSettings",
    "EvaluationSettings",
    "ListSettings",
    "MoonsSettings",
    "ObjectiveSettings",
    "OctSettings",
    "ReportSettings",
    "RunSettings",
    "Schema",
    "SmallImageSettings",
    "TensorSettings",
    "TrainingSettings",
    "VolumeSettings",
    "expectation",
    "is_part",
    "names_of",
    "shown",
    "takes_nothing",
    "unused_weights",
    "wrong_method",
    "wrong_together",
    "wrong_values",
]
