"""What a model returns: logits, or something that would be mistaken for logits."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from monai_ima.logits import is_single_output
from monai_ima.losses import logit_scale

_logger = logging.getLogger(__name__)
# How many times the scale of the other classes: at 200, as of -1e4, a minimum-norm attack left up to
# 36 points too many samples robust, at 2 up to 5.
_MASK_WEIGHT = 2


def output_kind(outputs: Tensor) -> str:
    """What a model returns: logits, or by mistake probabilities, in which small gradients vanish."""
    sums = outputs.double().sum(dim=1)  # of numbers that may have been in bfloat16
    if outputs.min() < 0 or not torch.allclose(sums, torch.ones_like(sums), atol=5e-3):
        return "logits"
    _logger.warning(
        "THE MODEL RETURNS PROBABILITIES: where it is confident, their gradients vanish and it "
        "looks more robust than it is. Give a network that returns logits, without the softmax."
    )
    return "probabilities"


def check_single_output(logits: Tensor) -> None:
    """Reject what is no logit of two classes, but the probability of the second."""
    low, high = (end.item() for end in logits[:, 1].aminmax())
    if is_single_output(logits) and 0 <= low <= high <= 1 and high > 0:  # dead logits are all 0
        raise ValueError(
            f"expected the model's single output to be a logit, negative for the first class, got "
            f"values from {low:.3g} to {high:.3g} for all of {len(logits)} samples, as a sigmoid "
            "gives: taken for logits they would all mean the second class; give a network "
            "(network_def) that returns the logit, without the sigmoid"
        )


def check_mask(logits: Tensor, classes: Sequence[str]) -> None:
    """Reject a class put so far below the others that its logit alone is the scale of all."""
    constant = (logits == logits[0]).all(dim=0)
    others = logits[:, ~constant]
    if others.shape[1] < 2:
        return
    masked = (constant & (logits[0] < others.min())).nonzero()[:, 0].tolist()
    if masked and (logit_scale(others) / logit_scale(logits)).median() > _MASK_WEIGHT:
        raise ValueError(
            f"expected logits of one scale, got {logits[0, masked[0]].item():g} for class "
            f"{', '.join(classes[c] for c in masked)} in every sample, as a mask puts it: attacks "
            "measure logits by their mean, and would find too little; leave the class out of the "
            f"network's outputs, or mask it by a logit no lower than {others.min().item():.3g}, the "
            "lowest of the others"
        )
