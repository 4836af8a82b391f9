"""The report on a data set as one HTML file that loads nothing from elsewhere and runs nothing."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from monai_ima.counts import counted
from monai_ima.data.sample import Sample
from monai_ima.data_report.facts import ImageFacts
from monai_ima.data_report.survey import Finding, Survey

_SHOWN_OF_A_CLASS = 9
_PICTURES_SHOWN = 12  # groups in a finding
_ROWS_SHOWN = 10  # the others can be unfolded
_PATIENTS_SHOWN = 3


def data_page(
    survey: Survey, findings: Sequence[Finding], *, name: str, made: Mapping[str, object]
) -> str:
    """The page that a person looks at before a training.

    Args:
        survey: the data set.
        findings: what was found in it.
        name: of the data set.
        made: with what settings the list was made.

    Returns:
        HTML. The same arguments give the same bytes.
    """
    return _ENVIRONMENT.get_template("data_report.html.j2").render(
        name=name,
        made=made,
        survey=survey,
        lead=lead(survey),
        weighed=_by_weight(findings),
        counts=_counts(survey),
        files=_files(survey),
        thumbnails=_thumbnails(survey),
        patients=_patients(survey),
        pictures_shown=_PICTURES_SHOWN,
        rows_shown=_ROWS_SHOWN,
        uri={path: _data_uri(facts.thumbnail) for path, facts in survey.facts.items()},
    )


def lead(survey: Survey) -> str:
    """How much there is, in a line."""
    samples = survey.samples
    people = len({sample.patient for sample in samples})
    of_patients = "" if survey.each_image_is_a_patient else f" of {counted(people, 'patient')}"
    return f"{counted(len(samples), 'image')}{of_patients}, {len(survey.classes)} classes"


def _by_weight(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    return {
        weight: [finding for finding in findings if finding.weight == weight]
        for weight in ("problem", "warning", "note")
    }


def _counts(survey: Survey) -> list[list[str]]:
    """Images and patients, a row a class, a column a section."""
    columns = [*survey.sections.values(), survey.samples]
    rows = []
    for label, name in enumerate(survey.classes):
        members = [[s for s in samples if s.label == label] for samples in columns]
        rows.append([name, *(_images_of_patients(of_class, survey) for of_class in members)])
    return [*rows, ["all", *(_images_of_patients(samples, survey) for samples in columns)]]


def _images_of_patients(samples: Sequence[Sample], survey: Survey) -> str:
    if survey.each_image_is_a_patient:
        return str(len(samples))
    return f"{len(samples)} ({len({sample.patient for sample in samples})})"


def _files(survey: Survey) -> list[list[str]]:
    """A row a property of the files, a column a class."""
    by_class: dict[int, list[ImageFacts]] = defaultdict(list)
    for sample, facts in survey.readable:
        by_class[sample.label].append(facts)
    rows: dict[str, Callable[[list[ImageFacts]], str]] = {
        "size": lambda all_: _frequent([_size(one.size) for one in all_]),
        "channels": lambda all_: _frequent([str(one.channels) for one in all_]),
        "bit depth": lambda all_: _frequent([one.depth for one in all_]),
        "darkest to brightest value": _range,
        "file format": lambda all_: _frequent([one.format for one in all_]),
        "spacing in mm": lambda all_: _frequent([_spacing(one.spacing) for one in all_]),
    }
    return [
        [name, *(say(by_class[n]) if by_class[n] else "none" for n in range(len(survey.classes)))]
        for name, say in rows.items()
    ]


def _size(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size if len(size) > 2 else reversed(size)))


def _spacing(spacing: tuple[float, ...] | None) -> str:
    return "not in the file" if spacing is None else " x ".join(f"{mm:g}" for mm in spacing)


def _range(facts: Sequence[ImageFacts]) -> str:
    low, highest = min(one.lowest for one in facts), sorted(one.highest for one in facts)
    said = f"{_plain(low)} to {_plain(highest[-1])}"
    if highest[0] == highest[-1]:
        return said
    middle = highest[len(highest) // 2]
    return (
        f"{said}; the brightest of an image: {_plain(highest[0])} and more, median {_plain(middle)}"
    )


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _frequent(values: Sequence[str], most: int = 4) -> str:
    counts = Counter(values)
    if len(counts) == 1:
        return values[0]
    shown = [f"{value} ({number})" for value, number in counts.most_common(most)]
    others = len(counts) - most
    return ", ".join(shown) + (f" and {others} others" if others > 0 else "")


def _thumbnails(survey: Survey) -> dict[str, list[str]]:
    """Some images of each class, of different patients if there are as many."""
    shown: dict[str, list[str]] = {}
    for label, name in enumerate(survey.classes):
        of_patient: dict[str, int] = defaultdict(int)
        ranked: list[tuple[int, int, str]] = []
        members = [s for s, _ in survey.readable if s.label == label]
        for sample in sorted(members, key=lambda s: hashlib.sha256(s.path.encode()).digest()):
            ranked.append((of_patient[sample.patient], len(ranked), sample.path))
            of_patient[sample.patient] += 1
        shown[name] = [path for *_, path in sorted(ranked)[:_SHOWN_OF_A_CLASS]]
    return shown


def _patients(survey: Survey) -> dict[str, Any]:
    """How patients were understood, for a person to see whether it is right."""
    images = Counter(sample.patient for sample in survey.samples)
    examples = {sample.path: sample.patient for sample in survey.samples}
    step = max(1, len(examples) // _PATIENTS_SHOWN)
    return {
        "number": len(images),
        "most": max(images.values(), default=0),
        "single": sum(number == 1 for number in images.values()),
        "examples": dict(list(examples.items())[::step][:_PATIENTS_SHOWN]),
    }


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


_ENVIRONMENT = Environment(
    loader=PackageLoader("monai_ima", "data_report"),
    autoescape=True,  # by file name it would be off: the name ends in j2
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
