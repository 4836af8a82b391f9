"""Datalists: checked, and split by patient for a training or listed as they are for an evaluation."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_ima.data.class_folders import patient_expression, patient_in_name, read_folders
from monai_ima.data.images import IMAGE_SUFFIXES
from monai_ima.data.labels import Classes, checked_names, classes_of
from monai_ima.data.list_checks import (
    check_arguments,
    check_channels,
    check_class_count,
    check_every_class,
    check_folder,
    check_inside,
    check_once,
    check_paths,
)
from monai_ima.data.list_file import Columns, read_list
from monai_ima.data.sample import (
    SECTIONS,
    Cohort,
    Datalist,
    Entry,
    Listing,
    Sample,
    SampleList,
    section_named,
)
from monai_ima.data.split import check_no_shared_patient, draw, split_by_patient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KERMANY_PATIENT = r"^[^-]+-(?P<patient>\d+)-\d+\."  # CLASS-PATIENT-N.jpeg
_TO_EVALUATE = ("test", "validation", "training")  # the first that there is
_OTHER_FOLDER = "give as dataset_dir the folder whose folders are the classes, or the right file"


def load_datalist(
    dataset_dir: str | Path,
    *,
    num_classes: int,
    datalist: str | Path | None = None,
    patient_pattern: str | None = KERMANY_PATIENT,
    path_column: str | None = None,
    class_column: str | None = None,
    patient_column: str | None = None,
    split_column: str | None = None,
    allow_outside: bool = False,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    samples_per_class: int | None = None,
    seed: int = 0,
) -> Datalist:
    """List, check and split the images of a classification data set, no patient on two sides.

    Args:
        dataset_dir: a folder with one folder of images per class (a class's label is its place in
            the sorted names, or numbers), or with folders "train", "val" and "test" that hold
            these, or that to which the paths in ``datalist`` are relative. Sub-folders of a class
            folder are patients.
        num_classes: how many classes there must be.
        datalist: ``datalist_file`` of the bundles: nothing to go by the folders; or a table (CSV, TSV,
            Excel) with columns for path, class, patient and, if the split is given, ``split`` ("train" or
            "training", "val" or "validation", "test"); or a JSON file in MONAI's decathlon form,
            whose items have ``image``, ``label`` (number or class name) and the patient, or with a
            list of such items alone. Training alone is split; a whole split is used as given, in
            its order.
        patient_pattern: regular expression whose group ``patient`` finds the patient in a file's
            name; for class folders without folders of patients.
        path_column: the table's column, or the JSON items' key, that holds the path; by default it is
            known by its usual names, as are the next three.
        class_column: that of the class.
        patient_column: that of the patient.
        split_column: that of the section.
        allow_outside: paths in ``datalist`` may leave ``dataset_dir``.
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
    check_folder(root)
    check_arguments(fractions, samples_per_class)
    columns = Columns(path_column, class_column, patient_column, split_column)
    listing = _read(root, datalist, columns, patient_pattern, patients_needed=True)
    listing = _to_split(listing)
    _check_complete(listing, patient_column or "patient")
    classes = classes_of(listing, num_classes=num_classes)
    check_class_count(classes.names, num_classes, listing.source, _OTHER_FOLDER)
    sections = {
        section: _samples(entries, classes) for section, entries in listing.sections.items()
    }
    paths = [sample.path for samples in sections.values() for sample in samples]
    _check_files(root, listing, paths, paths, allow_outside=allow_outside, folders=False)
    if set(sections) == {"training"}:
        sections = split_by_patient(sections["training"], fractions, seed)
    else:
        check_no_shared_patient(sections, listing.source)
    if samples_per_class is not None:
        sections["training"] = draw(sections["training"], samples_per_class, seed)
    check_every_class(classes.names, sections, listing.source)
    return Datalist(
        classes=classes.names,
        **{section: _items(root, sections[section]) for section in SECTIONS},
        fingerprint=_fingerprint(sections["training"]),
    )


def read_cohort(
    dataset_dir: str | Path,
    *,
    datalist: str | Path | None = None,
    patient_pattern: str | None = None,
    each_image_is_a_patient: bool = False,
    path_column: str | None = None,
    class_column: str | None = None,
    patient_column: str | None = None,
    split_column: str | None = None,
    allow_outside: bool = False,
) -> Cohort:
    """List the images of a classification data set that is to be split; no file is opened.

    Args:
        dataset_dir: as for :func:`load_datalist`.
        datalist: as for :func:`load_datalist`.
        patient_pattern: regular expression whose group ``patient`` finds the patient in a file's
            name; for the images of class folders and of a list that have no patient otherwise. By
            default, names in folders are ``CLASS-PATIENT-N``, those in a list are not looked at.
        each_image_is_a_patient: nothing is known of patients; each image is taken for another's.
        path_column: as for :func:`load_datalist`, as are the next three.
        class_column: that of the class.
        patient_column: that of the patient.
        split_column: that of the section.
        allow_outside: paths in ``datalist`` may leave ``dataset_dir``.

    Raises:
        FileNotFoundError: if ``dataset_dir`` or ``datalist`` does not exist.
        ValueError: if the data set is not as described, lacks a class or patient, or has patients
            although each image is to be one; the message says what to do.
    """
    root = Path(dataset_dir)
    check_folder(root)
    if each_image_is_a_patient and patient_pattern is not None:
        raise ValueError(
            f"expected a patient_pattern or each image to be another patient's, got both, the "
            f"pattern {patient_pattern!r}; leave one out"
        )
    in_names = KERMANY_PATIENT if patient_pattern is None else patient_pattern
    listing = _read(
        root,
        datalist,
        Columns(path_column, class_column, patient_column, split_column),
        None if each_image_is_a_patient else in_names,
        patients_needed=not each_image_is_a_patient and patient_pattern is None,
    )
    listing = _begun_to_split(listing)
    entries = [entry for members in listing.sections.values() for entry in members]
    if each_image_is_a_patient and (known := [entry for entry in entries if entry.patient]):
        raise ValueError(
            f"expected no patient in {listing.source}, since each image is to be another's, got "
            f"{len(known)} images with one, like patient {known[0].patient} of {known[0].path}; use "
            f"the patients that there are"
        )
    if each_image_is_a_patient:
        listing = _with_patients_of_paths(listing, lambda path: path)
    elif patient_pattern is not None and not listing.of_folders:
        expression = patient_expression(patient_pattern)
        listing = _with_patients_of_paths(
            listing, lambda path: patient_in_name(Path(path), expression)
        )
    _check_complete(listing, patient_column or "patient")
    classes = classes_of(listing)
    sections = {name: _samples(members, classes) for name, members in listing.sections.items()}
    paths = [sample.path for samples in sections.values() for sample in samples]
    if not listing.of_folders and not allow_outside:
        check_inside(root, paths, listing.source)
    check_once(paths, listing.source)
    return Cohort(listing.source, classes.names, sections)


def list_samples(
    dataset_dir: str | Path,
    *,
    datalist: str | Path | None = None,
    section: str | None = None,
    classes: Sequence[str] | None = None,
    num_classes: int | None = None,
    patient_pattern: str | None = None,
    path_column: str | None = None,
    class_column: str | None = None,
    patient_column: str | None = None,
    split_column: str | None = None,
    allow_outside: bool = False,
) -> SampleList:
    """List and check the samples on which a classifier, trained here or elsewhere, is evaluated.

    Args:
        dataset_dir: as for :func:`load_datalist`.
        datalist: as for :func:`load_datalist`, but the patients may be unknown, and the files
            listed may be of any kind.
        section: which section of ``datalist`` or of the folders is listed; by default the first
            that there is of test, validation and training. A listing without sections is all
            training.
        classes: the class names in the order of the model's outputs; by default that which the JSON
            file declares, or the sorted names (numbers by their value) in all sections.
        num_classes: how many there must be. Where the labels are numbers without names, it is the
            largest of them plus one by default.
        patient_pattern: for class folders, as for :func:`load_datalist`; by default the patients
            are not known where there are no folders of patients.
        path_column: as for :func:`load_datalist`, as are the next three. A column or key that is
            named must be there.
        class_column: that of the class.
        patient_column: that of the patient.
        split_column: that of the section.
        allow_outside: paths in ``datalist`` may leave ``dataset_dir``.

    Raises:
        FileNotFoundError: if ``dataset_dir``, ``datalist`` or a listed file does not exist.
        ValueError: if the data set is not as described, is empty, lacks labels, knows the patients
            of some samples only, or mixes channel counts; the message says what to do.
    """
    root = Path(dataset_dir)
    check_folder(root)
    order = None if classes is None else checked_names(classes)
    columns = Columns(path_column, class_column, patient_column, split_column)
    listing = _read(root, datalist, columns, patient_pattern, patients_needed=False)
    chosen = _to_evaluate(listing, section)
    labelled = {
        name: [entry for entry in entries if entry.path and entry.label is not None]
        for name, entries in listing.sections.items()
    }
    known = classes_of(
        Listing(listing.source, listing.classes, labelled), order=order, num_classes=num_classes
    )
    if num_classes is not None:
        hint = "name them all with classes"
        check_class_count(known.names, num_classes, listing.source, hint)
    elif listing.of_folders and len(known.names) == 1:
        raise ValueError(
            f"expected several class folders in {root}, got {known.names[0]} alone; give as "
            f"dataset_dir the folder whose folders are the classes, or name all with classes"
        )
    samples = _samples(_with_patients(chosen, patient_column, listing), known)
    paths = [sample.path for sample in samples]
    images = [path for path in paths if path.lower().endswith(IMAGE_SUFFIXES)]
    _check_files(root, listing, paths, images, allow_outside=allow_outside, folders=True)
    return SampleList(known.names, _items(root, samples), _fingerprint(samples))


def _read(
    root: Path,
    datalist: str | Path | None,
    columns: Columns,
    patient_pattern: str | None,
    *,
    patients_needed: bool,
) -> Listing:
    if datalist is None:
        return read_folders(root, patient_pattern)
    return read_list(Path(datalist), root, columns, patients_needed=patients_needed)


def _to_split(listing: Listing) -> Listing:
    """What a training takes of a list: training alone, or the whole split."""
    sections = listing.sections
    if listing.source.suffix.lower() == ".json":  # which may have other lists besides
        sections = {name: sections[name] for name in SECTIONS if name in sections}
    if set(sections) not in ({"training"}, set(SECTIONS)):
        raise ValueError(
            f"expected {listing.source} to have the sections {', '.join(SECTIONS)}, or training "
            f"alone to be split, got {', '.join(sections) or 'no item'}; add or rename sections"
        )
    return Listing(listing.source, listing.classes, sections)


def _begun_to_split(listing: Listing) -> Listing:
    """Training, and what is set aside already."""
    known = {name: listing.sections[name] for name in SECTIONS if name in listing.sections}
    of_table = not listing.of_folders and listing.source.suffix.lower() != ".json"
    others = set(listing.sections) - set(SECTIONS) if of_table else set()
    if "training" not in known or others:
        raise ValueError(
            f"expected {listing.source} to have images to train with, and of sections only "
            f"{', '.join(SECTIONS)}, got {', '.join(listing.sections) or 'no item'}; add or rename "
            f"sections, or leave the column of the split out"
        )
    return Listing(listing.source, listing.classes, known)


def _with_patients_of_paths(listing: Listing, patient: Callable[[str], str]) -> Listing:
    """The entries, which have their patient by their path where they have none."""
    sections = {
        name: [
            entry._replace(patient=patient(entry.path))
            if entry.path and not entry.patient
            else entry
            for entry in entries
        ]
        for name, entries in listing.sections.items()
    }
    return Listing(listing.source, listing.classes, sections)


def _to_evaluate(listing: Listing, section: str | None) -> list[Entry]:
    """The entries of a section, all with a label."""
    source, sections = listing.source, listing.sections
    if not sections:
        raise ValueError(f"expected samples to evaluate in {source}, got none; list some")
    if listing.of_folders and section is not None and set(sections) == {"training"}:
        raise ValueError(
            f"expected section together with a list or folders that have sections, got "
            f"{section!r} without; give datalist_file, or as dataset_dir the folder of that section"
        )
    names = ", ".join(sections)
    asked = None if section is None else section_named(section)
    chosen = asked or next((name for name in _TO_EVALUATE if name in sections), "")
    if chosen not in sections:
        raise ValueError(
            f"expected section to be one of those in {source}, {names}, got {section!r}; choose one"
        )
    entries = sections[chosen]
    if unlabelled := [entry for entry in entries if not entry.path or entry.label is None]:
        raise ValueError(
            f"expected every entry of the section {chosen} in {source} to have an image (path) and "
            f"a label (class name or number), got {len(unlabelled)} of {len(entries)} without, "
            f"like {unlabelled[0].raw}; label them, or choose as section another of {names}, or say "
            f"with path_column and class_column where they are"
        )
    return entries


def _with_patients(
    entries: list[Entry], patient_column: str | None, listing: Listing
) -> list[Entry]:
    """The entries, which know all patients or none."""
    lacking = [entry for entry in entries if not entry.patient]
    if not lacking or (len(lacking) == len(entries) and patient_column is None):
        return entries
    raise ValueError(
        f"expected a {patient_column or 'patient'} in every entry of {listing.source}, got "
        f"{len(lacking)} of {len(entries)} without, like {lacking[0].raw or lacking[0].path}; "
        + (
            "give a patient_pattern for the names of files, or a folder for each patient"
            if listing.of_folders
            else "fill it in, or leave the patients out of all entries"
        )
    )


def _check_complete(listing: Listing, patient: str) -> None:
    for entries in listing.sections.values():
        for entry in entries:
            if entry.path and entry.label is not None and entry.patient:
                continue
            if listing.of_folders:
                raise ValueError(
                    f"expected the patient of every image in {listing.source}, got none of "
                    f"{entry.path}; give a patient_pattern"
                )
            raise ValueError(
                f"expected every entry of {listing.source} to have an image (path), a label (class "
                f"name or number) and a {patient}, got {entry.raw}; fill it in, leave the entry "
                f"out, or say with path_column, class_column and patient_column where they are"
            )


def _check_files(
    root: Path,
    listing: Listing,
    paths: list[str],
    images: list[str],
    *,
    allow_outside: bool,
    folders: bool,
) -> None:
    if not listing.of_folders and not allow_outside:
        check_inside(root, paths, listing.source)
    check_paths(root, paths, listing.source, folders=folders)
    check_channels(root, images, listing.source)


def _samples(entries: list[Entry], classes: Classes) -> list[Sample]:
    return [Sample(entry.path, classes.index(entry.label), entry.patient) for entry in entries]


def _items(root: Path, samples: list[Sample]) -> list[dict[str, Any]]:
    return [
        {"image": str(root / path), "label": label, "patient": patient, "index": index, "id": path}
        for index, (path, label, patient) in enumerate(samples)
    ]


def _fingerprint(samples: list[Sample]) -> str:
    lines = "".join(f"{sample.path}\t{sample.label}\n" for sample in samples)
    return hashlib.sha256(lines.encode()).hexdigest()
