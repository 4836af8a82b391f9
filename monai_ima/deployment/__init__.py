"""From a run to a model that others use: a MONAI bundle, and predictions by it."""

from monai_ima.deployment.export import export_run
from monai_ima.deployment.predict import PredictedFiles, predict_files

__all__ = ["PredictedFiles", "export_run", "predict_files"]
