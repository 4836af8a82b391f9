"""Datalists: checked, and split by patient for a training or listed as they are for an evaluation."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_ima.data.chosen_entries import (
    begun_to_split,
    check_complete,
    to_evaluate,
    to_split,
    with_patients,
    with_patients_of_paths,
)
from monai_ima.data.class_folders import patient_expression, patient_in_name, read_folders
from monai_ima.data.image_formats import is_image
from monai_ima.data.labels import Classes, checked_names, classes_of
from monai_ima.data.list_checks import (
    check_arguments,
    check_axes,
    check_class_count,
    check_every_class,
    check_folder,
    check_inside,
    check_once,
    check_paths,
    read_headers,
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
)
from monai_ima.data.split import check_no_shared_patient, draw, split_by_patient

if TYPE_CHECKING:
    from collections.abc import Sequence

KERMANY_PATIENT = r"^[^-]+-(?P<patient>\d+)-\d+\."  # CLASS-PATIENT-N.jpeg
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
    check_headers: bool = True,
    spatial_dims: int | None = None,
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
        check_headers: whether files are looked at, as :class:`LoadIntensityd` reads them; not what
            another transform reads.
        spatial_dims: how many axes each image must have, if headers are looked at; by default any.

    Raises:
        FileNotFoundError: if ``dataset_dir``, ``datalist`` or a listed image does not exist.
        ValueError: if the data set is not as described, has an unreadable file, lacks a class in a
            section, or has a patient on two sides; the message says what to do.
    """
    root = Path(dataset_dir)
    check_folder(root)
    check_arguments(fractions, samples_per_class)
    columns = Columns(path_column, class_column, patient_column, split_column)
    listing = _read(root, datalist, columns, patient_pattern, patients_needed=True)
    listing = to_split(listing)
    check_complete(listing, patient_column or "patient")
    classes = classes_of(listing, num_classes=num_classes)
    check_class_count(classes.names, num_classes, listing.source, _OTHER_FOLDER)
    sections = {
        section: _samples(entries, classes) for section, entries in listing.sections.items()
    }
    samples = [sample for members in sections.values() for sample in members]
    paths = [sample.path for sample in samples]
    check_once(samples, classes.names, listing.source)
    _check_files(root, listing, paths, allow_outside=allow_outside)
    if check_headers:
        read_headers(root, paths)
        if spatial_dims is not None:
            check_axes(root, paths, spatial_dims)
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
    listing = begun_to_split(listing)
    entries = [entry for members in listing.sections.values() for entry in members]
    if each_image_is_a_patient and (known := [entry for entry in entries if entry.patient]):
        raise ValueError(
            f"expected no patient in {listing.source}, since each image is to be another's, got "
            f"{len(known)} images with one, like patient {known[0].patient} of {known[0].path}; use "
            f"the patients that there are"
        )
    if each_image_is_a_patient:
        listing = with_patients_of_paths(listing, lambda path: path)
    elif patient_pattern is not None and not listing.of_folders:
        expression = patient_expression(patient_pattern)
        listing = with_patients_of_paths(
            listing, lambda path: patient_in_name(Path(path), expression)
        )
    check_complete(listing, patient_column or "patient")
    classes = classes_of(listing)
    if len(classes.names) < 2:
        raise ValueError(
            f"expected several classes in {listing.source}, got {', '.join(classes.names) or 'none'} "
            f"alone, which leaves nothing to tell apart; {_OTHER_FOLDER}"
        )
    sections = {name: _samples(members, classes) for name, members in listing.sections.items()}
    samples = [sample for members in sections.values() for sample in members]
    if not listing.of_folders and not allow_outside:
        check_inside(root, [sample.path for sample in samples], listing.source)
    check_once(samples, classes.names, listing.source)
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
    check_headers: bool = True,
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
        check_headers: as for :func:`load_datalist`.

    Raises:
        FileNotFoundError: if ``dataset_dir``, ``datalist`` or a listed file does not exist.
        ValueError: if the data set is not as described, is empty, lacks labels, knows the patients
            of some samples only, or has an unreadable file; the message says what to do.
    """
    root = Path(dataset_dir)
    check_folder(root)
    order = None if classes is None else checked_names(classes)
    columns = Columns(path_column, class_column, patient_column, split_column)
    listing = _read(root, datalist, columns, patient_pattern, patients_needed=False)
    chosen = to_evaluate(listing, section)
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
    samples = _samples(with_patients(chosen, patient_column, listing), known)
    paths = [sample.path for sample in samples]
    check_once(samples, known.names, listing.source)
    _check_files(root, listing, paths, allow_outside=allow_outside)
    if check_headers:
        read_headers(root, [path for path in paths if is_image(root / path)])
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


def _check_files(root: Path, listing: Listing, paths: list[str], *, allow_outside: bool) -> None:
    if not listing.of_folders and not allow_outside:
        check_inside(root, paths, listing.source)
    check_paths(root, paths, listing.source)


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
