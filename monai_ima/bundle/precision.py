"""The precision of float32 on a GPU."""

import torch


def allow_tf32(allowed: bool) -> None:
    """Allow convolutions and matrix products on a CUDA device in TF32, with 10 bits of a fraction, or not.

    Torch by itself allows the ones and not the others.
    """
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed
