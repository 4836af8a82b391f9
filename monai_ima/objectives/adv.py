"""Standard adversarial training: every sample is attacked with the same radius."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from monai_ima.attacks import Norm, get_norm, pgd
from monai_ima.attacks.base import checked_labels, checked_number, classifying
from monai_ima.counts import checked_count
from monai_ima.losses import mean_cross_entropy
from monai_ima.objectives.base import Objective, ObjectiveResult


class StandardAdversarial(Objective):
    """Cross-entropy on clean samples, and on what PGD makes of them (``adv eps`` in the paper).

    ``L = w CE(clean) + (1 - w) CE(attacked)``, w being the clean weight. All samples are attacked,
    those that are misclassified already as well, from a random start and through all steps of
    ``4 * eps / steps``, the step size of the IMA paper's authors.

    Args:
        norm: ``"linf"``, ``"l2"`` or a :class:`~monai_ima.attacks.Norm`.
        eps: radius of the ball around each sample, in units of the inputs.
        steps: gradient steps of PGD; 20 in the paper.
        clean_weight: w; one half in Goodfellow et al., which the paper follows, 0 in Madry et al.
        bounds: range of valid inputs.
        class_weights: see :class:`~monai_ima.objectives.Objective`.

    Raises:
        ValueError: if an argument is outside its range, or the norm unknown.

    Source:
        Goodfellow et al., Explaining and Harnessing Adversarial Examples, ICLR 2015, section 6; the
        attack is that of Madry et al., Towards Deep Learning Models Resistant to Adversarial
        Attacks, ICLR 2018.
    """

    terms = ("loss_clean", "loss_noisy")
    capturable = True

    def __init__(
        self,
        *,
        norm: Norm | str,
        eps: float,
        steps: int = 20,
        clean_weight: float = 0.5,
        bounds: tuple[float, float] = (0.0, 1.0),
        class_weights: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__(class_weights)
        checked_count("steps", steps, at_least=1)
        self.eps = checked_number("eps", eps)
        self.steps = steps
        self.clean_weight = checked_number("clean_weight", clean_weight, at_most=1)
        self._attack = partial(
            pgd, norm=get_norm(norm), eps=eps, steps=steps, until="end", bounds=bounds
        )

    @property
    def settings(self) -> dict[str, Any]:
        return {"eps": self.eps, "steps": self.steps, "clean_weight": self.clean_weight}

    def forward(
        self,
        network: nn.Module,
        inputs: Tensor,
        labels: Tensor,
        index: Tensor,
    ) -> ObjectiveResult:
        classify, labels = classifying(network), checked_labels(labels)
        logits = classify(inputs)
        noisy = self._attack(network, inputs, labels, index=index).inputs
        loss_clean = mean_cross_entropy(logits, labels, self.class_weights)
        loss_noisy = mean_cross_entropy(classify(noisy), labels, self.class_weights)
        terms = {"loss_clean": loss_clean.detach(), "loss_noisy": loss_noisy.detach()}
        loss = self.clean_weight * loss_clean + (1 - self.clean_weight) * loss_noisy
        return ObjectiveResult(loss, logits, terms)
