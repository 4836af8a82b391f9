"""Training on the nearest adversarial samples that DDN finds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from monai_ima.attacks import Norm, ddn, get_norm
from monai_ima.attacks.base import attacking, checked_labels, checked_number, classifying
from monai_ima.counts import checked_count
from monai_ima.losses import mean_cross_entropy
from monai_ima.objectives.base import Objective, ObjectiveResult


class DDNAdversarial(Objective):
    """Cross-entropy on the nearest misclassified samples in L2, none further away than ``eps``.

    A sample for which DDN finds nothing, or which is misclassified already, stays as it is. There is
    no loss on clean samples: the network sees them in eval mode only, for what is logged of them.

    Args:
        norm: ``"l2"``, the only one that the attack knows; an argument, so that a config which asks
            for another is rejected and not ignored.
        eps: largest length of a perturbation, in units of the inputs; longer ones are shortened to
            it. The paper has 2.4 for MNIST and 1 for CIFAR-10; here it should be as large as the
            noise that the other methods are trained against.
        steps: gradient steps of the attack; 100 in the IMA paper's comparison.
        bounds: range of valid inputs.
        class_weights: see :class:`~monai_ima.objectives.Objective`.

    Raises:
        ValueError: if the norm is not L2, or a number is outside its range.

    Source:
        Rony et al., Decoupling Direction and Norm for Efficient Gradient-Based L2 Adversarial Attacks
        and Defenses, CVPR 2019, section 6.
    """

    terms = ("loss_clean", "loss_noisy")
    capturable = True

    def __init__(
        self,
        *,
        norm: Norm | str,
        eps: float,
        steps: int = 100,
        bounds: tuple[float, float] = (0.0, 1.0),
        class_weights: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__(class_weights)
        self.norm = get_norm(norm)
        if self.norm.name != "l2":
            raise ValueError(
                f"expected norm 'l2', got {self.norm.name!r}; DDN is an attack in L2 alone, choose "
                "another method for other norms"
            )
        checked_count("steps", steps, at_least=1)
        self.eps = checked_number("eps", eps)
        self.steps = steps
        self._attack = partial(ddn, steps=steps, bounds=bounds)

    @property
    def settings(self) -> dict[str, Any]:
        return {"eps": self.eps, "steps": self.steps}

    def forward(
        self,
        network: nn.Module,
        inputs: Tensor,
        labels: Tensor,
        index: Tensor,  # noqa: ARG002  nothing is remembered about a sample
    ) -> ObjectiveResult:
        labels = checked_labels(labels)
        with attacking(network, inputs) as classify, torch.no_grad():
            logits = classify(inputs)
        nearest = self._attack(network, inputs, labels).inputs
        eps = torch.full_like(labels, self.eps, dtype=inputs.dtype)
        noisy = inputs + self.norm.project(nearest - inputs, eps)
        loss = mean_cross_entropy(classifying(network)(noisy), labels, self.class_weights)
        terms = {
            "loss_clean": mean_cross_entropy(logits, labels, self.class_weights),
            "loss_noisy": loss.detach(),
        }
        return ObjectiveResult(loss, logits, terms)
