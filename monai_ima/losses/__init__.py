"""Losses: functions of logits and labels, one value a sample."""

from monai_ima.losses.margin import cross_entropy, soft_margin

__all__ = ["cross_entropy", "soft_margin"]
