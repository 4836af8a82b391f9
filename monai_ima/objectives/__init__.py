"""Objectives: training methods, which need the network because they attack it."""

from monai_ima.objectives.base import Objective, ObjectiveResult
from monai_ima.objectives.ce import CrossEntropy
from monai_ima.objectives.ima import IMA

__all__ = ["IMA", "CrossEntropy", "Objective", "ObjectiveResult"]
