"""Areas under the curves of runs, and how sure they and their differences are.

``accuracy`` names the one that is meant, as in a result file: ``"accuracy"``, of all samples alike, or
``"balanced_accuracy"``, the mean over the classes. Areas are then the plain or the balanced ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from monai_ima.errors import RejectedError
from monai_ima.robustness import area_under, bootstrap_means, percentile_interval
from monai_ima.robustness.curve import Z_95
from monai_ima.robustness.uncertainty import ENOUGH_PATIENTS, with_unseen

DRAWS = 2000

Run = dict[str, Any]  # the content of a result file


def area(run: Run, accuracy: str) -> float:
    """Area under a run's curve of that accuracy, from 0 to 1."""
    return float((sample_areas(run) * weights(run, accuracy)).sum())


def differences_of_areas(ours: Run, theirs: Run, accuracy: str, unit: str) -> Tensor:
    """Difference of two runs' areas, and those of bootstrap draws of the unit, if there is one.

    Args:
        ours: the first run.
        theirs: the second, on the same samples.
        accuracy: that is meant.
        unit: what is drawn, as :func:`interval_unit` says.

    Returns:
        ``(1 + DRAWS,)``, or ``(1,)`` without a unit.

    Raises:
        RejectedError: if the runs are not of the same training and test samples.
    """
    same = ("labels", "patients", "patients_fingerprint", "training_data")
    pairs = [(ours.get(what), theirs.get(what)) for what in same]
    # older files have no fingerprint
    if any(own != other for own, other in pairs if None not in (own, other)):
        raise RejectedError(
            f"expected {ours['method']} and {theirs['method']} of seed {ours['seed']} to have the "
            "same training and test samples; make them from the same data set"
        )
    difference = sample_areas(ours) - sample_areas(theirs)
    whole = (difference * weights(ours, accuracy)).sum()[None]
    if unit == "patients":
        return torch.cat([whole, of_drawn_patients(difference[:, None], ours, accuracy)[:, 0]])
    return torch.cat([whole, _of_drawn_samples(difference, ours, accuracy)]) if unit else whole


def interval_unit(runs: Sequence[Run]) -> str:
    """What is drawn for intervals: patients where all runs know theirs, else samples.

    Samples of one patient resemble each other: an interval that takes them for independent is too
    narrow, and so is one over few patients. Then there is none, "".
    """
    known = [len(set(run["patients"])) for run in runs if run.get("patients")]
    if len(known) < len(runs):
        return "samples"
    return "patients" if min(known) >= ENOUGH_PATIENTS else ""


def half_widths(run: Run, accuracy: str, unit: str) -> Tensor:
    """``(L,)`` half the 95 % interval of the accuracy; of samples, from the variance within classes.

    Where all samples are robust, or none is, how far Wilson's interval reaches from there.
    """
    robust = _robust(run)
    patients = torch.tensor(run["patients"]) if unit == "patients" else None
    nothing = robust[0, :, None].expand(-1, 2)  # an interval without a width
    low, high = with_unseen(nothing, robust, patients).unbind(dim=-1)
    return torch.maximum(high - low, _half_widths(run, robust, accuracy, unit))


def _half_widths(run: Run, robust: Tensor, accuracy: str, unit: str) -> Tensor:
    if unit == "patients":
        low, high = percentile_interval(of_drawn_patients(robust, run, accuracy)).unbind(dim=-1)
        return (high - low) / 2
    labels, weight = torch.tensor(run["labels"]), weights(run, accuracy)
    variance = torch.zeros(robust.shape[1], dtype=torch.float64)
    for label in labels.unique():
        rows = robust[labels == label]
        share = weight[labels == label].sum() ** 2
        variance += share * rows.var(dim=0, correction=0) / len(rows)
    return Z_95 * variance.sqrt()


def _of_drawn_samples(values: Tensor, run: Run, accuracy: str) -> Tensor:
    """``(DRAWS,)`` the accuracy's mean of ``values`` ``(N,)``; samples are drawn class by class."""
    labels, weight = torch.tensor(run["labels"]), weights(run, accuracy)
    generator = torch.Generator().manual_seed(run["seed"])
    sums = torch.zeros(DRAWS, dtype=torch.float64)
    for label in labels.unique():
        own = (labels == label).nonzero()[:, 0]
        rows = own[torch.randint(len(own), (DRAWS, len(own)), generator=generator)]
        sums += (values * weight)[rows].sum(dim=1)
    return sums


def of_drawn_patients(values: Tensor, run: Run, accuracy: str) -> Tensor:
    """``(DRAWS, L)`` the accuracy's means of ``values`` ``(N, L)``; whole patients are drawn.

    Runs with the same patients draw the same ones, whatever their seed. A class that none of the
    drawn patients has does not count.
    """
    labels = torch.tensor(run["labels"])
    if accuracy == "accuracy":  # all samples alike
        labels = torch.zeros_like(labels)
    member = one_hot(labels).double()[:, None]
    generator = torch.Generator().manual_seed(int(run["patients_fingerprint"], 16))
    means = bootstrap_means(
        torch.cat([values[..., None] * member, member], dim=1),
        torch.tensor(run["patients"]),
        draws=DRAWS,
        generator=generator,
    )
    return (means[:, :-1] / means[:, -1:]).nanmean(dim=2)


def sample_areas(run: Run) -> Tensor:
    """``(N,)`` area under each sample's own curve, which is 1 up to its margin and 0 beyond."""
    return area_under(_robust(run), torch.tensor(run["curve"]["eps"], dtype=torch.float64))


def _robust(run: Run) -> Tensor:
    """``(N, L)`` 1 where a sample is robust at a level."""
    eps = torch.tensor(run["curve"]["eps"], dtype=torch.float64)
    margins = [torch.inf if margin is None else margin for margin in run["margins"]]
    return (torch.tensor(margins, dtype=torch.float64)[:, None] > eps).double()


def weights(run: Run, accuracy: str) -> Tensor:
    """``(N,)`` what each sample counts, so that the weighted sum is the accuracy that is meant."""
    labels = torch.tensor(run["labels"])
    if accuracy == "accuracy":
        return torch.full(labels.shape, 1 / len(labels), dtype=torch.float64)
    counts = labels.bincount().double()
    return 1 / (counts[labels] * (counts > 0).sum())
