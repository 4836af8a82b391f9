"""Is the number believable? Signs that an attack failed, and not that a model is robust."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from monai_ima.attacks import Norm, square
from monai_ima.attacks.base import Bounds, Model, attacking
from monai_ima.attacks.pgd_attack import input_gradient
from monai_ima.counts import counted
from monai_ima.losses import soft_margin
from monai_ima.robustness.closest import closest_errors
from monai_ima.robustness.protocols import Paper, Protocol, Strong
from monai_ima.robustness.seeds import seeded

_NEEDED = 10  # correctly classified samples


@dataclass(frozen=True, eq=False)
class Subset:
    """Samples on which an evaluation is checked, and what it found for them.

    Attributes:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``.
        inputs: ``(N, *)`` clean samples.
        labels: ``(N,)`` true class indices.
        index: ``(N,)`` numbers of the samples in the data set.
        margins: ``(N,)`` what the protocol found.
        eps: ``(L,)`` levels, the first 0.
        norm, bounds, protocol, seed, batch_size: as in
            :func:`~monai_ima.robustness.closest_errors`.
    """

    model: Model
    inputs: Tensor
    labels: Tensor
    index: Tensor
    margins: Tensor
    eps: Tensor
    norm: Norm
    bounds: Bounds | None
    protocol: Protocol
    seed: int
    batch_size: int

    def robust(self, eps: float) -> Tensor:
        """Samples ``(N,)`` bool that are robust at this level."""
        return self.margins > eps

    def only(self, rows: Tensor) -> Subset:
        """Some of the samples."""
        names = ("inputs", "labels", "index", "margins")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def margins_under(self, protocol: Protocol, eps: list[float] | Tensor) -> Tensor:
        """Margins ``(N,)`` that another protocol finds."""
        return closest_errors(
            self.model,
            self.inputs,
            self.labels,
            eps=eps,
            norm=self.norm,
            protocol=protocol,
            bounds=self.bounds,
            index=self.index,
            seed=self.seed,
            batch_size=self.batch_size,
        ).margins

    def counts(self, margins: Tensor) -> Tensor:
        """Samples ``(L,)`` with margins above each level."""
        return (margins[:, None] > self.eps).sum(dim=0)

    def middle(self) -> float:
        """The positive level at which most nearly half of the correct samples are robust.

        One with more than 2 % of them, if there is any: where nothing is left, nothing can be judged.
        """
        counts = self.counts(self.margins)
        distance = (counts[1:] - counts[0] / 2).abs()
        distance[counts[1:] <= self.few(0.02)] = torch.inf
        # The largest of those equally near: a curve that never comes down is looked at where it should.
        return float(self.eps[1:][distance == distance.min()][-1])

    def few(self, fraction: float) -> int:
        """That fraction of the correctly classified samples, rounded up."""
        return math.ceil(fraction * self.correct)

    @property
    def correct(self) -> int:
        """Number of correctly classified samples."""
        return int((self.margins > 0).sum())


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes:
        name: of the check.
        passed: whether the curve is believable by it; ``None`` where it was not run.
        verdict: what was found, in words.
        figures: plain values, by name.
    """

    name: str
    passed: bool | None
    verdict: str
    figures: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)


def large_eps(subset: Subset) -> Check:
    """A ball as large as the whole range of inputs holds an error of every sample."""
    low, high = subset.bounds or tuple(b.item() for b in subset.inputs.aminmax())
    whole = float(subset.norm.length(torch.full_like(subset.inputs[:1], high - low)))
    eps = [whole * share for share in (0.125, 0.25, 0.5, 1.0)]
    margins = subset.margins_under(subset.protocol, eps)
    accuracy = [float((margins > level).double().mean()) for level in eps]
    left = int((margins > eps[-1]).sum())
    passed = left <= subset.few(0.01)
    return Check(
        "large_eps",
        passed,
        f"at a noise of {whole:g}, with which the attack may replace the whole input, "
        + (
            "no sample is robust"
            if left == 0
            else f"{left} of {len(margins)} samples are still robust"
            + (
                ""
                if passed
                else ": the gradients are masked, or the model gives a class to nearly any input"
            )
        ),
        {"eps": eps, "accuracy": accuracy},
    )


def more_iterations(subset: Subset) -> Check:
    """Ten times as many steps break little more."""
    eps, protocol = subset.middle(), subset.protocol
    robust = subset.robust(eps)
    if robust.sum() <= subset.few(0.02):
        return too_few_robust("more_iterations", eps, robust, subset.few(0.02))
    steps = [max(1, protocol.steps // 10), protocol.steps, 10 * protocol.steps]
    tenth, tenfold = (replace(protocol, steps=number) for number in (steps[0], steps[-1]))
    left = robust.nonzero()[:, 0]
    counts = [
        int((subset.margins_under(tenth, [eps]) > eps).sum()),
        len(left),
        int((subset.only(left).margins_under(tenfold, [eps]) > eps).sum()),
    ]
    passed = counts[1] - counts[2] <= subset.few(0.02)
    accuracy = [count / len(robust) for count in counts]
    told = (
        f"{number} steps leave {share:.3f}" for number, share in zip(steps, accuracy, strict=True)
    )
    return Check(
        "more_iterations",
        passed,
        f"at {eps:g}, {', '.join(told)} of the samples: "
        + ("the attack has converged" if passed else "the attack has not converged"),
        {"eps": eps, "steps": steps, "accuracy": accuracy},
    )


def black_box(subset: Subset, *, queries: int = 1000) -> Check:
    """A random search, which sees no gradient, breaks nothing that the gradients left robust."""
    eps = subset.middle()
    robust, few = subset.robust(eps), subset.few(0.02)
    if robust.sum() <= few:
        return too_few_robust("black_box", eps, robust, few)
    rows = robust.nonzero()[:, 0]
    broken = 0
    for places in rows.split(subset.batch_size):
        result = square(
            subset.model,
            subset.inputs[places],
            subset.labels[places],
            eps=eps,
            norm=subset.norm,
            queries=queries,
            bounds=subset.bounds,
            index=subset.index[places],
            generator=seeded(subset.seed, "black box"),
        )
        broken += int(result.success.sum())
    passed = broken <= few
    return Check(
        "black_box",
        passed,
        f"at {eps:g}, a random search with {queries} queries breaks {broken} of the {len(rows)} "
        "samples that the attack left robust"
        + ("" if passed else ": an attack that sees gradients should not be the weaker one"),
        {"eps": eps, "robust": len(rows), "broken": broken, "queries": queries},
    )


def strong(subset: Subset) -> Check:
    """The strongest attacks lower the curve by a few points at most."""
    is_strong = isinstance(subset.protocol, Strong)
    few, lowest = subset.few(0.02 if is_strong else 0.1), float(subset.eps[1])
    if subset.robust(lowest).sum() <= few:
        return too_few_robust("strong", lowest, subset.robust(lowest), few)
    weaker = subset.margins_under(Paper(), subset.eps) if is_strong else subset.margins
    stronger = subset.margins if is_strong else subset.margins_under(Strong(), subset.eps)
    ours, theirs = subset.counts(weaker), subset.counts(stronger)
    level = (ours - theirs).argmax()
    drop, n = max(0, int((ours - theirs)[level])), len(subset.labels)
    name = "paper" if is_strong else subset.protocol.name
    passed, warning = drop <= few, "publish the curve of strong instead"
    verdict = (
        f"the protocol strong lowers the curve of {name} by {100 * drop / n:.1f} points at most"
    )
    if drop:
        verdict += f", at {float(subset.eps[level]):g}"
    if is_strong:
        missed = int(
            ((weaker[:, None] <= subset.eps) & (stronger[:, None] > subset.eps)).sum(0).max()
        )
        passed, warning = missed <= few, f"{name} breaks {missed} that strong left"
    return Check(
        "strong",
        passed,
        verdict + ("" if passed else f": {warning}"),
        {
            "eps": subset.eps.tolist(),
            name: (ours / n).tolist(),
            "strong": (theirs / n).tolist(),
            "points": (100 * (ours - theirs) / n).tolist(),
        },
    )


def monotone(subset: Subset) -> Check:
    """Attacked at each level by itself, accuracy does not rise with the noise."""
    protocol = Paper(steps=20, restarts=1)
    levels = subset.eps.tolist()
    robust = [subset.margins > 0]
    robust += [subset.margins_under(protocol, [level]) > level for level in levels[1:]]
    counts = torch.stack(robust).sum(dim=1)
    rise = max(0, int((counts[1:] - counts.cummin(dim=0).values[:-1]).max()))
    passed = rise <= subset.few(0.02)
    return Check(
        "monotone",
        passed,
        "attacked at each level by itself, accuracy "
        + ("does not rise with the noise" if rise == 0 else f"rises by {counted(rise, 'sample')}")
        + ("" if passed else ": stronger noise should not be less harmful"),
        {"eps": levels, "accuracy": (counts / len(subset.labels)).tolist()},
    )


def zero_gradient(zeros: Tensor, correct: Tensor) -> Check:
    """The input has a say in the logits wherever a gradient is taken.

    Args:
        zeros: ``(N,)`` bool, the sample's gradient is exactly zero, see :func:`zero_gradients`.
        correct: ``(N,)`` bool, the sample is correctly classified.
    """
    count, n = int((zeros & correct).sum()), int(correct.sum())
    passed = count <= math.ceil(0.01 * n)
    if passed and n < _NEEDED:
        return too_few_correct("zero_gradient", n, len(correct))
    return Check(
        "zero_gradient",
        passed,
        f"{count} of {n} correctly classified samples have a gradient of exactly zero"
        + ("" if passed else ": an attack that follows it goes nowhere"),
        {"samples": count},
    )


def zero_gradients(model: Model, inputs: Tensor, labels: Tensor) -> Tensor:
    """Samples ``(N,)`` bool whose soft margin has a gradient of exactly zero."""
    leaf = inputs.detach().requires_grad_()
    with attacking(model, inputs) as classify:
        gradient = input_gradient(soft_margin(classify(leaf), labels), leaf)
    return (gradient == 0).flatten(1).all(dim=1)


def checked(subset: Subset, name: str) -> Check:
    """The check of that name, where there are samples enough to tell anything."""
    if subset.correct < _NEEDED:
        return too_few_correct(name, subset.correct, len(subset.labels))
    return ON_SUBSET[name](subset)


ON_SUBSET: dict[str, Callable[[Subset], Check]] = {
    check.__name__: check for check in (large_eps, more_iterations, black_box, strong, monotone)
}


def without_gradients(name: str) -> Check:
    """A check that an evaluation by a black box leaves out."""
    return Check(name, None, "not run: the attack takes no gradients, and is weak for that reason")


def too_few_correct(name: str, correct: int, n: int) -> Check:
    """A check for which too few samples are correctly classified, and so might be misclassified."""
    return Check(
        name,
        None,
        f"not run: {correct} of {n} samples are correctly classified, and {_NEEDED} are needed to "
        "tell",
    )


def too_few_robust(name: str, eps: float, robust: Tensor, tolerated: int) -> Check:
    """A check that would pass whatever it found, since it tolerates that number of errors."""
    return Check(
        name,
        None,
        f"not run: {int(robust.sum())} of {len(robust)} samples are robust at {eps:g}, and "
        f"{tolerated + 1} are needed to tell; lower noise levels leave more",
    )
