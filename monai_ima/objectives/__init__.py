"""Objectives: training methods, which need the network because they attack it."""

from monai_ima.objectives.adv import StandardAdversarial
from monai_ima.objectives.base import Objective, ObjectiveResult
from monai_ima.objectives.ce import CrossEntropy
from monai_ima.objectives.ddn import DDNAdversarial
from monai_ima.objectives.iaat import IAAT
from monai_ima.objectives.ima import IMA
from monai_ima.objectives.mma import MMA
from monai_ima.objectives.trades import TRADES

__all__ = [
    "IAAT",
    "IMA",
    "MMA",
    "TRADES",
    "CrossEntropy",
    "DDNAdversarial",
    "Objective",
    "ObjectiveResult",
    "StandardAdversarial",
]
