"""Engines: a MONAI trainer whose iteration is one objective."""

from monai_ima.engines.trainer import RobustTrainer

__all__ = ["RobustTrainer"]
