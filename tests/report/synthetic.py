"""Reports with plausible numbers, of no model: what an evaluation would hand to the page."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_ima.data.synthetic_oct import CLASSES, synthetic_bscan
from monai_ima.handlers.evaluation_samples import SampleList
from monai_ima.handlers.evaluation_without_noise import (
    TwoClasses,
    misclassified,
    most_fragile,
    under_attack,
    without_noise,
)
from monai_ima.report import Example
from monai_ima.robustness import confusion


def synthetic_report(
    classes=CLASSES,
    norms=("linf", "l2"),
    n=128,
    levels=7,
    scale=None,
    seed=0,
    failed=(),
    bounds=(0.0, 1.0),
    units=None,
    **two,
) -> tuple[dict[str, Any], dict[str, Tensor], Tensor, Tensor]:
    """``robustness.json``'s content, and the margins, labels and probabilities it agrees with.

    ``two``: how two classes are read.
    """
    generator = torch.Generator().manual_seed(seed)
    index = torch.arange(n)
    labels = torch.where(index % 5 == 4, 0, index % len(classes))  # the first class has most
    wrong = torch.rand(n, generator=generator) < 0.07
    predictions = torch.where(wrong, (labels + 1) % len(classes), labels)
    certain = 0.5 + 0.5 * torch.rand(n, generator=generator).double()
    others = ((1 - certain) / max(1, len(classes) - 1))[:, None].repeat(1, len(classes))
    probabilities = others.scatter(1, predictions[:, None], certain[:, None])
    listed = SampleList(
        [
            {"id": f"{i}.png", "patient": f"p{i % 41}", "label": int(y)}
            for i, y in enumerate(labels)
        ],
        classes,
    )
    read = {"positive_class": None, "operating_specificity": 0.9, "prevalence": None} | two
    clean = without_noise(probabilities, labels, TwoClasses.of(classes, **read))
    margins, curves = {}, []
    for norm in norms:
        largest = (scale or {"linf": 0.03, "l2": 1.5})[norm]
        spread = 0.25 + 0.15 * (labels.double() / len(classes))
        found = largest * spread * (torch.randn(n, generator=generator).double() / 2).exp() * 1.4
        found = torch.where(found > 1.3 * largest, torch.inf, found)
        margins[norm] = torch.where(wrong, 0.0, found)
        eps = torch.linspace(0, largest, levels).double()
        curve = _curve(norm, eps, margins[norm], labels, len(classes))
        given = torch.where(margins[norm][:, None] > eps, labels[:, None], predictions[:, None])
        curve["confusion"] = confusion(given, labels, len(classes)).tolist()
        found = clean["two_classes"]
        curve["two_classes"] = under_attack(curve, found) if found else None
        curve["most_fragile"] = most_fragile(listed, probabilities, labels, margins[norm])
        curves.append(curve)
    report = {
        "warning": "",
        "clean_findings": [],
        "settings": {
            "checkpoint": "runs/oct_ima/model_best.pt",
            "network": "monai_ima.networks.small_cnn",
            "dataset_dir": "data/synthetic_oct",
            "noise_levels": [0, 0.005, 0.01],
            "learning_rate": 0.0001,
            "resume": False,
        },
        "versions": {"monai_ima": "0.2.0", "torch": "2.13.0", "monai": "1.6.1", "python": "3.12.3"},
        "attack": {
            "protocol": "paper",
            "description": "100-PGD twice at every level with steps of a tenth of it: once on the "
            "soft margin, once on the hard margin of the logits. A sample counts as misclassified as soon as "
            "any iterate of either run is misclassified.",
            "steps": 100,
            "bounds": list(bounds) if bounds else None,
            "seed": 0,
        },
        "network": {"class": "ConvNet", "parameters": 1234567},
        "inputs": {"shape": [1, 64, 64], "units": units, "orientation": None},
        "classes": list(classes),
        "n": n,
        "patients": 41,
        "class_counts": [int((labels == c).sum()) for c in range(len(classes))],
        "without_noise": {
            **clean,
            "misclassified": misclassified(listed, probabilities, labels),
        },
        "curves": curves,
        "checks": [check for norm in norms for check in _checks(norm, failed)],
    }
    return report, margins, labels, probabilities


def _curve(norm: str, eps: Tensor, margins: Tensor, labels: Tensor, classes: int) -> dict[str, Any]:
    standing = margins[:, None] > eps
    accuracy = standing.double().mean(dim=0)
    half = 1.96 * (accuracy * (1 - accuracy) / len(labels) + 0.25 / len(labels) ** 2).sqrt()
    low, high = (accuracy - half).clamp(min=0), (accuracy + half).clamp(max=1)
    per_class = [standing[labels == c].double().mean(dim=0) for c in range(classes)]
    correct = margins[margins > 0]
    median = float(correct.quantile(0.5)) if len(correct) else torch.inf
    area = float(torch.trapezoid(accuracy, eps) / eps[-1])
    share = (eps / eps[-1]) ** 2
    return {
        "norm": norm,
        "n": len(labels),
        "eps": eps.tolist(),
        "accuracy": accuracy.tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "patient_low": (low - 0.03).clamp(min=0).tolist(),
        "patient_high": (high + 0.03).clamp(max=1).tolist(),
        "auc": area,
        "auc_low": area - 0.06,
        "auc_high": area + 0.06,
        "balanced_accuracy": torch.stack(per_class).nanmean(dim=0).tolist(),
        "per_class": [_plain(values) for values in per_class],
        "specificity": [
            (1 - (1 - accuracy) * (0.2 + 0.6 * c / classes)).tolist() for c in range(classes)
        ],
        "positive_predictive_value": [
            (accuracy * (0.9 - 0.3 * c / classes)).tolist() for c in range(classes)
        ],
        "auroc": (0.5 + 0.49 * (2 * accuracy - 1)).clamp(0, 1).tolist(),
        "auroc_steps": 20,
        "median_margin": median if median <= eps[-1] else None,
        "white_noise": {
            "draws": 20,
            "uniform": {"samples": (0.06 * share).tolist(), "draws": (0.02 * share).tolist()},
            "gaussian": {"samples": (0.11 * share).tolist(), "draws": (0.05 * share).tolist()},
        },
        "forwards": 612.4,
        "gradients": 598.1,
        "zero_gradients": 0,
    }


def _plain(values: Tensor) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _checks(norm: str, failed: tuple[str, ...]) -> list[dict[str, Any]]:
    checks: list[dict[str, Any]] = [
        {
            "name": "large_eps",
            "verdict": "At half the input's range no sample is robust.",
            "figures": {"eps": 0.5, "accuracy": 0.0},
        },
        {
            "name": "more_iterations",
            "verdict": "From 100 to 1000 iterations accuracy falls by 0.8 points at most.",
            "figures": {"steps": [10, 100, 1000], "accuracy": [0.484375, 0.4453125, 0.4375]},
        },
        {
            "name": "black_box",
            "verdict": "Square breaks no sample that the gradient attack left robust.",
            "figures": {"queries": 1000, "broken_only_by_square": 0},
        },
        {
            "name": "strong",
            "verdict": "Not run: choose the protocol strong to have it.",
            "figures": {},
        },
        {"name": "monotone", "verdict": "The curve never rises.", "figures": {}},
        {
            "name": "zero_gradient",
            "verdict": "No gradient is exactly zero.",
            "figures": {"samples": 0},
        },
    ]
    return [
        {"norm": norm, "passed": None if check["name"] == "strong" else check["name"] not in failed}
        | check
        for check in checks
    ]


def oct_example(kind: str, label: int, margin: float, size=(128, 160), seed=0) -> Example:
    rng = np.random.default_rng(seed)
    image = torch.tensor(synthetic_bscan(CLASSES[label], rng, size) / 255.0).float()[None]
    return attacked(image, kind, label, margin, len(CLASSES), seed)


def ecg_example(kind: str, label: int, margin: float, channels=1, seed=0) -> Example:
    time = torch.linspace(0, 1, 187)
    beat = sum(
        height * torch.exp(-(((time - center) / width) ** 2))
        for height, center, width in (
            (0.12, 0.2, 0.03),
            (-0.1, 0.33, 0.01),
            (0.7, 0.36, 0.013),
            (-0.15, 0.4, 0.012),
            (0.2, 0.62, 0.05),
        )
    )
    signal = torch.stack([0.2 + (1 - 0.15 * lead) * beat for lead in range(channels)])
    return attacked(signal.clamp(0, 1), kind, label, margin, 5, seed)


def volume_example(kind: str, label: int, margin: float, seed=0) -> Example:
    axis = torch.linspace(-1, 1, 32)
    z, y, x = torch.meshgrid(axis, torch.linspace(-1, 1, 48), axis, indexing="ij")
    nodule = 0.3 + 0.5 * torch.exp(-(x**2 + y**2 + z**2) / 0.1) + 0.1 * torch.sin(6 * x + 3 * y)
    return attacked(nodule[None].clamp(0, 1), kind, label, margin, 2, seed)


def attacked(
    clean: Tensor, kind: str, label: int, margin: float, classes: int, seed: int
) -> Example:
    """The sample with noise of the margin's size, and probabilities that turn to the next class."""
    generator = torch.Generator().manual_seed(seed)
    size = margin if margin != float("inf") else 0.03
    noise = torch.randn(clean.shape, generator=generator).sign() * size
    before = torch.full((classes,), 0.06 / (classes - 1))
    before[label] = 0.94
    after = before.clone()
    if margin != float("inf"):
        after = torch.full((classes,), 0.1 / (classes - 1))
        after[label], after[(label + 1) % classes] = 0.4, 0.5
    return Example(
        kind=kind,
        id=f"sample-{seed}-{label}.png",
        patient=f"{seed % 5}",
        label=label,
        margin=margin,
        clean=clean,
        attacked=(clean + noise).clamp(0, 1),
        clean_probabilities=before,
        attacked_probabilities=after,
    )
