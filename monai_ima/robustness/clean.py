"""Clean accuracy comes first: signs that a model was not given what it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from monai_ima.robustness.curve import wilson_interval
from monai_ima.robustness.statistics import as_many_of_even_classes, confusion

# None of so few samples recognised is a matter of chance: once in 32 times if half of them are.
_FEW = 5
_NAMED = 20


@dataclass(frozen=True)
class Finding:
    """What is wrong with the answers to clean samples.

    Attributes:
        name: of the finding.
        verdict: what was found, in words.
        advice: the likely causes, and what to do.
        figures: plain values, by name.
    """

    name: str
    verdict: str
    advice: str
    figures: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)


def clean_findings(
    predictions: Tensor, labels: Tensor, classes: Sequence[str], value_range: tuple[float, float]
) -> list[Finding]:
    """Look at the answers to clean samples for signs of a mistake before the attack.

    - ``nothing_correct``: no sample is classified correctly.
    - ``one_class``: every prediction is the same class, though there are samples of two classes or
      five of another. Where fewer than five are of others, the verdict says that so few may be missed by
      chance.
    - ``chance``: the balanced accuracy has made less than a tenth of the way from chance to 1.
      Whoever answers without a look at the sample has a balanced accuracy of 1 / C, whatever the
      shares of the C classes and whichever he prefers, while his accuracy depends on both. So that
      few samples do not cry wolf, the 95 % Wilson interval must end before half of the way.
    - ``sensitivity``: none of the five or more samples of a class is recognised.
    - ``class_order``: with the classes in another order, the accuracy's 95 % interval would lie
      above the present one and beyond half of the way. Looked for from five samples a class on.

    Args:
        predictions: ``(N,)`` class indices that the model gives.
        labels: ``(N,)`` true class indices.
        classes: names of the classes, in the order of the logits.
        value_range: the lowest and the highest value of the inputs.

    Returns:
        What was found, the most telling first; nothing of a model that works.

    Raises:
        ValueError: if a prediction or a label is not the index of a class.
    """
    highest = max((int(values.max()) for values in (predictions, labels) if len(values)), default=0)
    if highest >= len(classes):
        raise ValueError(
            f"expected predictions and labels below {len(classes)}, the number of classes, got "
            f"{highest}; correct the names of the classes, or num_classes"
        )
    if len(labels) == 0:
        return []
    counts = confusion(predictions[:, None].cpu(), labels.cpu(), len(classes))[0]
    low, high = (round(end, 3) for end in value_range)
    inputs = (
        f"another range of intensities than in training (values from {low:g} to {high:g} were "
        "seen), or other preprocessing, as of transposed images"
    )
    order = f"classes in another order than in training (here {in_order(classes)})"
    short = "a training that was too short"
    any_of_them = f"Likely causes: {inputs}; {order}; {short}; the weights of another network"
    untrained = f"Likely causes: {inputs}; weights that were not loaded; {short}, or collapsed"
    untaught = f"Likely causes: {order}; {inputs}; {short}, or had almost no sample of it"
    nothing, one = _nothing_correct(counts, any_of_them), _one_class(counts, classes, untrained)
    if one:
        return nothing + one
    partly = _chance(counts, any_of_them) + _missed(counts, classes, untaught)
    return nothing + _class_order(counts, classes) + ([] if nothing else partly)


def in_order(classes: Sequence[str]) -> str:
    """Names of classes with their indices, as text; of many, the first."""
    named = ", ".join(f"{index}: {name}" for index, name in enumerate(classes[:_NAMED]))
    return named + (", ..." if len(classes) > _NAMED else "")


def _nothing_correct(counts: Tensor, causes: str) -> list[Finding]:
    n = int(counts.sum())
    if counts.diagonal().sum() > 0:
        return []
    what = "the only sample is misclassified" if n == 1 else f"none of {n} samples is correct"
    verdict = f"clean accuracy is 0.000: {what}, and there is nothing to attack"
    return [Finding("nothing_correct", verdict, causes, {"n": n})]


def _one_class(counts: Tensor, classes: Sequence[str], causes: str) -> list[Finding]:
    given = counts.sum(dim=0)
    name = int(given.argmax())
    n, others = int(given.sum()), int(given.sum() - counts[name].sum())
    are_told_apart = int((counts.sum(dim=1) > 0).sum()) > 1
    if given[name] < n or others == 0 or (others < _FEW and not are_told_apart):
        return []
    few = f"; {others} may be missed by chance, so evaluate more of them" if others < _FEW else ""
    verdict = (
        f"every prediction is {classes[name]}, though {others} of {n} samples are not{few}: a model "
        "that gives every case one answer is of no use, whatever its accuracy"
    )
    figures = {"class": classes[name], "n": n, "others": others}
    return [Finding("one_class", verdict, causes, figures)]


def _chance(counts: Tensor, causes: str) -> list[Finding]:
    sizes = counts.sum(dim=1)
    present = sizes > 0
    if present.sum() < 2:
        return []
    balanced = (counts.diagonal()[present] / sizes[present]).double().mean()
    chance = 1 / int(present.sum())
    high = float(wilson_interval(balanced, as_many_of_even_classes(sizes))[1])
    if balanced >= chance + 0.1 * (1 - chance) or high >= chance + 0.5 * (1 - chance):
        return []
    accuracy = float(counts.diagonal().sum() / counts.sum())
    verdict = (
        f"clean accuracy is {'hardly above' if balanced > chance else 'at or below'} chance: "
        f"{accuracy:.3f}, and {balanced:.3f} balanced over the classes, where guessing has "
        f"{chance:.3f}"
    )
    figures = {"accuracy": accuracy, "balanced_accuracy": float(balanced), "chance": chance}
    return [Finding("chance", verdict, causes, figures)]


def _missed(counts: Tensor, classes: Sequence[str], causes: str) -> list[Finding]:
    sizes = counts.sum(dim=1)
    missed = ((sizes >= _FEW) & (counts.diagonal() == 0)).nonzero()[:, 0].tolist()
    if not missed:
        return []
    named = ", ".join(f"{classes[c]} (0 of {int(sizes[c])})" for c in missed[:_NAMED])
    named += ", ..." if len(missed) > _NAMED else ""
    figures = {"classes": [classes[c] for c in missed]}
    return [Finding("sensitivity", f"not one sample is recognised of {named}", causes, figures)]


def _class_order(counts: Tensor, classes: Sequence[str]) -> list[Finding]:
    """The order of the classes with which the model would be right, where it is another."""
    n, present = int(counts.sum()), int((counts.sum(dim=1) > 0).sum())
    if n < _FEW * present:
        return []
    given = matching(counts)
    now, then = counts.diagonal().sum(), counts[torch.arange(len(counts)), given].sum()
    (_, high), (low, _) = wilson_interval(torch.stack([now, then]).double() / n, n).tolist()
    if low <= max(high, (1 + 1 / present) / 2):
        return []
    names = [classes[c] for c in given.argsort().tolist()]
    as_text = " (sorted as text, as torchvision sorts folders)" if names == sorted(names) else ""
    verdict = (
        f"with the classes in the order {in_order(names)}{as_text}, clean accuracy would be "
        f"{then / n:.3f} and not {now / n:.3f}"
    )
    advice = (
        "If the model was trained with that order, give it as classes, or put the labels into it"
    )
    return [Finding("class_order", verdict, advice, {"classes": names})]


def matching(counts: Tensor) -> Tensor:
    """The class ``(C,)`` that each true class is mostly given, each but once.

    The largest count decides first, then the largest among what is left. Where each class is mostly
    given another one, no choice has a larger sum.

    Args:
        counts: ``(C, C)`` samples, rows the true classes, columns those given.
    """
    classes = len(counts)
    # A tie, as between zeros, leaves a class where it is.
    order = (2 * counts + torch.eye(classes, dtype=counts.dtype)).flatten().argsort(descending=True)
    given: dict[int, int] = {}
    free = dict.fromkeys(range(classes))
    for cell in order[: int((counts > 0).sum()) + classes].tolist():
        true, name = divmod(cell, classes)
        if true not in given and name in free:
            given[true] = name
            del free[name]
    rest = iter(free)
    return torch.tensor([given[c] if c in given else next(rest) for c in range(classes)])
