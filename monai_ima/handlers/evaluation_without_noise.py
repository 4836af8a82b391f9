"""What the report says of the clean samples: discrimination, calibration, operating point, errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.metrics.calibration import calibration_binning
from torch import Tensor

from monai_ima.handlers.evaluation_samples import SampleList
from monai_ima.robustness import confusion, macro_auroc, wilson_interval
from monai_ima.robustness.curve import without_nan
from monai_ima.robustness.operating_point import predictive_values, threshold_at
from monai_ima.robustness.statistics import brier_score, log_odds

_BINS = 10
_SUMMED = 1024  # samples in float32
LISTED = 20
"""Samples and patients that the report names; samples.csv has all."""
_MOST_CONFUSED = 20  # classes whose table a person can read


@dataclass(frozen=True)
class TwoClasses:
    """How the report reads a task of two classes.

    Attributes:
        positive: index of the positive class.
        is_named: it was chosen, and is not merely the second.
        specificity: that the operating point is to have.
        prevalence: share of the positive at which predictive values are said; ``None``: that of the
            samples.
    """

    positive: int
    is_named: bool
    specificity: float
    prevalence: float | None

    @classmethod
    def of(
        cls,
        class_names: Sequence[str],
        *,
        positive_class: str | None,
        operating_specificity: float,
        prevalence: float | None,
    ) -> TwoClasses | None:
        """From the settings; ``None`` for more classes than two.

        Raises:
            ValueError: if a setting does not fit the classes, or is no share.
        """
        names = [str(name) for name in class_names]
        for setting, share in (
            ("operating_specificity", operating_specificity),
            ("prevalence", prevalence),
        ):
            if share is not None and not 0 < share < 1:
                raise ValueError(f"expected {setting} to be a share between 0 and 1, got {share}")
        if len(names) != 2:
            for setting, value in (("positive_class", positive_class), ("prevalence", prevalence)):
                if value is not None:
                    raise ValueError(
                        f"expected {setting} for two classes only, got {value!r} for {len(names)}: "
                        f"{', '.join(names)}; leave it out"
                    )
            return None
        if positive_class is not None and str(positive_class) not in names:
            raise ValueError(
                f"expected positive_class to be one of the classes {' and '.join(names)}, got "
                f"{positive_class!r}"
            )
        positive = 1 if positive_class is None else names.index(str(positive_class))
        return cls(positive, positive_class is not None, float(operating_specificity), prevalence)


def without_noise(
    probabilities: Tensor, labels: Tensor, two_classes: TwoClasses | None
) -> dict[str, Any]:
    """The part ``without_noise`` of ``robustness.json``.

    Args:
        probabilities: ``(N, C)`` of the clean samples.
        labels: ``(N,)`` true class indices.
        two_classes: how to read a task of two classes.
    """
    classes, predictions = probabilities.shape[1], probabilities.argmax(dim=1)
    shares = torch.bincount(labels, minlength=classes).double() / len(labels)
    # of two classes, that a case is positive; of more, that the answer is right
    if two_classes is None:
        said, came = probabilities.amax(dim=1), predictions == labels
    else:
        said, came = probabilities[:, two_classes.positive], labels == two_classes.positive
    said = said.contiguous()  # a column is not, of which bucketize warns
    calibration = _calibration_bins(said, came)
    counts = confusion(predictions[:, None], labels, classes)[0]
    return {
        "confusion": counts.tolist() if classes <= _MOST_CONFUSED else None,
        "auroc": macro_auroc(log_odds(probabilities), labels),
        "calibration_error": _calibration_error(calibration),
        "calibration": calibration,
        "brier": brier_score(probabilities, labels),
        "brier_of_shares": brier_score(shares.expand(len(labels), -1), labels),
        "two_classes": None
        if two_classes is None
        else _two_classes(said, came, two_classes, predictions),
    }


def under_attack(curve: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What a call is worth at each level of a curve of two classes, at the prevalence of the report.

    Args:
        curve: one norm's.
        found: ``two_classes`` of :func:`without_noise`.
    """
    positive = found["positive"]
    rates = zip(curve["per_class"][positive], curve["specificity"][positive], strict=True)
    values = [
        (None, None) if None in pair else predictive_values(*pair, found["prevalence"])
        for pair in rates
    ]
    return {
        name: [None if value is None or math.isnan(value) else value for value in column]
        for name, column in zip(("ppv", "npv"), zip(*values, strict=True), strict=True)
    }


def _two_classes(
    scores: Tensor, positive: Tensor, settings: TwoClasses, predictions: Tensor
) -> dict[str, Any]:
    own = float(positive.double().mean())
    prevalence = own if settings.prevalence is None else settings.prevalence
    points = [_point("as it answers", 0.5, predictions == settings.positive, positive, prevalence)]
    if 0 < own < 1:
        threshold = threshold_at(scores, positive, specificity=settings.specificity)
        points.append(
            _point("operating point", threshold, scores >= threshold, positive, prevalence)
        )
    return {
        "positive": settings.positive,
        "is_named": settings.is_named,
        "operating_specificity": settings.specificity,
        "prevalence": prevalence,
        "prevalence_of_samples": settings.prevalence is None,
        "points": points,
    }


def _point(
    name: str, threshold: float, called: Tensor, positive: Tensor, prevalence: float
) -> dict[str, Any]:
    """Sensitivity and specificity of calls, with their intervals, and what they are worth."""
    found: dict[str, Any] = {
        "name": name,
        "threshold": None if math.isinf(threshold) else threshold,
    }
    for rate, of, right in (
        ("sensitivity", positive, called),
        ("specificity", ~positive, ~called),
    ):
        share, n = right[of].double().mean(), int(of.sum())
        ends = wilson_interval(share, n).tolist() if n else [math.nan] * 2
        found |= dict(
            zip(
                (rate, f"{rate}_low", f"{rate}_high", f"{rate}_n"),
                (*without_nan(torch.tensor([[float(share), *ends]], dtype=torch.float64))[0], n),
                strict=True,
            )
        )
    rates = found["sensitivity"], found["specificity"]
    values = [math.nan] * 2 if None in rates else predictive_values(*rates, prevalence)
    return found | {
        key: None if math.isnan(value) else value
        for key, value in zip(("ppv", "npv"), values, strict=True)
    }


def _calibration_bins(said: Tensor, came: Tensor) -> list[dict[str, Any]]:
    """By tenths of the probability: how many samples, what was said of them, and what came true.

    MONAI's, for which samples are the places of an image. Its sums are float32, and of a million samples
    further off than what is measured: it gets a thousand at a time.
    """
    sums = torch.zeros(3, _BINS, dtype=torch.float64)
    for likely, true in zip(said.float().split(_SUMMED), came.float().split(_SUMMED), strict=True):
        found = calibration_binning(likely[None, None], true[None, None], _BINS)
        mean, observed, counts = (values[0, 0].double().nan_to_num() for values in found)
        sums += torch.stack([counts, counts * mean, counts * observed])
    return [
        {"from": at / _BINS, "to": (at + 1) / _BINS, "n": int(n), "said": s / n, "came_true": c / n}
        for at, (n, s, c) in enumerate(sums.T.tolist())
        if n
    ]


def _calibration_error(bins: Sequence[Mapping[str, Any]]) -> float:
    """Expected calibration error: how far apart both columns are, mean over the samples."""
    apart = sum(part["n"] * abs(part["said"] - part["came_true"]) for part in bins)
    return float(apart / sum(part["n"] for part in bins))


def misclassified(listed: SampleList, probabilities: Tensor, labels: Tensor) -> dict[str, Any]:
    """The misclassified samples, the most certain errors first: their number, and the first of them."""
    certain, predictions = probabilities.max(dim=1)
    wrong = (predictions != labels).nonzero().flatten()
    order = wrong[certain[wrong].argsort(descending=True, stable=True)]
    shown = [_named(listed, row, probabilities, labels) for row in order[:LISTED].tolist()]
    return {"count": len(wrong), "shown": shown}


def most_fragile(
    listed: SampleList, probabilities: Tensor, labels: Tensor, margins: Tensor
) -> dict[str, Any]:
    """The patients, or samples where these are not known, that least noise turns into an error.

    Of a patient the sample of the smallest margin counts, among those that are classified correctly.

    Args:
        listed: all samples.
        probabilities: ``(N, C)`` of the clean samples.
        labels: ``(N,)`` true class indices.
        margins: ``(N,)`` of one norm, infinite where no error was found.
    """
    patients = listed.patients()
    found = ((margins > 0) & margins.isfinite()).nonzero().flatten()
    rows: dict[int, int] = {}
    for row in found[margins[found].argsort(stable=True)].tolist():
        rows.setdefault(row if patients is None else int(patients[row]), row)
    shown = [
        _named(listed, row, probabilities, labels)
        | {
            "margin": float(margins[row]),
            "samples": 1 if patients is None else int((patients == patients[row]).sum()),
        }
        for row in list(rows.values())[:LISTED]
    ]
    return {"of": "samples" if patients is None else "patients", "count": len(rows), "shown": shown}


def _named(listed: SampleList, row: int, probabilities: Tensor, labels: Tensor) -> dict[str, Any]:
    given = int(probabilities[row].argmax())
    return {
        "id": listed.name(row),
        "patient": listed.patient(row),
        "label": listed.class_names[int(labels[row])],
        "prediction": listed.class_names[given],
        "probability": float(probabilities[row, given]),
        "probability_of_label": float(probabilities[row, int(labels[row])]),
    }
