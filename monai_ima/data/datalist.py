"""Datalists: checked, and split by patient for a training or listed as they are for an evaluation."""

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
_TO_EVALUATE = ("test", "testing", "validation", "training")  # the first that there is
_PATIENT = "patient"


class Sample(NamedTuple):
    """One image; ``path`` is relative to the data set's folder, with forward slashes.

    ``patient`` is empty where it is not known.
    """

    path: str
    label: int
    patient: str


Sections = dict[str, list[Sample]]


@dataclass(frozen=True)
class Datalist:
    """The samples of a data set as MONAI reads them.

    An item is ``{"image": path, "label": int, "patient": str, "index": int, "id": str}``; ``index``
    is its position within its section, which for training is the key of the margin store, ``id``
    its path relative to the data set's folder.
    ``fingerprint`` is the SHA-256 of the training items' relative paths and labels in their order:
    two runs with the same fingerprint mean the same sample by the same index.
    """

    classes: tuple[str, ...]
    training: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    test: list[dict[str, Any]]
    fingerprint: str


@dataclass(frozen=True)
class SampleList:
    """The samples of an evaluation as MONAI reads them.

    An item is ``{"image": path, "label": int, "patient": str, "index": int, "id": str}``: ``index``
    is its position, ``id`` its path relative to the data set's folder, and ``patient`` is empty
    where it is not known (MONAI's data loaders cannot batch ``None``). ``fingerprint`` is the
    SHA-256 of the ids and labels in their order.
    """

    classes: tuple[str, ...]
    items: list[dict[str, Any]]
    fingerprint: str


def load_datalist(
    dataset_dir: str | Path,
    *,
    num_classes: int,
    datalist: str | Path | None = None,
    patient_pattern: str = KERMANY_PATIENT,
    patient_column: str = _PATIENT,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    samples_per_class: int | None = None,
    seed: int = 0,
) -> Datalist:
    """List, check and split the images of a classification data set, no patient on two sides.

    Args:
        dataset_dir: a folder with one folder of images per class (a class's label is its place in
            the sorted names, or numbers), or that to which the paths in ``datalist`` are relative.
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
    _check_folder(root)
    _check_arguments(fractions, samples_per_class)
    if datalist is None:
        classes, sections = _read_folders(root, num_classes, patient_pattern)
    else:
        classes, sections = _read_listing(Path(datalist), num_classes, patient_column)
    paths = [sample.path for samples in sections.values() for sample in samples]
    _check_paths(root, paths)
    _check_channels(root, paths)
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


def list_samples(
    dataset_dir: str | Path,
    *,
    datalist: str | Path | None = None,
    section: str | None = None,
    classes: Sequence[str] | None = None,
    num_classes: int | None = None,
    patient_pattern: str | None = None,
    patient_column: str = _PATIENT,
) -> SampleList:
    """List and check the samples on which a classifier, trained here or elsewhere, is evaluated.

    Args:
        dataset_dir: as for :func:`load_datalist`.
        datalist: nothing to go by the folders; or a CSV file with the columns ``path`` and
            ``class``, if known that of the patient, and ``split`` if it has several sections; or a
            JSON file in MONAI's decathlon form, or with a list of such items alone. The files
            listed may be of any kind.
        section: which section of ``datalist`` is listed; by default the first that there is of
            test, testing, validation and training. A listing without sections is all training.
        classes: the class names in the order of the model's outputs; by default that which the JSON
            file declares, or the sorted names (numbers by their value) in all sections.
        num_classes: how many there must be. Where the labels are numbers without names, it is the
            largest of them plus one by default.
        patient_pattern: for class folders, as for :func:`load_datalist`; by default the patients
            are not known.
        patient_column: the CSV's column, or the JSON items' key, that holds the patient. Another
            than "patient" must be there.

    Raises:
        FileNotFoundError: if ``dataset_dir``, ``datalist`` or a listed file does not exist.
        ValueError: if the data set is not as described, is empty, lacks labels, knows the patients
            of some samples only, or mixes channel counts; the message says what to do.
    """
    root = Path(dataset_dir)
    _check_folder(root)
    order = None if classes is None else _checked_names(classes)
    if datalist is not None:
        names, samples = _list_file(Path(datalist), section, order, num_classes, patient_column)
    elif section is None:
        names, samples = _list_folders(root, order, patient_pattern)
    else:
        raise ValueError(
            f"expected section together with a datalist that has sections, got {section!r} without "
            f"one; give datalist, or as dataset_dir the folder of that section"
        )
    if num_classes is not None:
        where = f"classes in {root if datalist is None else datalist}"
        _check_class_count(names, num_classes, where, hint="name them all with classes")
    paths = [sample.path for sample in samples]
    _check_paths(root, paths)
    _check_channels(root, [path for path in paths if path.lower().endswith(IMAGE_SUFFIXES)])
    return SampleList(names, _items(root, samples), _fingerprint(samples))


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
        {"image": str(root / path), "label": label, "patient": patient, "index": index, "id": path}
        for index, (path, label, patient) in enumerate(samples)
    ]


def _fingerprint(samples: list[Sample]) -> str:
    lines = "".join(f"{sample.path}\t{sample.label}\n" for sample in samples)
    return hashlib.sha256(lines.encode()).hexdigest()


def _read_folders(
    root: Path, num_classes: int, patient_pattern: str
) -> tuple[tuple[str, ...], Sections]:
    pattern = _compile(patient_pattern)
    classes = _class_folders(root)
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


def _list_folders(
    root: Path, order: tuple[str, ...] | None, patient_pattern: str | None
) -> tuple[tuple[str, ...], list[Sample]]:
    pattern = None if patient_pattern is None else _compile(patient_pattern)
    folders = _class_folders(root)
    classes = order or folders
    if unknown := [name for name in folders if name not in classes]:
        raise ValueError(
            f"expected every folder in {root} to be one of the classes {', '.join(classes)}, got "
            f"{', '.join(unknown)}; correct classes, or take the folder away"
        )
    samples = [
        Sample(
            f"{name}/{image}",
            classes.index(name),
            "" if pattern is None else _patient(image, pattern, root / name),
        )
        for name in folders
        for image in _image_names(root / name)
    ]
    if not samples:
        raise ValueError(
            f"expected images ({', '.join(IMAGE_SUFFIXES)}) in the class folders of {root} "
            f"({', '.join(folders)}), got none; give as dataset_dir the folder whose folders are "
            f"the classes, or list files of another kind in a CSV or JSON file as datalist"
        )
    return classes, samples


def _class_folders(root: Path) -> tuple[str, ...]:
    visible = [entry for entry in root.iterdir() if not entry.name.startswith(".")]
    classes = _sorted_classes(entry.name for entry in visible if entry.is_dir())
    if not classes:
        found = f"{len(visible)} files directly in it" if visible else "an empty folder"
        raise ValueError(
            f"expected one folder of images per class in {root}, got {found}; sort the images into "
            f"class folders, or give a CSV or JSON file that lists them as datalist"
        )
    return classes


def _sorted_classes(names: Iterable[str]) -> tuple[str, ...]:
    names = sorted(names)
    return tuple(sorted(names, key=int) if all(name.isdecimal() for name in names) else names)


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
    declared, entries = _read_entries(file, patient_key)
    if file.suffix.lower() == ".json":  # which may have other lists besides
        entries = {name: entries[name] for name in SECTIONS if name in entries}
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


def _list_file(
    file: Path,
    section: str | None,
    order: tuple[str, ...] | None,
    num_classes: int | None,
    patient_key: str,
) -> tuple[tuple[str, ...], list[Sample]]:
    declared, sections = _read_entries(file, patient_key, patients_needed=False)
    entries = _to_evaluate(sections, section, file)
    if order and declared and set(order) != set(declared):
        raise ValueError(
            f"expected classes to order those that {file} declares, {', '.join(declared)}, got "
            f"{', '.join(order)}; give the same names"
        )
    everywhere = [entry for section_entries in sections.values() for entry in section_entries]
    labelled = [entry for entry in everywhere if _is_complete(entry, ("image", "label"))]
    names = declared or order or _classes_in(labelled, num_classes)
    classes = order or names
    patients = _known_patients(entries, patient_key, file)
    return classes, [
        Sample(
            Path(entry["image"]).as_posix(),
            classes.index(names[_label(entry["label"], names, file)]),
            patient,
        )
        for entry, patient in zip(entries, patients, strict=True)
    ]


def _to_evaluate(
    sections: Mapping[str, list[Any]], section: str | None, file: Path
) -> list[dict[str, Any]]:
    """The entries of a section, all with a label."""
    if not sections:
        raise ValueError(f"expected samples to evaluate in {file}, got none; list some")
    names = ", ".join(map(str, sections))
    chosen = section or next((name for name in _TO_EVALUATE if name in sections), "")
    if chosen not in sections:
        raise ValueError(
            f"expected section to be one of those in {file}, {names}, got {section!r}; choose one"
        )
    entries = sections[chosen]
    if unlabelled := [entry for entry in entries if not _is_complete(entry, ("image", "label"))]:
        raise ValueError(
            f"expected every entry of the section {chosen} in {file} to have an image (path) and a "
            f"label (class name or number), got {len(unlabelled)} of {len(entries)} without, like "
            f"{unlabelled[0]}; label them, or choose as section another of {names}"
        )
    return entries


def _known_patients(entries: list[dict[str, Any]], key: str, file: Path) -> list[str]:
    """Those of all entries, or an empty string for each."""
    lacking = [entry for entry in entries if not _is_complete(entry, (key,))]
    if not lacking:
        return [str(entry[key]) for entry in entries]
    if len(lacking) < len(entries) or key != _PATIENT:
        raise ValueError(
            f"expected a {key} in every entry of {file}, got {len(lacking)} of {len(entries)} "
            f"without, like {lacking[0]}; fill it in, or leave the patients out of all entries"
        )
    return [""] * len(entries)


def _read_entries(
    file: Path, patient_key: str, *, patients_needed: bool = True
) -> tuple[tuple[str, ...], dict[str, list[Any]]]:
    """The classes that a listing declares, and its raw entries by section."""
    if not file.is_file():
        raise FileNotFoundError(
            f"expected datalist to be a file, got {file}: no such file; correct the path"
        )
    match file.suffix.lower():
        case ".csv":
            return (), _read_csv(file, patient_key, patients_needed=patients_needed)
        case ".json":
            return _read_json(file, bare_list=not patients_needed)
        case _:
            raise ValueError(
                f"expected datalist to be a .csv or .json file, got {file}; convert it"
            )


def _read_csv(file: Path, patient_key: str, *, patients_needed: bool) -> dict[str, list[Any]]:
    with file.open(newline="", encoding="utf-8-sig") as stream:  # Excel writes a byte-order mark
        reader = csv.DictReader(stream)
        columns = set(reader.fieldnames or ())
        rows = list(reader)
    needed = ["path", "class", *([patient_key] if patients_needed else [])]
    if missing := sorted(set(needed) - columns):
        raise ValueError(
            f"expected {file} to have the columns {', '.join(needed[:-1])} and {needed[-1]}, got "
            f"no {', '.join(missing)}; add them (patient_column names that of the patient)"
        )
    entries: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        section = row["split"] if "split" in columns else "training"
        entry = {"image": row["path"], "label": row["class"], patient_key: row.get(patient_key)}
        entries[section].append(entry)
    return dict(entries)


def _read_json(file: Path, *, bare_list: bool) -> tuple[tuple[str, ...], dict[str, list[Any]]]:
    # Not monai.data.load_decathlon_datalist: it takes a label or a patient for a path wherever the
    # data set has a folder of that name, as it has with class folders.
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if bare_list and isinstance(content, list):  # as some bundles of the model zoo have it
            content = {"training": content}
        declared = content.get("classes") or content.get("labels") or ()
        if isinstance(declared, dict):  # decathlon: {"0": "background", "1": ...}
            declared = [declared[index] for index in sorted(declared, key=int)]
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f'expected {file} to be JSON in the decathlon form {{"training": [...], ...}}, with '
            f"the classes, if named, as a list or by their numbers, got: {error}"
        ) from error
    return tuple(map(str, declared)), {
        name: entries
        for name, entries in content.items()
        if isinstance(entries, list) and entries and name not in ("classes", "labels")
    }


def _classes_in(entries: list[dict[str, Any]], num_classes: int | None) -> tuple[str, ...]:
    labels = [entry["label"] for entry in entries]
    names = {label for label in labels if isinstance(label, str)}
    if num_classes is None:
        num_classes = max((label for label in labels if isinstance(label, int)), default=-1) + 1
    return _sorted_classes(names) or tuple(str(label) for label in range(num_classes))


def _label(label: str | int, classes: tuple[str, ...], file: Path) -> int:
    if isinstance(label, str) and label in classes:
        return classes.index(label)
    if str(label).isdecimal() and int(label) < len(classes):  # a CSV's numbers are text
        return int(label)
    raise ValueError(
        f"expected every label in {file} to be one of {', '.join(classes)} or a number from 0 to "
        f"{len(classes) - 1}, got {label!r}; correct the label, or the classes or num_classes given"
    )


def _checked_names(classes: Sequence[str]) -> tuple[str, ...]:
    if isinstance(classes, str) or not classes or len(set(classes)) != len(classes):
        raise ValueError(
            f"expected classes to be a list of different names, got {classes!r}; name every class "
            f"once, in the order of the model's outputs"
        )
    return tuple(map(str, classes))


def _check_folder(root: Path) -> None:
    if not root.is_dir():
        raise FileNotFoundError(
            f"expected dataset_dir to be the folder of the data set, got {root}: no such folder; "
            f"correct the path"
        )


def _check_arguments(fractions: Sequence[float], samples_per_class: int | None) -> None:
    whole = len(fractions) == len(SECTIONS) and math.isclose(sum(fractions), 1)
    if not whole or min(fractions) <= 0:
        raise ValueError(
            f"expected three positive fractions (training, validation, test) with the sum 1, got "
            f"{tuple(fractions)}"
        )
    if samples_per_class is not None and samples_per_class < 1:
        raise ValueError(f"expected samples_per_class to be at least 1, got {samples_per_class}")


def _check_class_count(
    classes: tuple[str, ...], num_classes: int, where: str, hint: str = "the folder or file given"
) -> None:
    if len(classes) != num_classes:
        raise ValueError(
            f"expected num_classes = {num_classes} {where}, got {len(classes)}: "
            f"{', '.join(map(str, classes))}; correct num_classes, or {hint}"
        )


def _is_complete(entry: object, keys: Iterable[str]) -> bool:
    return (
        isinstance(entry, dict)
        and all(isinstance(entry.get(key), str | int) and entry[key] != "" for key in keys)
        and isinstance(entry.get("image"), str)
    )


def _check_complete(entries: list[dict[str, Any]], patient_key: str, file: Path) -> None:
    for entry in entries:
        if not _is_complete(entry, ("image", "label", patient_key)):
            raise ValueError(
                f"expected every entry of {file} to have an image (path), a label (class name or "
                f"number) and a {patient_key}, got {entry}; fill it in or leave the entry out"
            )


def _check_paths(root: Path, paths: list[str]) -> None:
    if repeated := [path for path, times in Counter(paths).items() if times > 1]:
        raise ValueError(
            f"expected every image to be listed once, got {len(repeated)} more often, like "
            f"{repeated[0]}; remove the repetitions"
        )
    if missing := [path for path in paths if not (root / path).exists()]:
        raise FileNotFoundError(
            f"expected every listed image to be in {root}, got {len(missing)} missing, like "
            f"{missing[0]}; paths are relative to dataset_dir"
        )


def _check_channels(root: Path, paths: list[str]) -> None:
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
