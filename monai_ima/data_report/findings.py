"""What ruins models for medical images, looked for in what is known of a data set."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

import numpy as np

from monai_ima.data.sample import Sample, Sections
from monai_ima.data_report.facts import ImageFacts
from monai_ima.data_report.perceptual_hash import near_duplicates
from monai_ima.data_report.shortcut_search import shortcuts

DARK_BELOW = 0.1  # of the grey scale
_FEW_PATIENTS = 10  # of a class in a section; below, the evaluation gives no interval over patients
_UNEQUAL = 3  # times as many images as another class
_OF_ONE_PATIENT = 0.3  # of the images of all patients
_ENOUGH_TO_COMPARE = 5  # patients, below which the share of one says nothing


@dataclass(frozen=True)
class Survey:
    """A data set, and what its files say.

    Attributes:
        classes: their names, in the order of the labels.
        sections: the samples by section, or by the fold that they are the test of.
        facts: of the images that can be read, by path.
        unreadable: why the others cannot, by path.
        left_out: ``sections`` are without these.
        each_image_is_a_patient: nothing is known of patients.
    """

    classes: tuple[str, ...]
    sections: Sections
    facts: Mapping[str, ImageFacts]
    unreadable: Mapping[str, str]
    left_out: bool = False
    each_image_is_a_patient: bool = False

    @property
    def samples(self) -> list[Sample]:
        return [sample for samples in self.sections.values() for sample in samples]

    @property
    def readable(self) -> list[tuple[Sample, ImageFacts]]:
        return [(s, self.facts[s.path]) for s in self.samples if s.path in self.facts]


@dataclass(frozen=True)
class Finding:
    """Something that a person has to know of the data.

    Attributes:
        weight: a problem is in the way of a training, a warning makes its results doubtful, a note
            is to be known.
        title: what was found.
        why: why it matters.
        to_do: what to do about it.
        names: the files or patients.
        pictures: groups of images to show, by path, each with its words.
        heading: of the columns of ``rows``.
        rows: a table.
    """

    weight: Literal["problem", "warning", "note"]
    title: str
    why: str
    to_do: str
    names: tuple[str, ...] = ()
    pictures: tuple[tuple[str, tuple[str, ...]], ...] = ()
    heading: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = field(default=())


def find_all(survey: Survey) -> list[Finding]:
    """Everything that is found, what is gravest first."""
    found = [
        *_unreadable(survey),
        *_on_two_sides(survey),
        *_classes_without_images(survey),
        *_duplicates(survey),
        *_near_duplicates(survey),
        *_shortcuts(survey),
        *_mixed(survey),
        *_constant(survey),
        *_dark(survey),
        *_unknown_patients(survey),
        *_one_patient_for_many(survey),
        *_few_patients(survey),
        *_unequal_classes(survey),
        *_patients_of_two_classes(survey),
    ]
    return sorted(found, key=lambda finding: ("problem", "warning", "note").index(finding.weight))


def _unreadable(survey: Survey) -> Iterable[Finding]:
    if survey.unreadable:
        yield Finding(
            "warning" if survey.left_out else "problem",
            f"{_counted(survey.unreadable, 'file')} that cannot be read"
            + (", left out" if survey.left_out else ""),
            "A training stops at the first of them. Files that a copy has cut off may be a sign that "
            "others are missing; and if it is the sick whose files are broken, leaving them out changes "
            "what is measured.",
            "Copy or export them anew."
            + ("" if survey.left_out else " To go on without them, add --leave-out-unreadable."),
            heading=("file", "reason"),
            rows=tuple(survey.unreadable.items()),
        )


def _on_two_sides(survey: Survey) -> Iterable[Finding]:
    sections = _sections_of_patients(survey)
    shared = {patient: where for patient, where in sections.items() if len(where) > 1}
    if shared:
        yield Finding(
            "problem",
            f"{_counted(shared, 'patient')} on two sides of the split that the data came with",
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
            f"no image of {_few(sorted({name for name, _ in lacking}))} in some sections",
            "What a section has no image of can be neither learnt nor tested. A class needs at least "
            "one patient in each: three patients, or as many as there are folds.",
            "Add patients of the class, join it with another or leave it out; with few patients, "
            "other --fractions, fewer --folds or another --seed may do.",
            heading=("class", "none in"),
            rows=tuple(lacking),
        )


def _duplicates(survey: Survey) -> Iterable[Finding]:
    section = _section_of_paths(survey)
    by_digest: dict[str, list[Sample]] = defaultdict(list)
    for sample, facts in survey.readable:
        by_digest[facts.digest].append(sample)
    groups = [group for group in by_digest.values() if len(group) > 1]
    grave = [group for group in groups if _differ(group, section)]
    if grave:
        yield Finding(
            "warning",
            f"the same image twice: {_counted(grave, 'picture')}, as another patient, with another "
            f"class or on another side of the split",
            "An image that is in training and test is no test, a picture with two classes has one "
            "wrong label, and one with two patients shows that the patients are not told apart: "
            "accuracy and robustness are overrated.",
            "Keep one of each, with the right class; where two patients are one person, give both "
            "the same patient in the list.",
            pictures=tuple(
                (" = ".join(_said(s, survey, section) for s in group), tuple(s.path for s in group))
                for group in grave
            ),
        )
    if repeated := [group for group in groups if group not in grave]:
        yield Finding(
            "note",
            f"{_counted(repeated, 'image')} more than once, of one patient and class",
            "They count several times, in training and test alike.",
            "Keep one of each.",
            names=tuple(" = ".join(sample.path for sample in group) for group in repeated),
        )


def _near_duplicates(survey: Survey) -> Iterable[Finding]:
    section = _section_of_paths(survey)
    # of equal files one, or a thousand black ones would be half a million pairs
    readable = list({facts.digest: (sample, facts) for sample, facts in survey.readable}.values())
    signatures = np.array([facts.signature for _, facts in readable], dtype=np.float32)
    grave = []
    for pair in near_duplicates(signatures):
        first, second = readable[pair.first][0], readable[pair.second][0]
        if _differ((first, second), section):
            words = (
                f"{_said(first, survey, section)} looks like {_said(second, survey, section)} "
                f"{pair.orientation} (correlation {pair.correlation:.3f})"
            )
            grave.append((words, (first.path, second.path)))
    if grave:
        yield Finding(
            "warning",
            f"{_counted(grave, 'pair')} of images that look alike, of different patients, classes or "
            f"sides of the split",
            "The same picture, mirrored, turned, rescaled or saved anew, is not a second patient. In "
            "training and test it makes accuracy and robustness look better than they are.",
            "Look at each pair. If it is one picture, keep one of the two, or give both the same "
            "patient in the list; undo an augmentation that was done before the split. If they are "
            "two pictures, there is nothing to do.",
            pictures=tuple(grave),
        )


def _shortcuts(survey: Survey) -> Iterable[Finding]:
    readable = survey.readable
    features = _features([facts for _, facts in readable])
    labels = [sample.label for sample, _ in readable]
    found = shortcuts(features, labels, [sample.patient for sample, _ in readable])
    if not found:
        return
    names = survey.classes
    told: dict[str, list[str]] = defaultdict(list)
    rows = []
    for shortcut in found:
        told[names[shortcut.label]].append(shortcut.feature)
        of_class: dict[str, list[Any]] = {name: [] for name in names}
        for label, value in zip(labels, features[shortcut.feature], strict=True):
            of_class[names[label]].append(value)
        row = (
            shortcut.feature,
            names[shortcut.label],
            _percent(shortcut.sensitivity),
            _percent(1 - shortcut.specificity),
            "\n".join(f"{name}: {_distribution(v)}" for name, v in of_class.items() if v),
        )
        rows.append(row)
    yield Finding(
        "warning",
        "classes can be told without looking at what the images show: "
        + "; ".join(f"{name} by {', '.join(by)}" for name, by in told.items()),
        "A model learns what is easiest. If the sick were imaged with another device, format or field "
        "of view than the healthy, it learns the device: it is right here and wrong in another "
        "hospital. Robustness to noise does not reveal it.",
        " ".join(dict.fromkeys(_ADVICE[shortcut.feature] for shortcut in found)),
        heading=(
            *("by", "class", "recognised of its images", "wrongly of the others"),
            "what the classes have",
        ),
        rows=tuple(rows),
    )


_OTHER_SCALE = (
    "Values of 8 bits are divided by 255, of 16 bits by 65535; NIfTI images each by their own range. "
    "Where the same tissue has other values in other files, brightness tells the file, and one noise "
    "level means different things."
)
_CROP = (
    "Keep --crop true (the default), which cuts images of any size to the square in their middle."
)
_FROM_ONE_SOURCE = "Export the files of all classes in one way, from the originals."
_ADVICE = {
    "width": _CROP,
    "height": _CROP,
    "width by height": _CROP,
    "number of slices": "Resample the volumes of all classes to one spacing and size.",
    "black border": "Cut black borders off before, in all classes.",
    "white border": "Cut white borders off before, or fill them alike in all classes; --crop true cuts "
    "those at the sides of wide images.",
    "channels": _FROM_ONE_SOURCE,
    "bit depth": _FROM_ONE_SOURCE,
    "file format": _FROM_ONE_SOURCE,
    "spacing": "Resample the volumes of all classes to one spacing.",
}


def _features(facts: Sequence[ImageFacts]) -> dict[str, list[Any]]:
    """What can be known of an image without looking at what it shows."""
    features: dict[str, list[Any]] = {
        "width": [one.size[-1] for one in facts],
        "height": [one.size[-2] for one in facts],
        "width by height": [one.size[-1] / one.size[-2] for one in facts],
        "number of slices": [one.size[0] if len(one.size) > 2 else 1 for one in facts],
        "black border": [one.dark_border for one in facts],
        "white border": [one.white_border for one in facts],
        "channels": [str(one.channels) for one in facts],
        "bit depth": [one.depth for one in facts],
        "file format": [one.format for one in facts],
        "spacing": [str(one.spacing) for one in facts],
    }
    return features


def _distribution(values: Sequence[Any]) -> str:
    """The most frequent values and their shares; of many different numbers their quartiles."""
    counts = Counter(values)
    if isinstance(values[0], float) and len(counts) > 3:
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        return f"median {middle:.2f} (half of them {low:.2f} to {high:.2f})"
    shown = [
        f"{_plain(value)} in {_percent(n / len(values))}" for value, n in counts.most_common(3)
    ]
    return ", ".join(shown) + (", others" if len(counts) > 3 else "")


def _mixed(survey: Survey) -> Iterable[Finding]:
    found = survey.readable
    for what, values, why in (
        (
            "numbers of channels",
            {s.path: f"{f.channels} channel{'s' if f.channels > 1 else ''}" for s, f in found},
            "Grey and colour images are seldom of one source, and a training refuses them together.",
        ),
        (
            "bit depths",
            {s.path: f.depth for s, f in found},
            _OTHER_SCALE,
        ),
        (
            "dimensions",
            {s.path: f"{len(f.size)} dimensions" for s, f in found},
            "Pictures and volumes cannot go through one network.",
        ),
    ):
        by_value: dict[str, list[str]] = defaultdict(list)
        for path, value in sorted(values.items()):
            by_value[value].append(path)
        alike = sorted(by_value.items(), key=lambda pair: -len(pair[1]))
        if len(alike) > 1:
            yield Finding(
                "warning",
                f"mixed {what}: {', '.join(f'{len(p)} with {v}' for v, p in alike)}",
                why,
                "Export all files in one way, from the originals, or leave the fewer out.",
                heading=("", "images", "for instance"),
                rows=tuple((v, str(len(p)), _few(p, 3)) for v, p in alike),
            )


def _constant(survey: Survey) -> Iterable[Finding]:
    if paths := [sample.path for sample, facts in survey.readable if facts.is_constant]:
        yield Finding(
            "warning",
            f"{_counted(paths, 'image')} with one value everywhere",
            "There is nothing to see in them; a model that classifies them has learnt something else.",
            "Take them out of the data set; an export may have failed.",
            names=tuple(paths),
        )


def _dark(survey: Survey) -> Iterable[Finding]:
    dark = [
        (sample, facts)
        for sample, facts in survey.readable
        if facts.brightness < DARK_BELOW and not facts.is_constant
    ]
    if dark:
        deep = [facts.highest for _, facts in dark if facts.depth == "16 bits"]
        yield Finding(
            "warning",
            f"{_counted(dark, 'image')} nearly black: hardly a pixel above a tenth of the grey scale",
            "A network gets them as dark as they are here, and a noise of 2 % of the grey scale is then "
            "large against what there is to see."
            + (
                f" The 16-bit ones reach {max(deep):.0f} of 65535: values of a scanner's 12 bits in "
                "16-bit files use a sixteenth of the scale."
                if deep
                else ""
            ),
            "Rescale the values of all files by the same factor (of 12 bits: times 16), or save them as "
            "NIfTI, of which each image is scaled by itself; single dark images may be failed "
            "exposures, to be left out.",
            pictures=tuple((sample.path, (sample.path,)) for sample, _ in dark),
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
            "alone.",
        )


def _patients_of_two_classes(survey: Survey) -> Iterable[Finding]:
    classes: dict[str, set[int]] = defaultdict(set)
    for sample in survey.samples:
        classes[sample.patient].add(sample.label)
    several = {patient: labels for patient, labels in classes.items() if len(labels) > 1}
    if several:
        yield Finding(
            "note",
            f"{_counted(several, 'patient')} with images of more than one class",
            "That may be right, as of two eyes or of two visits, or a wrong label or name. Each of "
            "these patients is on one side of the split with all images.",
            "Nothing, if the labels are right.",
            heading=("patient", "classes"),
            rows=tuple(
                (patient, ", ".join(survey.classes[label] for label in sorted(labels)))
                for patient, labels in sorted(several.items())
            ),
        )


def _sections_of_patients(survey: Survey) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = defaultdict(list)
    for section, samples in survey.sections.items():
        for patient in {sample.patient for sample in samples}:
            sections[patient].append(section)
    return sections


def _section_of_paths(survey: Survey) -> dict[str, str]:
    return {s.path: section for section, samples in survey.sections.items() for s in samples}


def _differ(samples: Iterable[Sample], section: Mapping[str, str]) -> bool:
    """Two of them are of different patients, classes or sections."""
    return any(
        (a.patient, a.label, section[a.path]) != (b.patient, b.label, section[b.path])
        for a, b in combinations(samples, 2)
    )


def _said(sample: Sample, survey: Survey, section: Mapping[str, str]) -> str:
    patient = "" if survey.each_image_is_a_patient else f"patient {sample.patient}, "
    return f"{sample.path} ({patient}{survey.classes[sample.label]}, {section[sample.path]})"


def _counted(things: Iterable[object], noun: str) -> str:
    number = len(list(things))
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _few(names: Sequence[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _percent(share: float) -> str:
    return "under 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def _plain(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
