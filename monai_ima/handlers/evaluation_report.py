"""What the report of an evaluation says of each sample and of each norm."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from monai_ima import __version__
from monai_ima.handlers.evaluation_progress import Examples, Progress
from monai_ima.handlers.evaluation_samples import SampleList
from monai_ima.handlers.evaluation_without_noise import (
    TwoClasses,
    misclassified,
    most_fragile,
    under_attack,
    without_noise,
)
from monai_ima.report import Example
from monai_ima.robustness.clean import Finding
from monai_ima.robustness.measure import Measure, batched, probabilities


def report_content(
    listed: SampleList,
    progress: Progress,
    measures: Mapping[str, Measure],
    *,
    inputs: Mapping[str, Any],
    network: nn.Module,
    two_classes: TwoClasses | None,
    findings: Sequence[Finding],
    outputs: str,
    check_samples: int,
    settings: Mapping[str, Any],
    warning: str,
) -> dict[str, Any]:
    """The content of ``robustness.json``.

    Args:
        listed: all samples.
        progress: the answers and checks of all of them.
        measures: by norm.
        inputs: ``shape`` of one of them, ``units`` of the data and ``orientation`` of volumes, where
            they are known, else ``None``.
        network: the evaluated one.
        two_classes: how to read a task of two classes; ``None`` for more.
        findings: what speaks against the clean answers.
        outputs: what the model returns, ``"logits"`` or by mistake ``"probabilities"``.
        check_samples: number of samples that the checks were made on.
        settings: plain values by name.
        warning: what a reader of the results has to know of the data.
    """
    labels, patients = progress.answers["labels"], listed.patients()
    measure = next(iter(measures.values()))
    probabilities = progress.answers["probabilities"]
    clean = without_noise(probabilities, labels, two_classes)
    curves = [
        measure.summary(
            _of_norm(norm, progress.answers),
            labels,
            probabilities.argmax(dim=1),
            len(listed.class_names),
            patients,
        )
        for norm, measure in measures.items()
    ]
    return {
        "settings": settings,
        "warning": warning,
        "clean_findings": [finding.to_dict() for finding in findings],
        "versions": {
            "monai_ima": __version__,
            "torch": torch.__version__,
            "monai": version("monai"),
            "python": platform.python_version(),
        },
        "attack": {
            "protocol": measure.protocol.name,
            "version": measure.protocol.version,
            "description": measure.protocol.description,
            **asdict(measure.protocol),
            "bounds": measure.bounds,
            "outputs": outputs,
            "seed": measure.seed,
            "batch_size": measure.batch_size,
            "check_samples": check_samples,
        },
        "inputs": inputs,
        "network": {
            "class": type(network).__name__,
            "parameters": sum(values.numel() for values in network.parameters()),
        },
        "classes": listed.class_names,
        "n": len(labels),
        "patients": None if patients is None else len(patients.unique()),
        "class_counts": torch.bincount(labels, minlength=len(listed.class_names)).tolist(),
        "without_noise": {
            **clean,
            "misclassified": misclassified(listed, probabilities, labels),
        },
        "curves": [
            {
                **curve,
                "two_classes": (
                    under_attack(curve, clean["two_classes"]) if clean["two_classes"] else None
                ),
                "most_fragile": most_fragile(
                    listed, probabilities, labels, progress.answers[f"{curve['norm']}/margins"]
                ),
            }
            for curve in curves
        ],
        "checks": [
            {**check, "norm": norm}
            for norm, checks in progress.checks.items()
            for check in checks.values()
        ],
    }


_ROWS = 4096  # made at once: those of ten million samples are gigabytes


def _of_norm(norm: str, answers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{norm}/"
    return {
        name.removeprefix(start): values
        for name, values in answers.items()
        if name.startswith(start)
    }


def sample_rows(
    listed: SampleList, answers: Mapping[str, Tensor], measures: Mapping[str, Measure]
) -> Iterator[dict[str, Any]]:
    """The rows of ``samples.csv``, by column."""
    for start in range(0, len(listed), _ROWS):
        part = {name: values[start : start + _ROWS] for name, values in answers.items()}
        yield from _rows(listed, start, part, measures)


def _rows(
    listed: SampleList, start: int, answers: Mapping[str, Tensor], measures: Mapping[str, Measure]
) -> list[dict[str, Any]]:
    """Those of the samples from ``start`` on that have these answers."""
    names = listed.class_names
    predictions = answers["probabilities"].argmax(dim=1).tolist()
    rows = [
        {
            "id": listed.name(index),
            "patient": listed.patient(index),
            "label": names[label],
            "prediction": names[prediction],
        }
        for index, (label, prediction) in enumerate(
            zip(answers["labels"].tolist(), predictions, strict=True), start
        )
    ]
    for norm, measure in measures.items():
        margins = answers[f"{norm}/margins"]
        levels = torch.searchsorted(measure.eps, margins).tolist()
        for row, margin, level, given in zip(
            rows, margins.tolist(), levels, answers[f"{norm}/broken_as"].tolist(), strict=True
        ):
            found = margin < math.inf
            row[f"broke_at_{norm}"] = [*measure.eps.tolist(), ""][level]
            row[f"broken_as_{norm}"] = names[given] if found else ""
            row[f"margin_{norm}"] = margin if found else ""
    # behind the others, as readers of older files know them
    for row, given in zip(rows, answers["probabilities"].tolist(), strict=True):
        row |= {f"probability of {name}": value for name, value in zip(names, given, strict=True)}
    return rows


def shown_examples(
    network: nn.Module,
    listed: SampleList,
    measure: Measure,
    kept: Examples,
    labels: Tensor,
    device: torch.device,
) -> list[Example]:
    """The most fragile and the hardest samples, as the report shows them.

    Args:
        network: the evaluated one.
        listed: all samples.
        measure: of the norm.
        kept: examples of the norm, with their closest errors.
        labels: ``(N,)`` true class indices of all samples.
        device: where the network is.
    """
    if len(kept.places) == 0:
        return []
    labels = labels[kept.places]
    attacked, unbroken = kept.attacked.clone(), kept.margins.isinf()
    if unbroken.any() and measure.takes_gradients:
        unbroken_samples = (values[unbroken].to(device) for values in (kept.clean, labels))
        attacked[unbroken] = batched(
            measure.pushed, network, *unbroken_samples, batch_size=measure.batch_size
        ).cpu()
    before, after = (
        batched(probabilities, network, inputs.to(device), batch_size=measure.batch_size).cpu()
        for inputs in (kept.clean, attacked)
    )
    return [
        Example(
            kind=kind,
            id=listed.name(int(kept.places[row])),
            patient=listed.patient(int(kept.places[row])) or None,
            label=int(labels[row]),
            margin=float(kept.margins[row]),
            clean=kept.clean[row],
            attacked=attacked[row],
            clean_probabilities=before[row],
            attacked_probabilities=after[row],
        )
        for kind, rows in (("most fragile", kept.fragile), ("hardest to break", kept.hardest))
        for row in rows
    ]
