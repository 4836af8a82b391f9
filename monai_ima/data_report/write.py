"""From a folder of images to MONAI datalists and a report on the data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_ima.counts import checked_count
from monai_ima.data import Cohort, read_cohort
from monai_ima.data.intensity import IntensityRange
from monai_ima.data.list_checks import check_arguments
from monai_ima.data.sample import SECTIONS, Sections
from monai_ima.data.split import deal_by_patient, folds_by_patient
from monai_ima.data_report.bundle_choice import FittingBundle, fitting_bundle
from monai_ima.data_report.facts import image_facts
from monai_ima.data_report.findings import find_all
from monai_ima.data_report.page import data_page
from monai_ima.data_report.reading import ImageReader
from monai_ima.data_report.survey import Finding, Survey
from monai_ima.errors import RejectedError
from monai_ima.handlers.files import write_whole

PAGE = "data_report.html"
FEWEST_FOLDS = 3  # to train, to validate and to test
_IN_TRAINING = ("allow_outside", "intensity_range", "nan_value")  # of the data, whatever reads them


@dataclass(frozen=True)
class WrittenLists:
    """What :func:`write_datalists` has found and written.

    Attributes:
        survey: the data set.
        findings: what a person has to know of it.
        page: the report.
        lists: the datalists; none if there is a problem that has to be mended first.
        fitting: the bundle that trains on them, and its settings.
    """

    survey: Survey
    findings: list[Finding]
    page: Path
    lists: list[Path]
    fitting: FittingBundle


def write_datalists(
    dataset_dir: str | Path,
    output_dir: str | Path,
    *,
    table: str | Path | None = None,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    folds: int | None = None,
    new_split: bool = False,
    leave_out_unreadable: bool = False,
    intensity_range: IntensityRange = None,
    nan_value: float | None = None,
    seed: int = 0,
    progress: Callable[[Iterable[object], int], Iterable[object]] = lambda found, _: found,
    **reading: Any,
) -> WrittenLists:
    """Split a data set by patient, write it as MONAI datalists, and report on it.

    ``output_dir`` gets ``data_report.html`` and, unless there is a problem that a training would
    stop at, ``datalist.json`` or ``fold_0.json`` and so on, with paths relative to ``dataset_dir``.

    Args:
        dataset_dir: class folders, below those of sections if there are any; or the folder to which
            the paths in ``table`` are relative.
        output_dir: folder for what is written; it is made if need be.
        table: a list, as :func:`~monai_ima.data.load_datalist` reads it.
        fractions: shares of training, validation and test. Where the data set has set a test or
            validation aside already, these are kept, and what is missing is taken from training.
        folds: as many datalists for cross-validation instead, at least 3; by default one.
        new_split: split anew what is split already.
        leave_out_unreadable: leave out files that cannot be read, which are a problem otherwise.
        intensity_range: as for :class:`~monai_ima.data.LoadIntensityd`; of volumes, percentiles by
            default.
        nan_value: likewise.
        seed: of the split.
        progress: as for :func:`image_facts`.
        reading: other arguments of :func:`~monai_ima.data.read_cohort`.

    Raises:
        OSError: if a folder or table does not exist, or nothing can be written.
        ValueError: if the data set is not as described, folds are asked for of data that are split,
            or ``output_dir`` has other lists.
    """
    root, output = Path(dataset_dir), Path(output_dir)
    check_arguments(fractions, None)
    if folds is not None:
        checked_count("folds", folds, at_least=FEWEST_FOLDS)
    names = ["datalist.json"] if folds is None else [f"fold_{n}.json" for n in range(folds)]
    _check_no_other_lists(output, names)
    cohort = read_cohort(root, datalist=table, **reading)
    if new_split or folds is not None:
        _check_not_split(cohort, new_split=new_split)
        cohort = _joined(cohort)
    paths = [sample.path for samples in cohort.sections.values() for sample in samples]
    facts, unreadable = image_facts(root, paths, ImageReader(intensity_range, nan_value), progress)
    left_out = dict(unreadable) if leave_out_unreadable else {}
    sections = {
        name: [sample for sample in samples if sample.path not in left_out]
        for name, samples in cohort.sections.items()
    }
    if folds is None:
        splits = [_completed(sections, fractions, seed)]
        looked_at = splits[0]
    else:
        splits = folds_by_patient(sections["training"], folds, seed)
        looked_at = {f"fold {number}": split["test"] for number, split in enumerate(splits)}
    survey = Survey(
        classes=cohort.classes,
        sections=looked_at,
        facts=facts,
        unreadable=unreadable,
        left_out=leave_out_unreadable,
        each_image_is_a_patient=bool(reading.get("each_image_is_a_patient")),
        in_given_range=intensity_range is not None,
    )
    findings = find_all(survey)
    made = {
        "dataset_dir": str(dataset_dir),
        "table": None if table is None else str(table),
        **reading,
        "folds": folds,
        "fractions": None if folds else list(fractions),
        "new_split": new_split,
        "leave_out_unreadable": leave_out_unreadable,
        "intensity_range": intensity_range,
        "nan_value": nan_value,
        "seed": seed,
    }
    made = {name: value for name, value in made.items() if value is not None and value is not False}
    fitting = fitting_bundle(survey, {name: made[name] for name in _IN_TRAINING if name in made})
    page = output / PAGE
    html = data_page(survey, findings, name=root.resolve().name, made=made)
    _write_text(page, html)
    if any(finding.weight == "problem" for finding in findings):
        return WrittenLists(survey, findings, page, [], fitting)
    lists = [output / name for name in names]
    for path, split in zip(lists, splits, strict=True):
        _write_text(path, _json(split, cohort, made, fitting))
    return WrittenLists(survey, findings, page, lists, fitting)


def _write_text(path: Path, text: str) -> None:
    write_whole(path, lambda unfinished: unfinished.write_text(text, "utf-8"))


def _check_no_other_lists(output: Path, names: Sequence[str]) -> None:
    present = [
        path.name for pattern in ("datalist.json", "fold_*.json") for path in output.glob(pattern)
    ]
    if others := sorted(set(present) - set(names)):
        raise RejectedError(
            f"expected {output} to have no other lists than {', '.join(names)}, which would be taken "
            f"for those of this split, got {', '.join(others)}; give another output, or remove them"
        )


def _check_not_split(cohort: Cohort, *, new_split: bool) -> None:
    if len(cohort.sections) > 1 and not new_split:
        raise RejectedError(
            f"expected data that are not split yet, of which to make folds, got {cohort.source} with "
            f"{', '.join(cohort.sections)}; add --new-split to split all of it anew, or leave --folds out"
        )


def _joined(cohort: Cohort) -> Cohort:
    samples = [sample for samples in cohort.sections.values() for sample in samples]
    return Cohort(cohort.source, cohort.classes, {"training": samples})


def _completed(sections: Sections, fractions: Sequence[float], seed: int) -> Sections:
    """All three sections, of which those that are missing are taken from training, by patient."""
    shares = {
        section: share
        for section, share in zip(SECTIONS, fractions, strict=True)
        if section == "training" or section not in sections
    }
    if len(shares) > 1:
        sections = sections | deal_by_patient(sections["training"], shares, seed)
    return {section: sections[section] for section in SECTIONS}


def _json(split: Sections, cohort: Cohort, made: dict[str, object], fitting: FittingBundle) -> str:
    """A datalist in MONAI's decathlon form."""
    content: dict[str, Any] = {
        "labels": {str(label): name for label, name in enumerate(cohort.classes)},
        "settings": made,
        "bundle": fitting.name,
        "bundle_settings": dict(fitting.settings),
    }
    for section, samples in split.items():
        content[section] = [
            {"image": sample.path, "label": sample.label, "patient": sample.patient}
            for sample in samples
        ]
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
