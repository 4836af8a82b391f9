"""Datalists of images, checked and split by patient into training, validation and test."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from monai_ima.data.images import IMAGE_SUFFIXES, count_channels

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SECTIONS = ("training", "validation", "test")
KERMANY_PATIENT = r"^[^-]+-(?P<patient>\d+)-\d+\."  # CLASS-PATIENT-N.jpeg


class Sample(NamedTuple):
    """One image; ``path`` is relative to the data set's folder, with forward slashes."""

    path: str
    label: int
    patient: str


Sections = dict[str, list[Sample]]


@dataclass(frozen=True)
class Datalist:
    """The samples of a data set as MONAI reads them.

    An item is ``{"image": path, "label": int, "patient": str, "index": int}``; ``index`` is its
    position within its section, which for training is the key of the margin store.
    ``fingerprint`` is the SHA-256 of the training items' relative paths and labels in their order:
    two runs with the same fingerprint mean the same sample by the same index.
    """

    classes: tuple[str, ...]
    training: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    test: list[dict[str, Any]]
    fingerprint: str


def load_datalist(
    dataset_dir: str | Path,
    *,
    num_classes: int,
    datalist: str | Path | None = None,
    patient_pattern: str = KERMANY_PATIENT,
    patient_column: str = "patient",
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    samples_per_class: int | None = None,
    seed: int = 0,
) -> Datalist:
    """List, check and split the images of a classification data set, no patient on two sides.

    Args:
        dataset_dir: a folder with one folder of images per class (a class's label is its place in
            the sorted names), or that to which the paths in ``datalist`` are relative.
        num_classes: how many classes there must be.
        datalist: nothing to go by the folders; or a CSV file with the columns ``path``, ``class``,
            that of the patient and, if the split is given, ``split`` ("training", "validation" or
            "test"); or a JSON file in MONAI's decathlon form, whose items have ``image``, ``label``
            (number or class name) and the patient. Training alone is split; a whole split is used
            as given, in its order.
        patient_pattern: regular expression whose group ``patient`` finds the patient in a file's
            name; for class folders.
        patient_column: the CSV's column, or the JSON items' key, that holds the patient.
        fractions: shares of training, validation and test in each class, which the split nears as
            far as whole patients allow.
        samples_per_class: at most that many training samples per class, drawn after the split.
        seed: what the split and the draw depend on, beside patients and paths.

    Raises:
        FileNotFoundError: if ``dataset_dir``, ``datalist`` or a listed image does not exist.
        ValueError: if the data set is not as described, mixes channel counts, lacks a class in a
            section, or has a patient on two sides; the message says what to do.
    """
    root = Path(dataset_dir)
    _check_arguments(root, fractions, samples_per_class)
    if datalist is None:
        classes, sections = _read_folders(root, num_classes, patient_pattern)
    else:
        classes, sections = _read_listing(Path(datalist), num_classes, patient_column)
    _check_files(root, [sample.path for samples in sections.values() for sample in samples])
    if set(sections) == {"training"}:
        sections = split_by_patient(sections["training"], fractions, seed)
    else:
        _check_no_shared_patient(sections)
    if samples_per_class is not None:
        sections["training"] = _draw(sections["training"], samples_per_class, seed)
    _check_every_class(classes, sections)
    return Datalist(
        classes=classes,
        **{section: _items(root, sections[section]) for section in SECTIONS},
        fingerprint=_fingerprint(sections["training"]),
    )


def split_by_patient(samples: Iterable[Sample], fractions: Sequence[float], seed: int) -> Sections:
    """Split samples by patient so that every class comes near the fractions of each section.

    Greedy: the patients, largest first and at random among equals, go one by one to the section
    that is emptiest in their classes. Those with samples in several classes count in all of them.

    Args:
        samples: in any order, which does not matter.
        fractions: shares of training, validation and test; positive, their sum is 1.
        seed: what the order of equally large patients depends on.
    """
    samples = sorted(samples)  # else the order enters by the rounding of sums, which breaks ties
    by_patient: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_patient[sample.patient].append(sample)
    class_size = Counter(sample.label for sample in samples)
    filled: dict[str, Counter[int]] = {section: Counter() for section in SECTIONS}
    shares = dict(zip(SECTIONS, fractions, strict=True))
    split: Sections = {section: [] for section in SECTIONS}

    for patient in sorted(by_patient, key=lambda p: (-len(by_patient[p]), _chance(seed, p))):
        own = Counter(sample.label for sample in by_patient[patient])
        fullness = {
            section: sum(n * filled[section][label] / class_size[label] for label, n in own.items())
            / shares[section]
            for section in SECTIONS
        }
        emptiest = min(SECTIONS, key=fullness.__getitem__)
        split[emptiest] += by_patient[patient]
        filled[emptiest] += own
    return {section: sorted(chosen) for section, chosen in split.items()}


def _chance(seed: int, name: str) -> bytes:
    # A hash instead of a shuffle: the same on every version of Python, and a sample more or less
    # leaves the order of the others alone.
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()


def _draw(samples: list[Sample], per_class: int, seed: int) -> list[Sample]:
    by_class: dict[int, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda s: _chance(seed, s.path)):
        by_class[sample.label].append(sample)
    drawn = {sample for members in by_class.values() for sample in members[:per_class]}
    return [sample for sample in samples if sample in drawn]


def _items(root: Path, samples: list[Sample]) -> list[dict[str, Any]]:
    return [
        {"image": str(root / path), "label": label, "patient": patient, "index": index}
        for index, (path, label, patient) in enumerate(samples)
    ]


def _fingerprint(samples: list[Sample]) -> str:
    lines = "".join(f"{sample.path}\t{sample.label}\n" for sample in samples)
    return hashlib.sha256(lines.encode()).hexdigest()


def _read_folders(
    root: Path, num_classes: int, patient_pattern: str
) -> tuple[tuple[str, ...], Sections]:
    pattern = _compile(patient_pattern)
    visible = [entry for entry in root.iterdir() if not entry.name.startswith(".")]
    classes = tuple(sorted(entry.name for entry in visible if entry.is_dir()))
    if not classes:
        found = f"{len(visible)} files directly in it" if visible else "an empty folder"
        raise ValueError(
            f"expected one folder of images per class in {root}, got {found}; sort the images into "
            f"class folders, or give a CSV or JSON file that lists them as datalist"
        )
    _check_class_count(classes, num_classes, f"class folders in {root}")
    training = []
    for label, name in enumerate(classes):
        images = _image_names(root / name)
        if not images:
            raise ValueError(
                f"expected images ({', '.join(IMAGE_SUFFIXES)}) in the class folder {root / name}, "
                f"got none; add some, remove the folder, or give as dataset_dir the folder whose "
                f"folders are the classes"
            )
        for image in images:
            patient = _patient(image, pattern, root / name)
            training.append(Sample(f"{name}/{image}", label, patient))
    return classes, {"training": training}


def _image_names(folder: Path) -> list[str]:
    names = (file.name for file in folder.iterdir() if not file.name.startswith("."))
    return sorted(name for name in names if name.lower().endswith(IMAGE_SUFFIXES))


def _compile(patient_pattern: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(patient_pattern)
    except re.error as error:
        raise ValueError(
            f"expected patient_pattern to be a regular expression, got {patient_pattern!r}: {error}"
        ) from error
    if "patient" not in pattern.groupindex:
        raise ValueError(
            f"expected patient_pattern to have a group (?P<patient>...), got {patient_pattern!r}"
        )
    return pattern


def _patient(image: str, pattern: re.Pattern[str], folder: Path) -> str:
    match = pattern.search(image)
    if not match or not match["patient"]:
        raise ValueError(
            f"expected a file name in which patient_pattern {pattern.pattern!r} finds the patient, "
            f"got {folder / image}; give a patient_pattern that fits the names, or a CSV or JSON "
            f"manifest with the patients as datalist"
        )
    return match["patient"]


def _read_listing(
    file: Path, num_classes: int, patient_key: str
) -> tuple[tuple[str, ...], Sections]:
    if not file.is_file():
        raise FileNotFoundError(
            f"expected datalist to be a file, got {file}: no such file; correct the path"
        )
    declared: tuple[str, ...] = ()
    match file.suffix.lower():
        case ".csv":
            entries = _read_csv(file, patient_key)
        case ".json":
            declared, entries = _read_json(file)
        case _:
            raise ValueError(
                f"expected datalist to be a .csv or .json file, got {file}; convert it"
            )
    if set(entries) not in ({"training"}, set(SECTIONS)):
        raise ValueError(
            f"expected {file} to have the sections {', '.join(SECTIONS)}, or training alone to be "
            f"split, got {', '.join(map(str, entries)) or 'no item'}; add or rename sections"
        )
    every_entry = [entry for section in entries.values() for entry in section]
    _check_complete(every_entry, patient_key, file)
    classes = declared or _classes_in(every_entry, num_classes)
    _check_class_count(classes, num_classes, f"classes in {file}")
    return classes, {
        section: [
            Sample(
                Path(entry["image"]).as_posix(),
                _label(entry["label"], classes, file),
                str(entry[patient_key]),
            )
            for entry in section_entries
        ]
        for section, section_entries in entries.items()
    }


def _read_csv(file: Path, patient_key: str) -> dict[str, list[dict[str, Any]]]:
    with file.open(newline="", encoding="utf-8-sig") as stream:  # Excel writes a byte-order mark
        reader = csv.DictReader(stream)
        columns = set(reader.fieldnames or ())
        rows = list(reader)
    if missing := {"path", "class", patient_key} - columns:
        raise ValueError(
            f"expected {file} to have the columns path, class and {patient_key}, got no "
            f"{', '.join(sorted(missing))}; add them (patient_column names that of the patient)"
        )
    entries: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        section = row["split"] if "split" in columns else "training"
        entries[section].append(
            {"image": row["path"], "label": row["class"], patient_key: row[patient_key]}
        )
    return entries


def _read_json(file: Path) -> tuple[tuple[str, ...], dict[str, list[dict[str, Any]]]]:
    # Not monai.data.load_decathlon_datalist: it takes a label or a patient for a path wherever the
    # data set has a folder of that name, as it has with class folders.
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        declared = content.get("classes") or content.get("labels") or ()
        if isinstance(declared, dict):  # decathlon: {"0": "background", "1": ...}
            declared = [declared[index] for index in sorted(declared, key=int)]
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f'expected {file} to be JSON in the decathlon form {{"training": [...], ...}}, with '
            f"the classes, if named, as a list or by their numbers, got: {error}"
        ) from error
    return tuple(declared), {name: content[name] for name in SECTIONS if content.get(name)}


def _classes_in(entries: list[dict[str, Any]], num_classes: int) -> tuple[str, ...]:
    names = {entry["label"] for entry in entries if isinstance(entry["label"], str)}
    return tuple(sorted(names)) or tuple(str(label) for label in range(num_classes))


def _label(label: object, classes: tuple[str, ...], file: Path) -> int:
    if isinstance(label, str) and label in classes:
        return classes.index(label)
    if isinstance(label, int) and 0 <= label < len(classes):
        return label
    raise ValueError(
        f"expected every label in {file} to be one of {', '.join(classes)} or a number from 0 to "
        f"{len(classes) - 1}, got {label!r}; correct the label or num_classes"
    )


def _check_arguments(root: Path, fractions: Sequence[float], samples_per_class: int | None) -> None:
    if not root.is_dir():
        raise FileNotFoundError(
            f"expected dataset_dir to be the folder of the data set, got {root}: no such folder; "
            f"correct the path"
        )
    whole = len(fractions) == len(SECTIONS) and math.isclose(sum(fractions), 1)
    if not whole or min(fractions) <= 0:
        raise ValueError(
            f"expected three positive fractions (training, validation, test) with the sum 1, got "
            f"{tuple(fractions)}"
        )
    if samples_per_class is not None and samples_per_class < 1:
        raise ValueError(f"expected samples_per_class to be at least 1, got {samples_per_class}")


def _check_class_count(classes: tuple[str, ...], num_classes: int, where: str) -> None:
    if len(classes) != num_classes:
        raise ValueError(
            f"expected num_classes = {num_classes} {where}, got {len(classes)}: "
            f"{', '.join(map(str, classes))}; correct num_classes, or the folder or file given"
        )


def _is_complete(entry: object, patient_key: str) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("image"), str)
        and isinstance(entry.get("label"), str | int)
        and isinstance(entry.get(patient_key), str | int)
        and "" not in {entry["image"], entry["label"], entry[patient_key]}
    )


def _check_complete(entries: list[dict[str, Any]], patient_key: str, file: Path) -> None:
    for entry in entries:
        if not _is_complete(entry, patient_key):
            raise ValueError(
                f"expected every entry of {file} to have an image (path), a label (class name or "
                f"number) and a {patient_key}, got {entry}; fill it in or leave the entry out"
            )


def _check_files(root: Path, paths: list[str]) -> None:
    if repeated := [path for path, times in Counter(paths).items() if times > 1]:
        raise ValueError(
            f"expected every image to be listed once, got {len(repeated)} more often, like "
            f"{repeated[0]}; remove the repetitions"
        )
    if missing := [path for path in paths if not (root / path).is_file()]:
        raise FileNotFoundError(
            f"expected every listed image to be in {root}, got {len(missing)} missing, like "
            f"{missing[0]}; paths are relative to dataset_dir"
        )
    by_channels: dict[int, list[str]] = defaultdict(list)
    for path in paths:
        by_channels[count_channels(root / path)].append(path)
    if len(by_channels) > 1:
        counts = "; ".join(
            f"{channels} in {len(alike)} of them, like {alike[0]}"
            for channels, alike in sorted(by_channels.items())
        )
        raise ValueError(
            f"expected as many channels in every image, got {counts}; convert them to one form, "
            f"lest a network learn the class from the kind of file"
        )


def _check_no_shared_patient(sections: Mapping[str, list[Sample]]) -> None:
    sides: dict[str, set[str]] = defaultdict(set)
    for section, samples in sections.items():
        for sample in samples:
            sides[sample.patient].add(section)
    if shared := sorted(patient for patient, where in sides.items() if len(where) > 1):
        example = " and ".join(name for name in SECTIONS if name in sides[shared[0]])
        raise ValueError(
            f"expected no patient on two sides of the split, got {len(shared)}, like patient "
            f"{shared[0]} in {example}; move each to one side, or leave the split to be made"
        )


def _check_every_class(classes: tuple[str, ...], sections: Mapping[str, list[Sample]]) -> None:
    for section in SECTIONS:
        present = {sample.label for sample in sections[section]}
        if lacking := [name for label, name in enumerate(classes) if label not in present]:
            raise ValueError(
                f"expected every class in the section {section}, got none of {', '.join(lacking)}; "
                f"give more patients of it (three at least), other fractions or another seed"
            )
