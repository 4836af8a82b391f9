"""What the report of an evaluation says of each sample and of each norm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from monai_ima.handlers.evaluation_progress import Examples
from monai_ima.handlers.evaluation_samples import SampleList
from monai_ima.report import Example
from monai_ima.robustness.measure import Measure, batched, probabilities


def curve_summaries(
    listed: SampleList, answers: Mapping[str, Tensor], measures: Mapping[str, Measure]
) -> list[dict[str, Any]]:
    """The curve of each norm and all that belongs to it, in plain values."""
    return [
        measure.summary(
            {
                name.removeprefix(f"{norm}/"): values
                for name, values in answers.items()
                if name.startswith(f"{norm}/")
            },
            answers["labels"],
            answers["probabilities"].argmax(dim=1),
            len(listed.class_names),
            listed.patients(),
        )
        for norm, measure in measures.items()
    ]


def sample_rows(
    listed: SampleList, answers: Mapping[str, Tensor], measures: Mapping[str, Measure]
) -> list[dict[str, Any]]:
    """The rows of ``samples.csv``, by column."""
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
            zip(answers["labels"].tolist(), predictions, strict=True)
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
