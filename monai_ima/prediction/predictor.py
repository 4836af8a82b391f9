"""The answers of a model, each with its margin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from monai_ima.attacks.base import attacking
from monai_ima.handlers.evaluation_samples import fingerprints
from monai_ima.prediction.reference import ReferenceMargins
from monai_ima.prediction.unlike import unlike
from monai_ima.robustness import ChangedAnswers, changed_answers, percentiles_among


@dataclass(frozen=True, eq=False)
class ChangedAnswer:
    """The smallest change of a case that was found to change the answer.

    Attributes:
        margin: its size, in units of the input; infinite where none was found.
        percentile: percentage of the reference margins that are smaller.
        inputs: ``(C, *)`` the changed case.
        probabilities: ``(classes,)`` of the changed case.
    """

    margin: float
    percentile: float
    inputs: Tensor
    probabilities: Tensor


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of a case.

    Attributes:
        id: name of the case.
        inputs: ``(C, *)`` the case, as the network takes it.
        probabilities: ``(classes,)``.
        changed: by norm; empty where no margin was asked for.
        warning: what tells the case from the validation samples, in words; empty where nothing does.
    """

    id: str
    inputs: Tensor
    probabilities: Tensor
    changed: Mapping[str, ChangedAnswer]
    warning: str = ""

    @property
    def label(self) -> int:
        """Index of the answer."""
        return int(self.probabilities.argmax())

    def without_inputs(self) -> Prediction:
        """The same with the shapes of case and changed cases alone, for a table of many."""
        changed = {
            norm: replace(change, inputs=change.inputs.to("meta"))
            for norm, change in self.changed.items()
        }
        return replace(self, inputs=self.inputs.to("meta"), changed=changed)


class Predictor:
    """Answers with margins, by the attacks with which the reference margins were found.

    A case's margin depends on its content alone, not on the cases beside it.

    Args:
        network: ``(N, C, *)`` to logits; left as found.
        reference: margins of validation samples, with protocol and bounds.
        norms: ``"linf"``, ``"l2"``, both or none.

    Raises:
        ValueError: if there are no reference margins in one of the norms.
    """

    def __init__(
        self, network: nn.Module, reference: ReferenceMargins, norms: Sequence[str]
    ) -> None:
        if unknown := [norm for norm in norms if norm not in reference.margins]:
            raise ValueError(
                f"expected norms among {', '.join(reference.margins)}, got {', '.join(unknown)}"
            )
        self.network = network
        self.reference = reference
        self.norms = tuple(norms)

    def __call__(self, names: Sequence[str], inputs: Tensor) -> list[Prediction]:
        """Answer some cases ``(N, C, *)`` with these names."""
        with torch.no_grad(), attacking(self.network, inputs) as classify:
            probabilities = classify(inputs).softmax(dim=1).cpu()
        found = self._changed(inputs) if self.norms else {}
        return [
            Prediction(
                name,
                inputs[row].cpu(),
                probabilities[row],
                {norm: changes[row] for norm, changes in found.items()},
                unlike(inputs[row], self.reference.levels, self.reference.bounds[0]),
            )
            for row, name in enumerate(names)
        ]

    def _changed(self, inputs: Tensor) -> dict[str, list[ChangedAnswer]]:
        """By norm, of each case. All norms of the reference help, as they did there."""
        answers = changed_answers(
            self.network,
            inputs,
            norms=list(self.reference.margins),
            protocol=self.reference.protocol,
            bounds=self.reference.bounds,
            index=fingerprints(inputs),
        )
        return {norm: self._compared(norm, answers[norm]) for norm in self.norms}

    def _compared(self, norm: str, answers: ChangedAnswers) -> list[ChangedAnswer]:
        margins = answers.margins.cpu()
        percentiles = percentiles_among(margins, self.reference.margins[norm])
        found = (margins, percentiles, answers.inputs.cpu(), answers.changed_probabilities.cpu())
        return [
            ChangedAnswer(float(margin), float(percentile), point, after)
            for margin, percentile, point, after in zip(*found, strict=True)
        ]
