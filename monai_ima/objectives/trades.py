"""TRADES: predictions that an attack does not change, whatever the label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_ima.attacks import Norm, get_norm
from monai_ima.attacks.base import (
    attacking,
    checked_inputs,
    checked_number,
    checked_radius,
    classifying,
)
from monai_ima.attacks.draws import SampleDraws, drawn_seed
from monai_ima.attacks.pgd_attack import advanced, clipped, input_gradient
from monai_ima.counts import checked_count
from monai_ima.losses import kl_divergence, mean_cross_entropy, weighted
from monai_ima.objectives.base import Objective, ObjectiveResult

_START = 0.001  # standard deviation around the sample, at which the divergence has no gradient


class TRADES(Objective):
    r"""Cross-entropy on clean samples, and how far an attack moves the prediction.

    :math:`L = CE(f(x), y) + \beta\, KL(f(x) \| f(x'))`, both means over the batch, where x' climbs
    the same divergence inside the ball, from ``x + 0.001 * randn``. The gradient of the network's
    parameters flows through both predictions.

    The paper's step sizes (0.01 and 0.003 in Linf) are absolute, for its data sets and radii alone;
    the step here is ``4 * eps / steps``, as in every PGD of the IMA paper's authors, whose TRADES
    takes the steps of their 20-PGD as well.

    Args:
        norm: ``"linf"``, ``"l2"`` or a :class:`~monai_ima.attacks.Norm`.
        eps: radius of the ball, in units of the inputs.
        beta: weight of the divergence, not negative. The paper writes 1/lambda and has 1 and 6; 6 is
            the more robust one, and what later work compares with.
        steps: gradient steps of the attack.
        bounds: range of valid inputs.
        class_weights: see :class:`~monai_ima.objectives.Objective`.

    Raises:
        ValueError: if an argument is outside its range, or the norm unknown.

    Source:
        Zhang et al., Theoretically Principled Trade-off between Robustness and Accuracy, ICML 2019,
        Algorithm 1.
    """

    terms = ("loss_clean", "loss_noisy")
    capturable = True

    def __init__(
        self,
        *,
        norm: Norm | str,
        eps: float,
        beta: float = 6.0,
        steps: int = 20,
        bounds: tuple[float, float] = (0.0, 1.0),
        class_weights: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__(class_weights)
        checked_count("steps", steps, at_least=1)
        self.norm = get_norm(norm)
        self.eps = checked_number("eps", eps)
        self.beta = checked_number("beta", beta)
        self.steps = steps
        self.bounds = bounds

    @property
    def settings(self) -> dict[str, Any]:
        return {"eps": self.eps, "beta": self.beta, "steps": self.steps}

    def forward(
        self,
        network: nn.Module,
        inputs: Tensor,
        labels: Tensor,
        index: Tensor,
    ) -> ObjectiveResult:
        inputs, labels = checked_inputs(inputs, labels, self.bounds)
        classify = classifying(network)
        logits = classify(inputs)
        noisy = self._furthest(network, inputs, index)
        loss_clean = mean_cross_entropy(logits, labels, self.class_weights)
        divergence = kl_divergence(logits, classify(noisy))
        loss_noisy = weighted(divergence, labels, self.class_weights).mean()
        terms = {"loss_clean": loss_clean.detach(), "loss_noisy": loss_noisy.detach()}
        return ObjectiveResult(loss_clean + self.beta * loss_noisy, logits, terms)

    def _furthest(self, network: nn.Module, inputs: Tensor, index: Tensor) -> Tensor:
        """Inputs in the ball whose prediction is far from the clean one's."""
        eps = checked_radius("eps", self.eps, inputs)
        with attacking(network, inputs) as classify:
            with torch.no_grad():
                logits = classify(inputs)
            draws = SampleDraws(drawn_seed(None), index.to(inputs.device))
            noisy = clipped(inputs + _START * draws.normal(inputs), self.bounds)
            for _ in range(self.steps):
                leaf = noisy.requires_grad_()
                gradient = input_gradient(kl_divergence(logits, classify(leaf)), leaf)
                noisy = advanced(
                    leaf.detach(),
                    gradient,
                    inputs,
                    step=4 * eps / self.steps,
                    eps=eps,
                    norm=self.norm,
                    bounds=self.bounds,
                )
        return noisy
