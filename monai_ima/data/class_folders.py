"""A data set as folders: one for each class, below those of the sections if there are any."""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path

from monai_ima.counts import counted
from monai_ima.data.file_tree import (
    by_suffix,
    counts_in_words,
    files_below,
    files_in,
    folders_in,
)
from monai_ima.data.image_formats import IMAGE_SUFFIXES, is_image, kind_of
from monai_ima.data.labels import sorted_names
from monai_ima.data.sample import SECTIONS, Entry, Listing, section_named
from monai_ima.data.table_words import one_spelling

_logger = logging.getLogger(__name__)


def read_folders(root: Path, patient_pattern: str | None) -> Listing:
    """List the images in class folders.

    Sections are folders named as such ("train", "val", "test" and the like) that hold the class
    folders. Below a class folder, a sub-folder is a patient; the patient of an image that lies
    directly in it is found in the file's name. Hidden files and folders, and those named
    ``__MACOSX``, are none of the data; files that are no images are counted and said.

    Args:
        root: the data set's folder.
        patient_pattern: regular expression whose group ``patient`` finds the patient in a name; by
            default the patients of images without a patient's folder are not known.

    Raises:
        ValueError: if there is no class folder, one is empty, folders of sections and classes are
            mixed, or a name has no patient.
    """
    pattern = None if patient_pattern is None else patient_expression(patient_pattern)
    tops = _section_folders(root)
    by_section = {section: _class_folders(top) for section, top in tops.items()}
    names = sorted_names({_class(folder) for folders in by_section.values() for folder in folders})
    left_out: Counter[str] = Counter()
    sections: dict[str, list[Entry]] = {}
    for section, folders in by_section.items():
        left_out += by_suffix(file for file in files_in(tops[section]) if is_image(file))
        entries: list[Entry] = []
        for folder in sorted(folders, key=lambda folder: names.index(_class(folder))):
            files = list(files_below(folder))
            images = sorted(file for file in files if is_image(file))
            others = by_suffix(file for file in files if not is_image(file))
            if not images:
                raise ValueError(
                    f"expected images ({', '.join(IMAGE_SUFFIXES)}) in the class folder {folder}, "
                    f"got none{f' but {counts_in_words(others)}' if others else ''}; add some, remove the "
                    f"folder, or give as dataset_dir the folder whose folders are the classes, or "
                    f"list files of another kind in a CSV or JSON file as datalist_file"
                )
            left_out += others
            entries += [
                Entry(
                    path=image.relative_to(root).as_posix(),
                    label=_class(folder),
                    patient=_patient(image, folder, pattern),
                )
                for image in images
            ]
        sections[section] = entries
    if left_out:
        _logger.warning(
            "not read in %s: %s (read are %s)",
            root,
            counts_in_words(left_out),
            ", ".join(IMAGE_SUFFIXES),
        )
    listed = (entry.path for entries in sections.values() for entry in entries)
    if slices := sum(kind_of(root / path) == "dicom" for path in listed):
        _logger.warning(
            "%d DICOM files in %s are taken for an image each; of a series, which is one volume, list "
            "the folder in a table",
            slices,
            root,
        )
    return Listing(root, dict(enumerate(names)), sections)


def _class(folder: Path) -> str:
    return one_spelling(folder.name)


def _section_folders(root: Path) -> dict[str, Path]:
    """The folders that hold class folders, by section; ``root`` itself where there is no other."""
    folders = folders_in(root)
    if not folders:
        files = list(files_in(root))
        found = f"{counted(len(files), 'file')} directly in it" if files else "an empty folder"
        raise ValueError(
            f"expected one folder of images per class in {root}, got {found}; sort the images into "
            f"class folders, or give a CSV or JSON file that lists them as datalist_file"
        )
    named = {folder.name: section_named(folder.name) for folder in folders}
    sections = [name for name, section in named.items() if section in SECTIONS]
    if not sections:
        return {"training": root}
    if len(sections) < len(folders) or len(set(named.values())) < len(folders):
        raise ValueError(
            f"expected in {root} the folders of the classes, or one folder for each section that "
            f"holds them, got {', '.join(named)}; rename those of the sections "
            f"({', '.join(sections)}), or move the others away"
        )
    return {named[folder.name]: folder for folder in folders}


def _class_folders(top: Path) -> list[Path]:
    folders = folders_in(top)
    if not folders:
        raise ValueError(
            f"expected one folder of images per class in {top}, got none; sort its images into "
            f"class folders, or give a CSV or JSON file that lists them as datalist_file"
        )
    for folder in folders:
        if sections := [f.name for f in folders_in(folder) if section_named(f.name) in SECTIONS]:
            raise ValueError(
                f"expected the folders of patients in the class folder {folder}, got "
                f"{', '.join(sections)}; put the folders of sections above those of the classes, "
                f"or give a CSV or JSON file with the split as datalist_file"
            )
    return folders


def patient_expression(patient_pattern: str) -> re.Pattern[str]:
    """A regular expression that has a group ``patient``.

    Raises:
        ValueError: if it is none.
    """
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


def _patient(image: Path, folder: Path, pattern: re.Pattern[str] | None) -> str:
    inside = image.relative_to(folder).parts
    if len(inside) > 1:
        return inside[0]
    if pattern is None:
        return ""
    return patient_in_name(image, pattern)


def patient_in_name(image: Path, pattern: re.Pattern[str]) -> str:
    """The patient that a pattern finds in the name of a file.

    Raises:
        ValueError: if it finds none.
    """
    match = pattern.search(image.name)
    if not match or not match["patient"]:
        raise ValueError(
            f"expected a file name in which patient_pattern {pattern.pattern!r} finds the patient, "
            f"got {image}; give a patient_pattern that fits the names (where every image is of "
            f"another patient, '(?P<patient>.+)'), a folder for each patient, or a CSV or JSON "
            f"file with the patients as datalist_file"
        )
    return match["patient"]
