"""Robustness of a classifier: how accurate it stays, and how far away the boundary is."""

from monai_ima.robustness.behaviour import check_answers, check_errors
from monai_ima.robustness.clean import Finding, clean_findings
from monai_ima.robustness.closest import check_range, closest_errors
from monai_ima.robustness.curve import RobustnessCurve, area_under, noise_levels, wilson_interval
from monai_ima.robustness.passes import CountingModel
from monai_ima.robustness.predicted import ChangedAnswers, changed_answers, percentiles_among
from monai_ima.robustness.protocols import (
    BlackBox,
    MinimumNorm,
    Paper,
    Protocol,
    Screen,
    Strong,
    get_protocol,
)
from monai_ima.robustness.search import ClosestErrors
from monai_ima.robustness.statistics import (
    balanced_accuracy,
    confusion,
    macro_auroc,
    median_margin,
    positive_predictive_value,
    specificity,
)
from monai_ima.robustness.uncertainty import (
    bootstrap_interval,
    bootstrap_means,
    holm,
    mcnemar,
    percentile_interval,
)

__all__ = [
    "BlackBox",
    "ChangedAnswers",
    "ClosestErrors",
    "CountingModel",
    "Finding",
    "MinimumNorm",
    "Paper",
    "Protocol",
    "RobustnessCurve",
    "Screen",
    "Strong",
    "area_under",
    "balanced_accuracy",
    "bootstrap_interval",
    "bootstrap_means",
    "changed_answers",
    "check_answers",
    "check_errors",
    "check_range",
    "clean_findings",
    "closest_errors",
    "confusion",
    "get_protocol",
    "holm",
    "macro_auroc",
    "mcnemar",
    "median_margin",
    "noise_levels",
    "percentile_interval",
    "percentiles_among",
    "positive_predictive_value",
    "specificity",
    "wilson_interval",
]
