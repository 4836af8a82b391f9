"""IMA: Algorithm 1, the loss of a batch, and Algorithm 2, the margins after an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from monai_ima.attacks import AttackResult, Norm, Segment, Side, bpgd, get_norm, misclassified
from monai_ima.attacks.base import checked_labels, checked_number, classifying
from monai_ima.counts import checked_count
from monai_ima.distributed import gathered
from monai_ima.losses import cross_entropy
from monai_ima.margins import MarginStore
from monai_ima.objectives.base import Objective, ObjectiveResult

Noisy: TypeAlias = Literal["correct", "crossed"]
MarginUpdate: TypeAlias = Literal["pass", "step"]
_NOTHING_FOUND, _MISCLASSIFIED = torch.finfo(torch.float32).max, -1.0  # in place of a distance


class IMA(Objective):
    """Cross-entropy on clean samples, and on noisy ones as far away as each sample's margin.

    ``L = (1 - beta) (L1 + L2) + beta L3``: L1 and L2 over the wrongly and the correctly classified
    clean samples, L3 over the noisy samples that B-PGD makes of the correct ones. Each is a sum
    over its samples divided by the size of the whole batch, so that ``L1 + L2`` is the ordinary
    cross-entropy, and a batch with few correct samples does not weigh those few more.

    Both losses are of the network in train mode, as it comes; it is attacked, and margins are
    measured, in eval mode and along the soft margin (see :func:`~monai_ima.attacks.bpgd`). The
    paper says neither; for a network without batch norm and dropout the modes are the same.

    Args:
        margins: margin of each training sample.
        norm: ``"linf"``, ``"l2"`` or a :class:`~monai_ima.attacks.Norm`.
        beta: trade-off from 0, accuracy on clean data, to 1, robustness.
        steps: N_PGD of Algorithm 1.
        margin_steps: N_PGD of Algorithm 2.
        bisections: N_Binary.
        bounds: range of valid inputs.
        noisy: which noisy samples enter L3: ``"correct"``, of every correct sample (the paper),
            or ``"crossed"``, only those that B-PGD put on the boundary (the authors' code).
        random_start: see :func:`~monai_ima.attacks.bpgd`, as the next two.
        segment: what B-PGD bisects.
        side: which side of the boundary the noisy samples lie on.
        margin_update: where Algorithm 2 has its distances from: a ``"pass"`` of its own over the clean
            samples (the paper), or the attacks of the training ``"step"`` s since the last update
            (the authors' later code), for no passes at all. Of a sample that was seen several times,
            up-sampled or augmented, what was found nearest counts, and it expands once. One that was
            not seen keeps its margin, and makes up for it when it is seen next: where nothing is
            found then, it expands by ``delta`` for each update since, as it would by passes.
        class_weights: see :class:`~monai_ima.objectives.Objective`.

    Raises:
        ValueError: if ``beta`` is outside [0, 1], a number of steps is not a whole positive number,
            or an option is unknown.

    Source:
        Ma and Liang, Increasing-Margin Adversarial (IMA) Training, 2020, Algorithms 1 and 2.
    """

    terms = ("loss_clean", "loss_wrong", "loss_correct", "loss_noisy")
    capturable = True

    nearest: Tensor
    missed: Tensor

    def __init__(
        self,
        margins: MarginStore,
        *,
        norm: Norm | str,
        beta: float,
        steps: int = 20,
        margin_steps: int = 50,
        bisections: int = 10,
        bounds: tuple[float, float] = (0.0, 1.0),
        noisy: Noisy = "correct",
        random_start: bool = False,
        segment: Segment = "crossing",
        side: Side = "on",
        margin_update: MarginUpdate = "pass",
        class_weights: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__(class_weights)
        checked_count("steps", steps, at_least=1)
        checked_count("margin_steps", margin_steps, at_least=1)
        checked_count("bisections", bisections, at_least=0)
        if noisy not in get_args(Noisy):
            raise ValueError(f"expected noisy to be one of {get_args(Noisy)}, got {noisy!r}")
        if margin_update not in get_args(MarginUpdate):
            raise ValueError(
                f"expected margin_update to be one of {get_args(MarginUpdate)}, "
                f"got {margin_update!r}"
            )
        self.margins = margins
        self.margin_update = margin_update
        if margin_update == "step":  # what the steps since the last update found of each sample
            self.register_buffer("nearest", torch.full((len(margins),), torch.inf))
            # updates since a sample was seen
            self.register_buffer("missed", torch.zeros(len(margins), dtype=torch.long))
        self.beta = checked_number("beta", beta, at_most=1)
        self.noisy = noisy
        self._attack_settings = {
            "steps": steps,
            "margin_steps": margin_steps,
            "bisections": bisections,
            "noisy": noisy,
            "random_start": random_start,
            "segment": segment,
            "side": side,
            "margin_update": margin_update,
        }
        attack = partial(
            bpgd,
            norm=get_norm(norm),
            bisections=bisections,
            bounds=bounds,
            random_start=random_start,
            segment=segment,
        )
        self._noise = partial(attack, steps=steps, side=side)
        self._boundary = partial(attack, steps=margin_steps, side="on")

    @property
    def settings(self) -> dict[str, Any]:
        return {"beta": self.beta, "delta": self.margins.delta, **self._attack_settings}

    def forward(
        self, network: nn.Module, inputs: Tensor, labels: Tensor, index: Tensor
    ) -> ObjectiveResult:
        classify, labels = classifying(network), checked_labels(labels)
        logits = classify(inputs)
        correct = logits.argmax(dim=1) == labels
        losses = cross_entropy(logits, labels, self.class_weights)
        noisy_losses, chosen = self._noisy_losses(network, inputs, labels, index, correct)
        loss_wrong = losses.where(~correct, 0).sum() / len(inputs)  # L1
        loss_correct = losses.where(correct, 0).sum() / len(inputs)  # L2
        loss_noisy = noisy_losses.where(chosen, 0).sum() / len(inputs)  # L3
        loss_clean = loss_wrong + loss_correct
        terms = {
            "loss_clean": loss_clean.detach(),
            "loss_wrong": loss_wrong.detach(),
            "loss_correct": loss_correct.detach(),
            "loss_noisy": loss_noisy.detach(),
        }
        return ObjectiveResult((1 - self.beta) * loss_clean + self.beta * loss_noisy, logits, terms)

    def _noisy_losses(
        self, network: nn.Module, inputs: Tensor, labels: Tensor, index: Tensor, correct: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy ``(N,)`` of the noisy samples, and which of them enter L3.

        The whole batch goes through the network, a misclassified sample as it is: the statistics of
        a batch norm are those of a batch, however few samples are correct.
        """
        eps = self.margins[index].to(inputs.device)
        found = self._noise(network, inputs, labels, eps=eps, index=index, where=correct)
        if self.margin_update == "step":
            self._remember(index, correct, found)
        losses = cross_entropy(classifying(network)(found.inputs), labels, self.class_weights)
        return losses, found.success if self.noisy == "crossed" else correct

    def _remember(self, index: Tensor, correct: Tensor, found: AttackResult) -> None:
        distance = torch.where(found.success, found.distance, _NOTHING_FOUND)
        distance = torch.where(correct, distance, _MISCLASSIFIED).to(self.nearest)
        index, distance = gathered(index, distance)
        known = index.clamp(0, len(self.nearest) - 1)  # of any other the margins have told
        self.nearest.scatter_reduce_(0, known.to(self.nearest.device), distance, "amin")

    def learn_margins(self) -> Tensor:
        """Algorithm 2 for all samples that the steps since the last update have seen.

        Returns:
            ``(number of samples,)`` as :meth:`update_margins` has it; NaN of one that was not seen.
        """
        correct = self.nearest != _MISCLASSIFIED
        crossed = correct & (self.nearest < _NOTHING_FOUND)
        is_seen = self.nearest.isfinite()
        seen = is_seen.nonzero()[:, 0]
        self.margins.update(
            seen,
            correct=correct[seen],
            crossed=crossed[seen],
            distance=self.nearest[seen],
            expansions=1 + self.missed[seen],
        )
        distance = _boundary_distance(correct, crossed, self.nearest).where(is_seen, torch.nan)
        self.nearest.fill_(torch.inf)
        self.missed += 1
        self.missed[seen] = 0
        return distance

    def update_margins(
        self, network: nn.Module, inputs: Tensor, labels: Tensor, index: Tensor
    ) -> Tensor:
        """Algorithm 2 for a batch of clean, un-augmented samples.

        Args:
            network: attacked in eval mode and left as found.
            inputs: ``(N, *)`` clean samples.
            labels: ``(N,)`` true class indices.
            index: ``(N,)`` places in the training datalist.

        Returns:
            ``(N,)`` distance at which a sample met the decision boundary within its margin, in units
            of the inputs: infinite if it did not, 0 if it is misclassified.
        """
        labels = checked_labels(labels)
        correct = ~misclassified(network, inputs, labels)
        eps = self.margins[index].to(inputs.device)
        found = self._boundary(network, inputs, labels, eps=eps, index=index, where=correct)
        self.margins.update(index, correct=correct, crossed=found.success, distance=found.distance)
        return _boundary_distance(correct, found.success, found.distance)


def _boundary_distance(correct: Tensor, crossed: Tensor, distance: Tensor) -> Tensor:
    return distance.where(crossed, torch.inf).where(correct, 0)
