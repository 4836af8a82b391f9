"""MMA: cross-entropy on the decision boundary, which pushes it away from each sample."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from monai_ima.attacks import Norm, get_norm, pgd
from monai_ima.attacks.base import attacking, checked_labels, classifying
from monai_ima.attacks.norms import per_sample
from monai_ima.attacks.pgd_attack import clipped
from monai_ima.counts import checked_count
from monai_ima.distributed import gathered
from monai_ima.losses import cross_entropy, soft_margin
from monai_ima.margins import MarginStore
from monai_ima.objectives.base import Objective, ObjectiveResult

_CLEAN = 1 / 3  # weight of the clean loss
_BEYOND = 1.05  # the search ends at this multiple of d_max, beyond what counts
_FEWEST = 4  # bisections that tell d_max from that end


class MMA(Objective):
    """A third cross-entropy on clean samples, two thirds the max-margin loss.

    The max-margin loss is the cross-entropy of the misclassified samples as they are, and of the
    correct ones at the nearest point of the decision boundary, where that is nearer than ``d_max``;
    a sum divided by the size of the whole batch. A sample is correct, and a point inside the boundary, if
    the soft margin is negative: the label has more than half of the probability.

    The nearest point is AN-PGD's: PGD with the sample's own radius gives a direction, and bisection
    along it the distance, inwards if PGD has crossed and outwards if not. That distance is the
    sample's next radius, and it is remembered in a margin store, whose ``eps_max`` is d_max and
    whose ``delta`` is the smallest radius that PGD gets, also that of a misclassified sample.

    Args:
        margins: radius of each training sample for PGD. The authors' smallest radius lies between
            0.04 and 0.5 of d_max; the objective's config file has a tenth.
        norm: ``"linf"``, ``"l2"`` or a :class:`~monai_ima.attacks.Norm`.
        steps: gradient steps of PGD, each ``2.5 * radius / steps`` long, from a random start.
        bisections: each halves the segment of the ray.
        bounds: range of valid inputs; the ray is clipped to it.
        class_weights: see :class:`~monai_ima.objectives.Objective`.

    Raises:
        ValueError: if there is no step, there are less than four bisections, or the norm is unknown.

    Source:
        Ding et al., MMA Training: Direct Input Space Margin Maximization through Adversarial
        Training, ICLR 2020, Algorithms 1 and 2, with the numbers of its authors' code.
    """

    terms = ("loss_clean", "loss_noisy", "margin")

    def __init__(
        self,
        margins: MarginStore,
        *,
        norm: Norm | str,
        steps: int = 20,
        bisections: int = 10,
        bounds: tuple[float, float] = (0.0, 1.0),
        class_weights: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__(class_weights)
        checked_count("steps", steps, at_least=1)
        checked_count("bisections", bisections, at_least=_FEWEST)
        self.margins = margins
        self.norm = get_norm(norm)
        self.steps = steps
        self.bisections = bisections
        self.bounds = bounds
        self._attack = partial(pgd, norm=self.norm, steps=steps, until="end", bounds=bounds)

    @property
    def settings(self) -> dict[str, Any]:
        return {"delta": self.margins.delta, "steps": self.steps, "bisections": self.bisections}

    def forward(
        self, network: nn.Module, inputs: Tensor, labels: Tensor, index: Tensor
    ) -> ObjectiveResult:
        classify, labels = classifying(network), checked_labels(labels)
        logits = classify(inputs)
        correct = soft_margin(logits, labels) < 0
        found, distance = self._boundary(
            network,
            inputs[correct],
            labels[correct],
            self.margins[index[correct]].to(inputs),
            index[correct],
        )
        noisy, distances = inputs.clone(), inputs.new_zeros(len(inputs))
        noisy[correct], distances[correct] = found, distance
        index, was_correct, found_at = gathered(index, correct, distances)
        self.margins.update(
            index, correct=was_correct, crossed=torch.ones_like(was_correct), distance=found_at
        )
        losses = cross_entropy(classify(noisy), labels, self.class_weights)
        counted = distances < self.margins.eps_max  # the hinge; a misclassified sample is at 0
        loss_noisy = losses[counted].sum() / len(inputs)
        loss_clean = cross_entropy(logits, labels, self.class_weights).mean()
        terms = {
            "loss_clean": loss_clean.detach(),
            "loss_noisy": loss_noisy.detach(),
            "margin": distances.mean(),
        }
        return ObjectiveResult(_CLEAN * loss_clean + (1 - _CLEAN) * loss_noisy, logits, terms)

    def _boundary(
        self, network: nn.Module, inputs: Tensor, labels: Tensor, radii: Tensor, index: Tensor
    ) -> tuple[Tensor, Tensor]:
        """AN-PGD: the points found, and how far along their rays they lie, no further than searched."""
        step_size = 2.5 * radii / self.steps
        attacked = self._attack(
            network, inputs, labels, eps=radii, step_size=step_size, index=index
        )
        direction = attacked.inputs - inputs
        length = attacked.distance
        direction = direction / per_sample(torch.where(length == 0, 1, length), direction)

        def at(distance: Tensor) -> Tensor:
            return clipped(inputs + per_sample(distance, inputs) * direction, self.bounds)

        if len(inputs) == 0:  # some layers refuse an empty batch
            return inputs, length
        with attacking(network, inputs) as classify, torch.no_grad():
            inside = soft_margin(classify(attacked.inputs), labels) < 0
            near = torch.where(inside, length, 0)
            far = torch.where(inside, _BEYOND * self.margins.eps_max, length)
            for _ in range(self.bisections):
                middle = (near + far) / 2
                inside = soft_margin(classify(at(middle)), labels) < 0
                near, far = torch.where(inside, middle, near), torch.where(inside, far, middle)
        distance = (near + far) / 2
        return at(distance), distance
