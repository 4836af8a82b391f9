"""IAAT: adversarial training in which each sample finds its own radius."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from monai_ima.attacks import Norm, get_norm, pgd
from monai_ima.attacks.base import attacking, checked_labels, checked_number, classifying
from monai_ima.counts import checked_count
from monai_ima.distributed import gathered
from monai_ima.faults import require
from monai_ima.losses import mean_cross_entropy
from monai_ima.objectives.base import Objective, ObjectiveResult


class IAAT(Objective):
    """Cross-entropy on attacked samples, with a radius per sample that follows the network.

    A sample's radius moves towards the largest of the remembered one plus ``gamma``, the remembered
    one, and the remembered one less ``gamma``, in which PGD finds no error; towards 0 if the clean
    sample is misclassified. During the warm-up it is ``eps`` for a correct sample and 0 for another.
    There is no loss on clean samples, so that with a fixed radius it is
    :class:`~monai_ima.objectives.StandardAdversarial` with a clean weight of 0.

    - The remembered radius is tried for those samples only that are not robust in the larger one, all
      that the rule asks; any misclassified iterate counts, in the authors' code the last.
    - Steps are ``4 * eps / steps``, as in every PGD of the IMA paper's authors. IAAT's are
      ``2 * eps / steps``, but no smaller than 2/255, a number for CIFAR-10.
    - The network is attacked in eval mode, in the authors' code in train mode.

    Args:
        num_samples: number of training samples; a sample is named by its index in the datalist.
        norm: ``"linf"``, ``"l2"`` or a :class:`~monai_ima.attacks.Norm`; the paper has Linf.
        eps: radius during the warm-up, in units of the inputs. Remembered radii start there, because
            a sampler may not show a sample before the warm-up ends.
        gamma: how much larger and smaller a radius is tried, in units of the inputs; 1.9/8 of
            ``eps`` for CIFAR-10.
        beta: how far a radius moves, from 0, not at all, to 1, all the way; 0.1 for CIFAR-10.
        warmup: epochs at a fixed radius, each counted as ``num_samples`` samples seen; 10 of 110 for
            CIFAR-10.
        steps: gradient steps of each PGD.
        bounds: range of valid inputs.
        class_weights: see :class:`~monai_ima.objectives.Objective`.

    Raises:
        ValueError: if an argument is outside its range, or the norm unknown.

    Source:
        Balaji et al., Instance Adaptive Adversarial Training: Improved Accuracy Tradeoffs in Neural
        Nets, 2019, Algorithms 1 and 2; the treatment of misclassified samples and the numbers are
        those of its authors' code.
    """

    terms = ("loss_clean", "loss_noisy", "radius")

    radii: Tensor
    seen: Tensor

    def __init__(
        self,
        num_samples: int,
        *,
        norm: Norm | str,
        eps: float,
        gamma: float,
        beta: float = 0.1,
        warmup: int = 10,
        steps: int = 20,
        bounds: tuple[float, float] = (0.0, 1.0),
        class_weights: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__(class_weights)
        checked_count("num_samples", num_samples, at_least=1)
        checked_count("warmup", warmup, at_least=0)
        checked_count("steps", steps, at_least=1)
        self.eps = checked_number("eps", eps)
        self.gamma = checked_number("gamma", gamma)
        self.beta = checked_number("beta", beta, at_most=1)
        self.warmup = warmup
        self.steps = steps
        self.register_buffer("radii", torch.full((num_samples,), float(eps)))
        self.register_buffer("seen", torch.tensor(0))
        self._attack = partial(pgd, norm=get_norm(norm), steps=steps, bounds=bounds)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "eps": self.eps,
            "gamma": self.gamma,
            "beta": self.beta,
            "warmup": self.warmup,
            "steps": self.steps,
        }

    def forward(
        self, network: nn.Module, inputs: Tensor, labels: Tensor, index: Tensor
    ) -> ObjectiveResult:
        labels = checked_labels(labels)
        with attacking(network, inputs) as classify, torch.no_grad():
            logits = classify(inputs)
        remembered = self._remembered(index).to(inputs)
        correct = logits.argmax(dim=1) == labels
        if self.seen < self.warmup * len(self.radii):
            radii = torch.where(correct, self.eps, torch.zeros_like(remembered))
        else:
            target = self._largest_safe(network, inputs, labels, remembered, index, correct)
            radii = (1 - self.beta) * remembered + self.beta * target
        self._remember(index, radii)
        noisy = self._attack(network, inputs, labels, eps=radii, index=index, until="end").inputs
        loss = mean_cross_entropy(classifying(network)(noisy), labels, self.class_weights)
        terms = {
            "loss_clean": mean_cross_entropy(logits, labels, self.class_weights),
            "loss_noisy": loss.detach(),
            "radius": radii.mean(),
        }
        return ObjectiveResult(loss, logits, terms)

    def _largest_safe(
        self,
        network: nn.Module,
        inputs: Tensor,
        labels: Tensor,
        radii: Tensor,
        index: Tensor,
        correct: Tensor,
    ) -> Tensor:
        """The largest of three radii in which PGD finds no error, 0 for a misclassified sample."""

        def robust(radii: Tensor, among: Tensor) -> Tensor:
            found = self._attack(network, inputs, labels, eps=radii, index=index, where=among)
            return among & ~found.success

        larger, smaller = radii + self.gamma, (radii - self.gamma).clamp(min=0)
        in_larger = robust(larger, among=correct)
        in_same = robust(radii, among=correct & ~in_larger)
        safe = torch.where(in_larger, larger, torch.where(in_same, radii, smaller))
        return safe.where(correct, 0)

    def _remembered(self, index: Tensor) -> Tensor:
        low, high = index.aminmax()
        require(
            (low >= 0) & (high < len(self.radii)),
            lambda: IndexError(
                f"expected sample indices from 0 to {len(self.radii) - 1}, got {low.item()} "
                f"to {high.item()}; is num_samples the size of this training set?"
            ),
        )
        return self.radii[index.to(self.radii.device)]

    def _remember(self, index: Tensor, radii: Tensor) -> None:
        index, radii = gathered(index, radii)
        # A balanced batch may name a sample twice; the smaller radius counts, in whatever order.
        self.radii.scatter_reduce_(
            0, index.to(self.radii.device), radii.to(self.radii), "amin", include_self=False
        )
        self.seen += len(index)
