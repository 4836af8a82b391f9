"""Names that may mean the same, and what the files say of whom they are."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from monai_ima.data_report.survey import Finding, Survey
from monai_ima.data_report.wording import counted

_APART = re.compile(r"[\s_./-]+")
_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


def name_findings(survey: Survey) -> Iterable[Finding]:
    """What the names of classes and patients hide, and what the files say of their patients."""
    yield from _classes_of_one_name(survey)
    yield from _patients_of_one_name(survey)
    yield from _patients_of_one_person(survey)


def _classes_of_one_name(survey: Survey) -> Iterable[Finding]:
    images = Counter(survey.classes[sample.label] for sample in survey.samples)
    groups = _alike(survey.classes)
    if groups:
        yield Finding(
            "warning",
            f"classes whose names are nearly the same: {_listed(groups)}",
            "Names that differ in upper and lower case, zeros in front or what is between words are "
            "classes of their own here: a model would have to tell apart what is one disease.",
            "Write the name of a class in one way in the table, or give its images one folder.",
            heading=("class", "images"),
            rows=tuple((name, str(images[name])) for group in groups for name in group),
        )


def _patients_of_one_name(survey: Survey) -> Iterable[Finding]:
    if survey.each_image_is_a_patient:
        return
    groups = _alike({sample.patient for sample in survey.samples})
    if groups:
        yield Finding(
            "warning",
            f"{counted(groups, 'patient')} whose name is written in several ways: {_listed(groups)}",
            "Names that differ in upper and lower case, zeros in front (of which a spreadsheet takes "
            "them away) or what is between words are patients of their own here. If they are one, the "
            "patient may be in training and in the test, and accuracy and robustness are overrated.",
            "Write the name of a patient in one way, in all rows. If they are several, there is nothing "
            "to do.",
            names=tuple(" = ".join(group) for group in groups),
        )


def _patients_of_one_person(survey: Survey) -> Iterable[Finding]:
    patients: dict[str, set[str]] = defaultdict(set)
    for sample, facts in survey.readable:
        if facts.person:
            patients[facts.person].add(sample.patient)
    several = [sorted(names) for names in patients.values() if len(names) > 1]
    if several and len(patients) > 1:  # one for all is what removes names
        yield Finding(
            "warning",
            f"{counted(several, 'person')} under the names of several patients, by the PatientID of the "
            "DICOM files",
            "Images of one person resemble each other. With some in training and others in the test, "
            "accuracy and robustness are overrated.",
            "Give the images of a person the same patient, by a column in a table, a folder for each "
            "patient or --patient_pattern. The numbers themselves are not shown here.",
            names=tuple(" = ".join(names) for names in several),
        )


def _alike(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ in what is often written in several ways."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        groups[_ZEROS.sub("", _APART.sub("-", name.casefold()))].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _listed(groups: list[list[str]], most: int = 3) -> str:
    shown = "; ".join(" and ".join(group) for group in groups[:most])
    return shown + (" and others" if groups[most:] else "")
