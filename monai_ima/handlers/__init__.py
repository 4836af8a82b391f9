"""Handlers: what MONAI's engines do around an iteration. They call the mathematics, never hold it."""

from monai_ima.handlers.checkpoint import RunCheckpoint
from monai_ima.handlers.evaluation import RobustnessEvaluation
from monai_ima.handlers.folder_lock import FolderInUseError
from monai_ima.handlers.interval import ValidateAtEnd
from monai_ima.handlers.margin_update import MarginUpdateHandler
from monai_ima.handlers.plane import PlaneHandler
from monai_ima.handlers.progress import ProgressHandler
from monai_ima.handlers.robustness_curve import RobustnessCurveHandler
from monai_ima.handlers.robustness_report import RobustnessReport
from monai_ima.handlers.run_writer import RunWriter
from monai_ima.handlers.seed import EpochSeedHandler
from monai_ima.handlers.slot import HandlerSlot
from monai_ima.handlers.weights_keeper import WeightsKeeper, kept_weights

__all__ = [
    "EpochSeedHandler",
    "FolderInUseError",
    "HandlerSlot",
    "MarginUpdateHandler",
    "PlaneHandler",
    "ProgressHandler",
    "RobustnessCurveHandler",
    "RobustnessEvaluation",
    "RobustnessReport",
    "RunCheckpoint",
    "RunWriter",
    "ValidateAtEnd",
    "WeightsKeeper",
    "kept_weights",
]
