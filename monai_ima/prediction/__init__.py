"""What a model says of cases without labels, and how far away another answer is."""

from monai_ima.prediction.files import write_predictions
from monai_ima.prediction.predictor import ChangedAnswer, Prediction, Predictor
from monai_ima.prediction.reference import ReferenceMargins
from monai_ima.prediction.saver import PredictionSaver

__all__ = [
    "ChangedAnswer",
    "Prediction",
    "PredictionSaver",
    "Predictor",
    "ReferenceMargins",
    "write_predictions",
]
