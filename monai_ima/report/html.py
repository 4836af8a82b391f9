"""The report of an evaluation as one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from torch import Tensor

from monai_ima.counts import counted
from monai_ima.report.curves import Curve, curve_figures
from monai_ima.report.drawing import NORM_NAMES, as_png, as_svg, without_glyph_warnings
from monai_ima.report.examples import Example, example_figure
from monai_ima.report.roc import roc_figure
from monai_ima.report.units import Units, rounded, size_in_words, value_name
from monai_ima.robustness.statistics import log_odds

CHECK_QUESTIONS = {  # each such that yes is good
    "logits": "Does the model return logits?",
    "large_eps": "Does a large enough noise break every sample?",
    "more_iterations": "Do more iterations of the attack change little?",
    "black_box": "Does an attack without gradients find nothing more?",
    "strong": "Do the strongest attacks lower the curve only a little?",
    "monotone": "Does accuracy never rise with the noise?",
    "zero_gradient": "Does every sample have a gradient to follow?",
}


def html_report(
    report: Mapping[str, Any],
    *,
    margins: Mapping[str, Tensor],
    labels: Tensor,
    probabilities: Tensor,
    examples: Mapping[str, Sequence[Example]],
) -> str:
    """The page that a person reads: the answer in a sentence, whether to trust it, then the evidence.

    Args:
        report: the content of ``robustness.json``.
        margins: by norm, ``(N,)`` distances to the closest misclassified point found, 0 for a
            sample misclassified as it is, infinite where none was found.
        labels: ``(N,)`` true class indices.
        probabilities: ``(N, C)`` that the model gives the clean samples.
        examples: by norm, samples to show; may be empty.

    Returns:
        HTML. The same arguments give the same bytes.

    Raises:
        ValueError: if a curve has no margins, or they are not one for each label and row of probabilities.
    """
    predictions = probabilities.argmax(dim=1)
    for curve in report["curves"]:
        found = margins.get(curve["norm"])
        if found is None or not found.shape == labels.shape == predictions.shape:
            shape = None if found is None else tuple(found.shape)
            raise ValueError(
                f"expected margins of norm {curve['norm']!r}, labels and probabilities of the "
                f"same samples, got {shape}, {tuple(labels.shape)} and {tuple(probabilities.shape)}; "
                "pass one value a sample of the evaluation"
            )
    correct = labels == predictions
    bounds = report["attack"]["bounds"]
    units, element = Units.of(report["inputs"]), value_name(report["inputs"]["shape"])
    with without_glyph_warnings():
        sections = [
            {
                "curve": curve,
                "norm": NORM_NAMES.get(curve["norm"], curve["norm"]),
                "answer": answer(curve, units, element),
                "figures": _figures(curve, report["classes"], margins[curve["norm"]][correct]),
                "examples": _pictures(
                    examples.get(curve["norm"], ()),
                    report["classes"],
                    norm=curve["norm"],
                    bounds=bounds,
                    units=units,
                    orientation=report["inputs"]["orientation"],
                ),
            }
            for curve in report["curves"]
        ]
        roc = _roc(report, probabilities, labels)
    return _ENVIRONMENT.get_template("report.html.j2").render(
        report=report,
        sections=sections,
        roc=roc,
        norms=NORM_NAMES,
        questions=CHECK_QUESTIONS,
        units=units,
        element=element,
        single=element if report["inputs"]["shape"][0] == 1 else "value",
        bounds=bounds,
        size=size_in_words(report["inputs"]["shape"]),
    )


def answer(curve: Curve, units: Units | None = None, element: str = "value") -> str:
    """What one norm's curve says, in a sentence.

    Args:
        curve: one norm's part of ``robustness.json``.
        units: of the data, in which the noise is said, too.
        element: what one value of an input is called.
    """
    eps, accuracy, median = curve["eps"], curve["accuracy"], curve["median_margin"]
    if accuracy[0] == 0:
        return "No sample is classified correctly even without noise: there is no robustness to measure."
    norm = NORM_NAMES.get(curve["norm"], curve["norm"])
    # where half are misclassified, or the largest level tried
    at = eps[-1] if median is None else median
    evenly = ", if spread evenly" if curve["norm"] == "l2" else ""
    known = f": {units.words(at, curve['norm'])} in every {element}{evenly}" if units else ""
    unit = f"({norm}, in units of the input{known})"
    levels = range(1, len(eps))
    if median is None:
        level = levels[-1]
        loss = (
            "More than half of the correctly classified samples are robust at the largest noise tried, "
            f"{eps[level]:g} {unit}"
        )
    else:
        level = min(levels, key=lambda level: abs(eps[level] - median))
        loss = (
            "Half of the correctly classified samples are misclassified at a noise of "
            f"{rounded(median)} {unit}"
        )
    clean, left = f"{accuracy[0]:.2f}", f"{accuracy[level]:.2f}"
    change = f"stays at {left}" if left == clean else f"falls from {clean} to {left}"
    # the one to quote, where it is known
    by_patient = curve.get("patient_low") is not None
    over, start = ("over patients ", "patient_") if by_patient else ("", "")
    low, high = (curve[f"{start}{end}"][level] for end in ("low", "high"))
    interval = f"95 % {over}{low:.2f} to {high:.2f}"
    return f"{loss}; at {eps[level]:g} accuracy {change} ({interval})."


def _figures(curve: Curve, classes: Sequence[str], margins: Tensor) -> dict[str, str]:
    figures = curve_figures(curve, classes, margins)
    return {name: _data_uri("svg+xml", as_svg(figure)) for name, figure in figures.items()}


def _roc(report: Mapping[str, Any], probabilities: Tensor, labels: Tensor) -> str | None:
    """The ROC curve of two classes, with its operating point, if there is one."""
    found = report["without_noise"]["two_classes"]
    if found is None or len(found["points"]) < 2:
        return None
    positive, point = found["positive"], found["points"][-1]
    figure = roc_figure(
        log_odds(probabilities)[:, positive],
        labels == positive,
        name=report["classes"][positive],
        point=(point["sensitivity"], point["specificity"]),
    )
    return _data_uri("svg+xml", as_svg(figure))


def _pictures(
    examples: Sequence[Example],
    classes: Sequence[str],
    *,
    norm: str,
    bounds: tuple[float, float] | None,
    units: Units | None,
    orientation: str | None,
) -> dict[str, list[dict[str, str]]]:
    """By kind, an image of each example and the words that say it."""
    by_kind: dict[str, list[dict[str, str]]] = {}
    for example in examples:
        figure = example_figure(
            [example],
            classes=classes,
            norm=norm,
            bounds=bounds,
            units=units,
            orientation=orientation,
        )
        before, after = (
            f"{classes[int(p.argmax())]} {float(p.max()):.2f}"
            for p in (example.clean_probabilities, example.attacked_probabilities)
        )
        # Lines stay sharp as SVG; of pictures, it would hold every pixel of the original.
        is_signal = example.clean.ndim < 3
        uri = (
            _data_uri("svg+xml", as_svg(figure)) if is_signal else _data_uri("png", as_png(figure))
        )
        words = (
            f"{example.id}, true class {classes[example.label]}: clean {before}, attacked {after}"
        )
        by_kind.setdefault(example.kind, []).append({"uri": uri, "words": words})
    return by_kind


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _plain(value: Any, digits: int = 6) -> str:
    """A plain value of a JSON file, as a person reads it."""
    if isinstance(value, str):
        return value
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(part, digits)}" for key, part in value.items())
    if isinstance(value, Sequence):
        return ", ".join(_plain(part, digits) for part in value)
    return str(value)


def _fixed(value: float | None) -> str:
    """A number of a table to three decimals; a dash where it is not defined."""
    return "\N{EN DASH}" if value is None or math.isnan(value) else f"{value:.3f}"


def _threshold(value: float) -> str:
    """A probability to four digits, near 1 of what is left to it: from 1 on, nobody would be called."""
    rest = 1 - value
    if value <= 0.5 or rest <= 0:
        return f"{value:.4g}"
    return f"{value:.{3 - math.floor(math.log10(rest))}f}".rstrip("0")


_ENVIRONMENT = Environment(
    loader=PackageLoader("monai_ima", "report"),
    autoescape=True,  # by file name it would be off: the name ends in j2
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "plain": _plain,
    "fixed": _fixed,
    "rounded": rounded,
    "threshold": _threshold,
}
_ENVIRONMENT.globals["counted"] = counted
