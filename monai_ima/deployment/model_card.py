"""The page of an exported bundle that says what the model is, what it can and what it cannot."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined

from monai_ima import __version__
from monai_ima.data import TensorSamples
from monai_ima.data.ecg.beats import MEANINGS
from monai_ima.data.sample import SECTIONS
from monai_ima.deployment.figures import Figures
from monai_ima.deployment.preprocessing_words import preprocessing_in_words
from monai_ima.deployment.trained_run import TrainedRun
from monai_ima.prediction import ReferenceMargins
from monai_ima.report import NORM_NAMES, Units, markdown_text
from monai_ima.report.units import rounded
from monai_ima.robustness import wilson_interval


def model_card(
    run: TrainedRun,
    metadata: Mapping[str, Any],
    margins: ReferenceMargins,
    figures: Figures | None,
) -> str:
    """The model card in Markdown.

    Args:
        run: of the model.
        metadata: of the bundle.
        margins: of validation samples.
        figures: of the model, if it was evaluated.
    """
    classes = [markdown_text(name) for name in run.record.classes]
    image = metadata["network_data_format"]["inputs"]["image"]
    shape = [image["num_channels"], *image["spatial_shape"]]
    units = Units.of({"units": run.units, "shape": shape})
    sections = [_section(run, name) for name in SECTIONS]
    environment = Environment(
        loader=PackageLoader("monai_ima.deployment", "."),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown
    )
    return environment.get_template("model_card.md.j2").render(
        name=markdown_text(metadata["name"]),
        task=markdown_text(metadata["task"]),
        version=__version__,
        run=run.record.run[:12],
        folder=shlex.quote(str(run.folder)),
        classes=classes,
        meanings=MEANINGS if run.reads_beats and set(run.record.classes) <= set(MEANINGS) else {},
        shape=shape,
        bounds=run.bounds,
        steps=_steps(run),
        output=markdown_text(metadata["pred_classes"]),
        sections=sections,
        by_patient=run.record.is_split_by_patient,
        split="No patient is on two sides."
        if run.record.is_split_by_patient
        else "Whether a patient is on two sides is not known, or one is: the numbers may be too good.",
        warning=getattr(run.datalist, "warning", ""),
        figures=figures,
        findings=[] if figures is None else [markdown_text(text) for text in figures.findings],
        class_rows=[] if figures is None else list(_class_rows(run, figures, sections)),
        curves=[] if figures is None else [_curve(curve, units) for curve in figures.curves],
        margins=margins,
        margin_rows=[_margin_row(norm, margins, units) for norm in margins.margins],
        units=units,
        test_count=sum(sections[-1]["counts"]),
        files="IMAGES" if run.reads_images else "FILES",
    )


_OF_BEATS = (
    (
        "each annotated heartbeat is cut out of one lead, as `monai-ima prepare-ecg` does it or Kaggle's files "
        "have it: 187 values, 1.5 seconds or a little more; a shorter beat is filled up with zeros"
    ),
    (
        "each beat is scaled from 0 to 1 by its smallest and its largest value, in the form `kachuee` by those "
        "of the ten seconds that it is cut from"
    ),
)


def _section(run: TrainedRun, name: str) -> dict[str, Any]:
    samples = getattr(run.datalist, name)
    items = samples.samples if isinstance(samples, TensorSamples) else samples
    labels = torch.tensor([item["label"] for item in items])
    patients = {item.get("patient") for item in items}
    return {
        "name": name,
        "counts": torch.bincount(labels, minlength=len(run.record.classes)).tolist(),
        "patients": len(patients) if all(patients) else "not known",
    }


def _steps(run: TrainedRun) -> list[str]:
    """What is done to a file before it goes into the network."""
    if run.reads_beats:
        return list(_OF_BEATS)
    if run.preprocessing is None:
        return []
    return preprocessing_in_words(run.self_contained("preprocessing")["preprocessing"])


def _class_rows(
    run: TrainedRun, figures: Figures, sections: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, ...]]:
    counts = figures.class_counts or sections[-1]["counts"]
    for name, per_level, count in zip(
        run.record.classes, figures.curves[0]["per_class"], counts, strict=True
    ):
        share = per_level[0]
        if share is None or not count:
            yield markdown_text(name), "no sample", ""
            continue
        ((low, high),) = wilson_interval(torch.tensor([share]).double(), count).tolist()
        yield markdown_text(name), f"{share:.3f}", f"{low:.3f} to {high:.3f}"


def _curve(curve: Mapping[str, Any], units: Units | None) -> dict[str, Any]:
    by_patient = curve.get("patient_low") is not None
    ends = ("patient_low", "patient_high") if by_patient else ("low", "high")
    median = curve.get("median_margin")
    return {
        "unit": f"{NORM_NAMES[curve['norm']]}, in units of the input",
        "over": "95 % interval over patients" if by_patient else "95 % interval over samples",
        "rows": [
            (_size(curve["norm"], eps, units), f"{accuracy:.3f}", f"{low:.3f} to {high:.3f}")
            for eps, accuracy, low, high in zip(
                *(curve[name] for name in ("eps", "accuracy", *ends)), strict=True
            )
        ],
        "median": "" if median is None else _size(curve["norm"], median, units),
    }


def _margin_row(norm: str, reference: ReferenceMargins, units: Units | None) -> tuple[str, ...]:
    margins = reference.margins[norm].sort().values
    last = len(margins) - 1
    return NORM_NAMES[norm], *(
        _size(norm, float(margins[round(share * last)]), units) for share in (0.05, 0.5, 0.95)
    )


def _size(norm: str, size: float, units: Units | None) -> str:
    """A change in units of the input, and in those of the data where they are known."""
    if math.isinf(size):
        return "not found"
    in_units = "" if units is None else f" ({units.words(size, norm, brief=True)})"
    return f"{rounded(size)}{in_units}"
