"""Robustness of a classifier: how accurate it stays, and how far away the boundary is."""

from monai_ima.robustness.curve import RobustnessCurve, noise_levels, sweep, wilson_interval

__all__ = ["RobustnessCurve", "noise_levels", "sweep", "wilson_interval"]
