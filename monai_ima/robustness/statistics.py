"""What a clinic asks beside the accuracy: of each class, of the probabilities, of the margins."""

from __future__ import annotations

import torch
from torch import Tensor


def balanced_accuracy(per_class: Tensor) -> Tensor:
    """Mean of the accuracies in each class, ``(C, L)`` to ``(L,)``, but those that are NaN."""
    return per_class.nanmean(dim=0)


def as_many_of_even_classes(sizes: Tensor) -> float:
    """How many samples, of classes of one size, make a mean over the classes as certain.

    Args:
        sizes: ``(C,)`` numbers of samples in each class; one without any does not count.

    Example:
        >>> as_many_of_even_classes(torch.tensor([90, 10, 0]))
        36.0
    """
    present = sizes[sizes > 0].double()
    return round(float(len(present) ** 2 / (1 / present).sum()), 9)


def specificity(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Share of the samples of other classes that are not taken for a class.

    Args:
        predicted: ``(N, L)`` class given to each sample at each level.
        labels: ``(N,)`` true class indices.
        classes: number C of classes.

    Returns:
        ``(C, L)`` float64, NaN for a class beside which there are no samples.
    """
    return torch.stack([(predicted[labels != c] != c).double().mean(dim=0) for c in range(classes)])


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How many samples of each class were given each class.

    Args:
        predicted: ``(N, L)`` class given to each sample at each level.
        labels: ``(N,)`` true class indices.
        classes: number C of classes.

    Returns:
        ``(L, C, C)`` counts at each level, rows the true classes, columns those given.
    """
    cells = labels[:, None] * classes + predicted
    counts = [torch.bincount(level, minlength=classes**2) for level in cells.unbind(dim=1)]
    return torch.stack(counts).reshape(-1, classes, classes)


def positive_predictive_value(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Share of the samples given a class that are of it; the more, the more frequent the class is.

    Args:
        predicted: ``(N, L)`` class given to each sample at each level.
        labels: ``(N,)`` true class indices.
        classes: number C of classes.

    Returns:
        ``(C, L)`` float64, NaN for a class that nobody is given.

    Source:
        ANSI/AAMI EC57, which reports it beside the sensitivity.
    """
    counts = confusion(predicted, labels, classes).double()
    return (counts.diagonal(dim1=1, dim2=2) / counts.sum(dim=1)).T


def macro_auroc(probabilities: Tensor, labels: Tensor) -> float | None:
    """Area under the ROC curve, one class against the rest, averaged over the classes.

    It is the probability that a sample of the class scores higher than one of another, ties
    counted as half. A class of no or of all samples is left out.

    Args:
        probabilities: ``(N, C)`` scores of the classes, compared within a class only.
        labels: ``(N,)`` true class indices.

    Returns:
        From 0 to 1; ``None`` if every class is left out.

    Raises:
        ValueError: if a score is NaN, which has no rank.

    Source:
        Hanley and McNeil, The Meaning and Use of the Area under a ROC Curve, 1982.
    """
    if probabilities.isnan().any():
        raise ValueError("expected scores that can be ranked, got NaN")
    areas = []
    for c, scores in enumerate(probabilities.unbind(dim=1)):
        positive = labels == c
        positives = int(positive.sum())
        negatives = len(labels) - positives
        if positives and negatives:
            rank_sum = float(_ranks(scores)[positive].sum())
            above = rank_sum - positives * (positives + 1) / 2
            areas.append(above / (positives * negatives))
    return sum(areas) / len(areas) if areas else None


def log_odds(probabilities: Tensor) -> Tensor:
    """Scores that rank as the probabilities do, and those near 1 as well, which float32 makes 1.

    Of a class that is nearly certain, what is left for the others says how nearly.

    Args:
        probabilities: ``(N, C)`` of the classes.

    Returns:
        ``(N, C)`` float64 logarithms of the odds; infinite where nothing is left.

    Example:
        >>> log_odds(torch.tensor([[1.0, 1e-9], [1.0, 1e-12]]))[:, 0].diff() > 0
        tensor([True])
    """
    likely = probabilities.double()
    first = likely.argmax(dim=1, keepdim=True)
    rest = likely.scatter(1, first, 0).sum(dim=1, keepdim=True)
    return likely.log() - (1 - likely).scatter(1, first, rest).log()


def brier_score(probabilities: Tensor, labels: Tensor) -> float:
    """Mean squared distance of the probabilities from the truth, over all classes.

    Args:
        probabilities: ``(N, C)`` of the classes.
        labels: ``(N,)`` true class indices.

    Returns:
        From 0, always certain and right, to 2, always certain and wrong.

    Source:
        Brier, Verification of Forecasts Expressed in Terms of Probability, 1950.

    Example:
        >>> brier_score(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([1, 0]))
        0.25
    """
    truth = torch.zeros_like(probabilities.double()).scatter_(1, labels[:, None], 1)
    return float((probabilities.double() - truth).square().sum(dim=1).mean())


def _ranks(scores: Tensor) -> Tensor:
    """Ranks ``(N,)`` from 1 up, float64; equal scores share the mean of theirs."""
    _, value, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    counts = counts.double()
    ranks: Tensor = counts.cumsum(dim=0) - (counts - 1) / 2
    return ranks[value]


def median_margin(margins: Tensor, correct: Tensor) -> float | None:
    """The noise at which half of the correctly classified samples are misclassified.

    Args:
        margins: ``(N,)`` distances to the closest misclassified points, inf where none was found.
        correct: ``(N,)`` bool, the clean sample is correctly classified.

    Returns:
        The lower median over the correct samples, in units of the inputs; ``None`` if it is
        infinite, as more than half were never broken, or if no sample is correct.

    Raises:
        ValueError: if a margin is NaN.
    """
    if margins.isnan().any():
        raise ValueError("expected margins to be numbers, inf where nothing was found, got NaN")
    median = margins[correct].median()  # NaN of no sample
    return float(median) if median.isfinite() else None
