"""What is wrong with who the patients are, and how classes and sections share them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from monai_ima.data_report.survey import Finding, Survey
from monai_ima.data_report.wording import (
    counted,
    few,
    sections_of_patients,
)

_FEW_PATIENTS = 10  # of a class in a section; below, the evaluation gives no interval over patients
_UNEQUAL = 3  # times as many images as another class
_OF_ONE_PATIENT = 0.3  # of the images of all patients
_ENOUGH_TO_COMPARE = 5  # patients, below which the share of one says nothing


def patient_findings(survey: Survey) -> Iterable[Finding]:
    """What is wrong with the patients, and how classes and sections share them."""
    yield from _on_two_sides(survey)
    yield from _classes_without_images(survey)
    yield from _unknown_patients(survey)
    yield from _one_patient_for_many(survey)
    yield from _few_patients(survey)
    yield from _unequal_classes(survey)
    yield from _patients_of_two_classes(survey)


def _on_two_sides(survey: Survey) -> Iterable[Finding]:
    sections = sections_of_patients(survey)
    shared = {patient: where for patient, where in sections.items() if len(where) > 1}
    if shared:
        yield Finding(
            "problem",
            f"{counted(shared, 'patient')} on two sides of the split that the data came with",
            "Images of one patient resemble each other. A model that has seen a patient in training "
            "recognises the patient in the test, not the disease: accuracy and robustness are "
            "overrated.",
            "Let the split be made anew, by patient, with --new-split; or move each patient to one "
            "side.",
            heading=("patient", "in"),
            rows=tuple((patient, ", ".join(where)) for patient, where in sorted(shared.items())),
        )


def _classes_without_images(survey: Survey) -> Iterable[Finding]:
    lacking = [
        (name, section)
        for section, samples in survey.sections.items()
        for label, name in enumerate(survey.classes)
        if all(sample.label != label for sample in samples)
    ]
    if lacking:
        yield Finding(
            "problem",
            f"no image of {few(sorted({name for name, _ in lacking}))} in some sections",
            "What a section has no image of can be neither learnt nor tested. A class needs at least "
            "one patient in each: three patients, or as many as there are folds.",
            "Add patients of the class, join it with another or leave it out; with few patients, "
            "other --fractions, fewer --folds or another --seed may do.",
            heading=("class", "none in"),
            rows=tuple(lacking),
        )


def _unknown_patients(survey: Survey) -> Iterable[Finding]:
    if survey.each_image_is_a_patient:
        yield Finding(
            "warning",
            "patients are not known: each image was taken for another patient's",
            "If a patient has several images, some are in training and others in the test: accuracy "
            "and robustness are overrated, and intervals are too narrow.",
            "Add a column with the patient to the list (a pseudonym will do), or sort the images into "
            "a folder for each patient, unless there is truly one image a patient.",
        )


def _one_patient_for_many(survey: Survey) -> Iterable[Finding]:
    images = Counter(sample.patient for sample in survey.samples)
    ((patient, most),) = images.most_common(1) or [("", 0)]
    is_much = most > max(_OF_ONE_PATIENT * len(survey.samples), 3)
    if is_much and len(images) >= _ENOUGH_TO_COMPARE:
        yield Finding(
            "warning",
            f"{most} of {len(survey.samples)} images are of one patient, {patient}",
            "Perhaps names were misread, and this is no patient. If it is one, a third of what is "
            "learnt or tested is about a single person.",
            "Look at how patients are found, above; correct --patient_pattern or --patient_column, or "
            "keep fewer images of that patient.",
        )


def _few_patients(survey: Survey) -> Iterable[Finding]:
    rows = []
    for section, samples in survey.sections.items():
        patients: dict[int, set[str]] = defaultdict(set)
        for sample in samples:
            patients[sample.label].add(sample.patient)
        if section != "training":
            rows += [
                (section, survey.classes[label], str(len(people)))
                for label, people in sorted(patients.items())
                if len(people) < _FEW_PATIENTS
            ]
    if rows and not survey.each_image_is_a_patient:
        yield Finding(
            "note",
            f"fewer than {_FEW_PATIENTS} patients of a class to validate or test with",
            "A single patient then moves the sensitivity by a tenth and more; differences between "
            "models may be chance.",
            "Prefer cross-validation (--folds 5), in which every patient is tested once.",
            heading=("section", "class", "patients"),
            rows=tuple(rows),
        )


def _unequal_classes(survey: Survey) -> Iterable[Finding]:
    counts = dict.fromkeys(range(len(survey.classes)), 0)
    counts |= Counter(sample.label for sample in survey.samples)
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[largest] > _UNEQUAL * counts[smallest]:
        names = survey.classes
        yield Finding(
            "note",
            f"{names[largest]} has {counts[largest]} images, {names[smallest]} {counts[smallest]}",
            "A model that never finds the rare class may still have a high accuracy.",
            "Look at the sensitivity of each class in the report of the evaluation, not at accuracy "
            "alone; --sampling balanced has a training draw every class equally often.",
        )


def _patients_of_two_classes(survey: Survey) -> Iterable[Finding]:
    classes: dict[str, set[int]] = defaultdict(set)
    for sample in survey.samples:
        classes[sample.patient].add(sample.label)
    several = {patient: labels for patient, labels in classes.items() if len(labels) > 1}
    if several:
        yield Finding(
            "note",
            f"{counted(several, 'patient')} with images of more than one class",
            "That may be right, as of two eyes or of two visits, or a wrong label or name. Each of "
            "these patients is on one side of the split with all images.",
            "Nothing, if the labels are right.",
            heading=("patient", "classes"),
            rows=tuple(
                (patient, ", ".join(survey.classes[label] for label in sorted(labels)))
                for patient, labels in sorted(several.items())
            ),
        )
