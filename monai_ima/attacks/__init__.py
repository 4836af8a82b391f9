"""Attacks: tensors in, tensors out, no state, pure PyTorch."""

from monai_ima.attacks.apgd import apgd, apgd_targeted
from monai_ima.attacks.border import misclassified
from monai_ima.attacks.bpgd import Segment, Side, bpgd
from monai_ima.attacks.ddn import ddn
from monai_ima.attacks.fmn import fmn
from monai_ima.attacks.norms import L2, Linf, Norm, get_norm
from monai_ima.attacks.pgd import pgd
from monai_ima.attacks.result import AttackResult
from monai_ima.attacks.square import square

__all__ = [
    "L2",
    "AttackResult",
    "Linf",
    "Norm",
    "Segment",
    "Side",
    "apgd",
    "apgd_targeted",
    "bpgd",
    "ddn",
    "fmn",
    "get_norm",
    "misclassified",
    "pgd",
    "square",
]
