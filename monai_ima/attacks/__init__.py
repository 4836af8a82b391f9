"""Attacks: tensors in, tensors out, no state, pure PyTorch."""

from monai_ima.attacks.apgd_attack import apgd, apgd_targeted
from monai_ima.attacks.base import misclassified
from monai_ima.attacks.bpgd_attack import Segment, Side, bpgd
from monai_ima.attacks.ddn_attack import ddn
from monai_ima.attacks.draws import SampleDraws
from monai_ima.attacks.fmn_attack import fmn
from monai_ima.attacks.fmn_targeted_attack import fmn_targeted
from monai_ima.attacks.forms import loop_form
from monai_ima.attacks.norms import L2, Linf, Norm, get_norm
from monai_ima.attacks.pgd_attack import pgd
from monai_ima.attacks.result import AttackResult
from monai_ima.attacks.square_attack import square

__all__ = [
    "L2",
    "AttackResult",
    "Linf",
    "Norm",
    "SampleDraws",
    "Segment",
    "Side",
    "apgd",
    "apgd_targeted",
    "bpgd",
    "ddn",
    "fmn",
    "fmn_targeted",
    "get_norm",
    "loop_form",
    "misclassified",
    "pgd",
    "square",
]
