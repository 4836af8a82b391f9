"""Attacks: tensors in, tensors out, no state, pure PyTorch."""

from monai_ima.attacks.border import misclassified
from monai_ima.attacks.bpgd import Segment, Side, bpgd
from monai_ima.attacks.norms import L2, Linf, Norm, get_norm
from monai_ima.attacks.pgd import pgd
from monai_ima.attacks.result import AttackResult

__all__ = [
    "L2",
    "AttackResult",
    "Linf",
    "Norm",
    "Segment",
    "Side",
    "bpgd",
    "get_norm",
    "misclassified",
    "pgd",
]
