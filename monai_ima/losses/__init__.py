"""Losses: functions of logits and labels, one value a sample, or their mean."""

from monai_ima.losses.class_weights import mean_cross_entropy, weighted
from monai_ima.losses.divergence import kl_divergence
from monai_ima.losses.margin import (
    cross_entropy,
    hard_margin,
    logit_scale,
    soft_margin,
    soft_margin_slope,
    targeted_dlr,
)

__all__ = [
    "cross_entropy",
    "hard_margin",
    "kl_divergence",
    "logit_scale",
    "mean_cross_entropy",
    "soft_margin",
    "soft_margin_slope",
    "targeted_dlr",
    "weighted",
]
