"""All that an evaluation asks of each sample in one norm, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from monai_ima.attacks import Norm, pgd
from monai_ima.attacks.base import Bounds, Model, attacking, checked_inputs
from monai_ima.robustness.checks import zero_gradients
from monai_ima.robustness.closest import closest_errors
from monai_ima.robustness.curve import RobustnessCurve, area_under, without_nan
from monai_ima.robustness.noise import white_noise_errors
from monai_ima.robustness.passes import CountingModel
from monai_ima.robustness.protocols import BlackBox, Protocol
from monai_ima.robustness.search import ClosestErrors
from monai_ima.robustness.seeds import seeded
from monai_ima.robustness.statistics import (
    balanced_accuracy,
    confusion,
    log_odds,
    macro_auroc,
    median_margin,
    positive_predictive_value,
    specificity,
)
from monai_ima.robustness.uncertainty import ENOUGH_PATIENTS, bootstrap_interval, with_unseen

Answers = dict[str, Tensor]
# classes whose confusion is listed: the numbers grow with their square, 44 MB of 1,000
_MOST_CONFUSED = 100


@dataclass(frozen=True)
class Measure:
    """What is asked of each sample in one norm.

    Args:
        eps: ``(L,)`` levels from :func:`~monai_ima.robustness.noise_levels`.
        norm: what they are measured in.
        protocol: attacks that look for the closest error.
        bounds: range of valid inputs, or ``None``.
        seed: seed of all that is random.
        batch_size: samples that are attacked together.
        noise_draws: draws of white noise at each level; ``0`` leaves it out.
        auroc_steps: steps of the PGD, driven to its end at each level, whose probabilities make the
            area under the ROC curve; ``0`` leaves it out.
    """

    eps: Tensor
    norm: Norm
    protocol: Protocol
    bounds: Bounds | None
    seed: int
    batch_size: int
    noise_draws: int
    auroc_steps: int

    @property
    def identity(self) -> dict[str, Any]:
        """Plain values that the answers depend on."""
        return {
            **vars(self),
            "eps": self.eps.tolist(),
            "norm": self.norm.name,
            "protocol": repr(self.protocol),
            "protocol_version": self.protocol.version,
        }

    @property
    def takes_gradients(self) -> bool:
        """Whether the protocol does, and the model therefore can."""
        return not isinstance(self.protocol, BlackBox)

    def __call__(
        self, model: Model, inputs: Tensor, labels: Tensor, index: Tensor
    ) -> tuple[Answers, ClosestErrors]:
        """Ask about some samples.

        Args:
            model: callable, inputs ``(N, *)`` to logits ``(N, C)``.
            inputs: ``(N, *)`` clean samples.
            labels: ``(N,)`` true class indices.
            index: ``(N,)`` numbers of the samples in the data set.

        Returns:
            Answers by name, whose first dimension is that of the samples, on the CPU, so that those
            of several calls can be put together; and the closest errors themselves.
        """
        inputs, labels = checked_inputs(inputs, labels, self.bounds)
        counting = CountingModel(model)
        errors = closest_errors(
            counting,
            inputs,
            labels,
            eps=self.eps,
            norm=self.norm,
            protocol=self.protocol,
            bounds=self.bounds,
            index=index,
            seed=self.seed,
            batch_size=self.batch_size,
        )
        n, size = len(inputs), self.batch_size
        answers = {
            "margins": errors.margins,
            "broken_as": batched(
                given_class, model, errors.inputs, labels, errors.margins, batch_size=size
            ),
            # of the whole call, shared out among its samples
            "forwards": torch.full((n,), counting.forwards / n, dtype=torch.float64),
            "gradients": torch.full((n,), counting.gradients / n, dtype=torch.float64),
        }
        if self.takes_gradients:
            answers["zero_gradient"] = batched(
                zero_gradients, model, inputs, labels, batch_size=size
            )
        if self.takes_gradients and self.auroc_steps:
            answers["probabilities"] = batched(
                self._attacked, model, inputs, labels, batch_size=size
            )
        if self.noise_draws:
            for noise in ("uniform", "gaussian"):
                answers[noise] = batched(
                    lambda *arguments, noise=noise: white_noise_errors(
                        *arguments[:3],
                        noise=noise,
                        eps=self.eps,
                        norm=self.norm,
                        draws=self.noise_draws,
                        bounds=self.bounds,
                        index=arguments[3],
                        seed=self.seed,
                    ),
                    model,
                    inputs,
                    labels,
                    index,
                    batch_size=size,
                )
        return {name: values.cpu() for name, values in answers.items()}, errors

    def _attacked(self, model: Model, inputs: Tensor, labels: Tensor) -> Tensor:
        """Probabilities ``(N, L, C)`` at the end of PGD at each level."""
        ends = [inputs]
        ends += [self.pushed(model, inputs, labels, eps=level) for level in self.eps[1:].tolist()]
        return torch.stack([probabilities(model, end) for end in ends], dim=1)

    def pushed(
        self, model: Model, inputs: Tensor, labels: Tensor, *, eps: float | None = None
    ) -> Tensor:
        """Samples ``(N, *)`` at the end of PGD, as far up as it gets; by default at the last level."""
        return pgd(
            model,
            inputs,
            labels,
            eps=float(self.eps[-1]) if eps is None else eps,
            norm=self.norm,
            steps=self.auroc_steps or 20,
            random_start=False,
            until="end",
            bounds=self.bounds,
        ).inputs

    def summary(
        self,
        answers: Answers,
        labels: Tensor,
        predictions: Tensor,
        classes: int,
        patients: Tensor | None,
    ) -> dict[str, Any]:
        """The curve and all that belongs to it, in plain values for a JSON file.

        Args:
            answers: of all samples.
            labels: ``(N,)`` true class indices.
            predictions: ``(N,)`` classes given to the clean samples.
            classes: number of classes.
            patients: ``(N,)`` numbers of the samples' patients, or ``None``.
        """
        margins, correct = answers["margins"], predictions == labels
        by_patient = patients is not None and len(patients.unique()) >= ENOUGH_PATIENTS
        curve = RobustnessCurve.from_margins(
            margins, labels, eps=self.eps, norm=self.norm, classes=classes
        )
        eps = curve.eps
        # Each sample's own accuracies, and its own area: their means are the curve's.
        robust = curve.robust.double()
        area = area_under(robust, eps)
        shares = torch.cat([robust, area[:, None]], dim=1)
        groups = patients if by_patient else None
        ends = bootstrap_interval(shares, groups, generator=seeded(self.seed, "bootstrap"))
        ends = with_unseen(ends, shares, groups)
        given = torch.where(curve.robust, labels[:, None], answers["broken_as"][:, None])
        return {
            **curve.to_dict(),
            "patient_low": ends[:-1, 0].tolist() if by_patient else None,
            "patient_high": ends[:-1, 1].tolist() if by_patient else None,
            "auc_low": float(ends[-1, 0]),
            "auc_high": float(ends[-1, 1]),
            "balanced_accuracy": balanced_accuracy(curve.per_class).tolist(),
            "specificity": without_nan(specificity(given, labels, classes)),
            "positive_predictive_value": without_nan(
                positive_predictive_value(given, labels, classes)
            ),
            "confusion": (
                confusion(given, labels, classes).tolist() if classes <= _MOST_CONFUSED else None
            ),
            "auroc": self._auroc(answers, labels),
            "auroc_steps": self.auroc_steps,
            "median_margin": median_margin(margins, correct),
            "white_noise": self._white_noise(answers, correct),
            "forwards": float(answers["forwards"].mean()),
            "gradients": float(answers["gradients"].mean()),
            "zero_gradients": (
                int((answers["zero_gradient"] & correct).sum())
                if "zero_gradient" in answers
                else None
            ),
        }

    def _auroc(self, answers: Answers, labels: Tensor) -> list[float | None] | None:
        if "probabilities" not in answers:
            return None
        levels = answers["probabilities"].unbind(dim=1)
        return [macro_auroc(log_odds(level), labels) for level in levels]

    def _white_noise(self, answers: Answers, correct: Tensor) -> dict[str, Any] | None:
        if not self.noise_draws or not correct.any():
            return None
        shares = {}
        for noise in ("uniform", "gaussian"):
            flips = answers[noise][correct].double()
            shares[noise] = {
                "samples": (flips > 0).double().mean(dim=0).tolist(),
                "draws": (flips / self.noise_draws).mean(dim=0).tolist(),
            }
        return {"draws": self.noise_draws, **shares}


def batched(
    function: Callable[..., Tensor], model: Model, *tensors: Tensor, batch_size: int
) -> Tensor:
    """What ``function(model, *tensors)`` gives, ``(N, *)``, asked of ``batch_size`` samples at a time.

    Args:
        function: from the model and tensors ``(n, *)`` to ``(n, *)``.
        model: see ``function``.
        tensors: each ``(N, *)`` with at least one sample.
        batch_size: the most samples that the model takes at once.
    """
    batches = zip(*(values.split(batch_size) for values in tensors), strict=True)
    return torch.cat([function(model, *batch) for batch in batches])


def eval_logits(model: Model, inputs: Tensor) -> Tensor:
    """Logits ``(N, C)`` of a model in eval mode."""
    with attacking(model, inputs) as classify, torch.no_grad():
        return classify(inputs)


def probabilities(model: Model, inputs: Tensor) -> Tensor:
    """Probabilities ``(N, C)`` that a model, in eval mode, gives the classes."""
    return eval_logits(model, inputs).softmax(dim=1)


def given_class(model: Model, inputs: Tensor, labels: Tensor, margins: Tensor) -> Tensor:
    """Class ``(N,)`` that a model, in eval mode, gives to the errors that were found.

    An error lies on the boundary, where the batch it is in may tip the scales: that it is an error
    is known, so it is given the most likely class but the label.
    """
    scores = probabilities(model, inputs)
    others = scores.scatter(1, labels[:, None], -1).argmax(dim=1)
    return torch.where(margins.isfinite(), others, scores.argmax(dim=1))
