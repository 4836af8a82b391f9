"""What is wrong with the images themselves: broken, twice, or telling their class."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from monai_ima.data.sample import Sample
from monai_ima.data_report.facts import NO_FILE, ImageFacts
from monai_ima.data_report.perceptual_hash import near_duplicates
from monai_ima.data_report.shortcut_search import shortcuts
from monai_ima.data_report.survey import Finding, Survey, Weight
from monai_ima.data_report.wording import (
    counted,
    differ,
    few,
    percent,
    plain,
    said,
    section_of_paths,
)

DARK_BELOW = 0.1  # of the grey scale


def image_findings(survey: Survey) -> Iterable[Finding]:
    """What is wrong with the images themselves."""
    yield from _unreadable(survey)
    yield from _duplicates(survey)
    yield from _near_duplicates(survey)
    yield from _shortcuts(survey)
    yield from _mixed(survey)
    yield from _not_placed(survey)
    yield from _constant(survey)
    yield from _dark(survey)


def _unreadable(survey: Survey) -> Iterable[Finding]:
    if survey.unreadable:
        yield Finding(
            "warning" if survey.left_out else "problem",
            f"{counted(survey.unreadable, 'file')} that cannot be read"
            + (", left out" if survey.left_out else ""),
            "A training stops at the first of them. Files that a copy has cut off may be a sign that "
            "others are missing; and if it is the sick whose files are broken, leaving them out changes "
            "what is measured.",
            "Copy or export them anew."
            + (
                " Those that are not there may have another name: paths in a table are relative to the "
                "folder of the images, with suffix, and upper and lower case matter."
                if any(why.startswith(NO_FILE) for why in survey.unreadable.values())
                else ""
            )
            + ("" if survey.left_out else " To go on without them, add --leave-out-unreadable."),
            heading=("file", "reason"),
            rows=tuple((path, _as_option(why)) for path, why in survey.unreadable.items()),
        )


def _as_option(reason: str) -> str:
    """A reason that names a setting of the reading, which is an option of the command, too."""
    return re.sub(r"\b(nan_value|intensity_range)\b", r"--\1", reason)


def _duplicates(survey: Survey) -> Iterable[Finding]:
    section = section_of_paths(survey)
    by_digest: dict[str, list[Sample]] = defaultdict(list)
    for sample, facts in survey.readable:
        by_digest[facts.digest].append(sample)
    groups = [group for group in by_digest.values() if len(group) > 1]
    grave = [group for group in groups if differ(group, section)]
    if grave:
        yield Finding(
            "warning",
            f"the same image twice: {counted(grave, 'picture')}, as another patient, with another "
            f"class or on another side of the split",
            "An image that is in training and test is no test, a picture with two classes has one "
            "wrong label, and one with two patients shows that the patients are not told apart: "
            "accuracy and robustness are overrated.",
            "Keep one of each, with the right class; where two patients are one person, give both "
            "the same patient in the list.",
            pictures=tuple(
                (" = ".join(said(s, survey, section) for s in group), tuple(s.path for s in group))
                for group in grave
            ),
        )
    if repeated := [group for group in groups if group not in grave]:
        yield Finding(
            "note",
            f"{counted(repeated, 'image')} more than once, of one patient and class",
            "They count several times, in training and test alike.",
            "Keep one of each.",
            names=tuple(" = ".join(sample.path for sample in group) for group in repeated),
        )


def _near_duplicates(survey: Survey) -> Iterable[Finding]:
    section = section_of_paths(survey)
    # of equal files one, or a thousand black ones would be half a million pairs
    readable = list({facts.digest: (sample, facts) for sample, facts in survey.readable}.values())
    signatures = np.array([facts.signature for _, facts in readable], dtype=np.float32)
    grave = []
    for pair in near_duplicates(signatures):
        first, second = readable[pair.first][0], readable[pair.second][0]
        if differ((first, second), section):
            words = (
                f"{said(first, survey, section)} looks like {said(second, survey, section)} "
                f"{pair.orientation} (correlation {pair.correlation:.3f})"
            )
            grave.append((words, (first.path, second.path)))
    if grave:
        yield Finding(
            "warning",
            f"{counted(grave, 'pair')} of images that look alike, of different patients, classes or "
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
    advice = _ADVICE_OF_VOLUMES if survey.of_volumes else _ADVICE
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
            percent(shortcut.sensitivity),
            percent(1 - shortcut.specificity),
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
        " ".join(dict.fromkeys(advice[shortcut.feature] for shortcut in found)),
        heading=(
            *("by", "class", "recognised of its images", "wrongly of the others"),
            "what the classes have",
        ),
        rows=tuple(rows),
    )


_BY_DEPTH = (
    "Values of 8 bits are divided by 255, of 16 bits by 65535; slices in NIfTI and DICOM are scaled each by "
    "their own range. Where the same tissue has other values in other files, brightness tells the "
    "file, and one noise level means different things."
)
_BY_GIVEN_RANGE = (
    "All files are scaled by the one --intensity_range that was given. Where the same tissue has other "
    "values in files of another depth, brightness tells the file, and one noise level means different "
    "things."
)
_BY_VOLUME = (
    "Each volume is scaled by its own percentiles (intensity_range of volume_ima), whatever its depth. "
    "But files of another depth are often of another device or program, which a model may recognise "
    "by what they did to contrast, noise or resolution."
)
_OF_CHANNELS = (
    "Files of one and of three channels are seldom of one source. A training takes them together: "
    "colour becomes grey, or with --colour true what is grey has three equal channels."
)
_EXPORT_ALIKE = "Export all files in one way, from the originals, or leave the fewer out."
_CROP = (
    "Keep --crop true (the default), which cuts images of any size to the square in their middle."
)
_RESAMPLED = (
    "Keep --spacing and --crop true (the defaults), by which a training resamples volumes to one voxel "
    "size and cuts or pads them to one --image_size; what is padded is black, so choose one that no "
    "volume of one class alone falls short of."
)
_FROM_ONE_SOURCE = "Export the files of all classes in one way, from the originals."
_ADVICE = {
    "width": _CROP,
    "height": _CROP,
    "width by height": _CROP,
    "black border": "Cut black borders off before, in all classes.",
    "white border": "Cut white borders off before, or fill them alike in all classes; --crop true cuts "
    "those at the sides of wide images.",
    "channels": _FROM_ONE_SOURCE,
    "bit depth": _FROM_ONE_SOURCE,
    "file format": _FROM_ONE_SOURCE,
    "number of slices": _EXPORT_ALIKE,
    "spacing": "Resample the images of all classes to one spacing before.",
}
_ADVICE_OF_VOLUMES = {
    **_ADVICE,
    **dict.fromkeys(
        ("width", "height", "width by height", "number of slices", "spacing"), _RESAMPLED
    ),
    "white border": "Cut white borders off before, or fill them alike in all classes.",
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
    shown = [f"{plain(value)} in {percent(n / len(values))}" for value, n in counts.most_common(3)]
    return ", ".join(shown) + (", others" if len(counts) > 3 else "")


def _mixed(survey: Survey) -> Iterable[Finding]:
    found = survey.readable
    in_range = _BY_GIVEN_RANGE if survey.in_given_range else None
    kinds: tuple[tuple[str, dict[str, str], Weight, str, str], ...] = (
        (
            "numbers of channels",
            {s.path: f"{f.channels} channel{'s' if f.channels > 1 else ''}" for s, f in found},
            "warning",
            _OF_CHANNELS,
            _EXPORT_ALIKE,
        ),
        (
            "bit depths",
            {s.path: f.depth for s, f in found},
            "warning",
            in_range or (_BY_VOLUME if survey.of_volumes else _BY_DEPTH),
            _EXPORT_ALIKE,
        ),
        (
            "dimensions",
            {s.path: f"{len(f.size)} dimensions" for s, f in found},
            "problem",
            "Pictures and volumes cannot go through one network: a training stops at the first.",
            "Put pictures and volumes into folders of their own, with a list each.",
        ),
    )
    for what, values, weight, why, to_do in kinds:
        by_value: dict[str, list[str]] = defaultdict(list)
        for path, value in sorted(values.items()):
            by_value[value].append(path)
        alike = sorted(by_value.items(), key=lambda pair: -len(pair[1]))
        if len(alike) > 1:
            yield Finding(
                weight,
                f"mixed {what}: {', '.join(f'{len(p)} with {v}' for v, p in alike)}",
                why,
                to_do,
                heading=("", "images", "for instance"),
                rows=tuple((v, str(len(p)), few(p, 3)) for v, p in alike),
            )


def _not_placed(survey: Survey) -> Iterable[Finding]:
    if paths := [sample.path for sample, facts in survey.readable if not facts.is_placed]:
        yield Finding(
            "warning",
            f"{counted(paths, 'volume')} whose file does not say which way round it lies",
            "Left and right, or head and feet, may be exchanged in some: a training turns volumes by "
            "what their files say, and takes these as they are stored.",
            "Convert them anew from what the scanner wrote (dcm2niix does, of DICOM), so that qform or "
            "sform is set; or see that all are stored in the same way.",
            names=tuple(paths),
        )


def _constant(survey: Survey) -> Iterable[Finding]:
    if paths := [sample.path for sample, facts in survey.readable if facts.is_constant]:
        yield Finding(
            "warning",
            f"{counted(paths, 'image')} with one value everywhere",
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
            f"{counted(dark, 'image')} nearly black: hardly a pixel above a tenth of the grey scale",
            "A network gets them as dark as they are here, and a noise of 2 % of the grey scale is then "
            "large against what there is to see."
            + (
                f" The 16-bit ones reach {max(deep):.0f} of 65535: values of a scanner's 12 bits in "
                "16-bit files use a sixteenth of the scale."
                if deep
                else ""
            ),
            'Say which values are in use: --intensity_range "[0, 4095]" of 12 bits, or percentiles, where '
            "each image is to be scaled by itself. Given here, this page and the commands that follow "
            "have it, and a training takes it, too; single dark images may be failed exposures, to be "
            "left out.",
            pictures=tuple((sample.path, (sample.path,)) for sample, _ in dark),
        )
