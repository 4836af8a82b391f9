"""What a training with margins should be set to: a short training of the plain network says."""

from monai_ima.planning.flat_regions import reference_noise
from monai_ima.planning.pilot import Pilot, Times, run_pilot
from monai_ima.planning.plan import Plan
from monai_ima.planning.planner import make_plan
from monai_ima.planning.proposal import Proposal, propose
from monai_ima.planning.quicker import Quicker
from monai_ima.planning.training_parts import TrainingParts
from monai_ima.planning.trials import Trial

__all__ = [
    "Pilot",
    "Plan",
    "Proposal",
    "Quicker",
    "Times",
    "TrainingParts",
    "Trial",
    "make_plan",
    "propose",
    "reference_noise",
    "run_pilot",
]
