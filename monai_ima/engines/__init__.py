"""Engines: a MONAI trainer whose iteration is one objective, and inference that gives logits."""

from monai_ima.engines.inferer import LogitsInferer
from monai_ima.engines.trainer import RobustTrainer

__all__ = ["LogitsInferer", "RobustTrainer"]
