"""Which entries of a listing are taken, and whether they say all that is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai_ima.data.sample import SECTIONS, Entry, Listing, section_named

if TYPE_CHECKING:
    from collections.abc import Callable

_TO_EVALUATE = ("test", "validation", "training")  # the first that there is


def to_split(listing: Listing) -> Listing:
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


def begun_to_split(listing: Listing) -> Listing:
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


def with_patients_of_paths(listing: Listing, patient: Callable[[str], str]) -> Listing:
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


def to_evaluate(listing: Listing, section: str | None) -> list[Entry]:
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
            f"with path_column and class_column where they are; monai-ima predict MODEL FILES answers "
            f"files without labels"
        )
    return entries


def with_patients(
    entries: list[Entry], patient_column: str | None, listing: Listing
) -> list[Entry]:
    """The entries, which know all patients or none."""
    lacking = [entry for entry in entries if not entry.patient]
    if not lacking or (len(lacking) == len(entries) and patient_column is None):
        return entries
    wanted = "patient" if patient_column is None else f"{patient_column}, the patient_column,"
    raise ValueError(
        f"expected a {wanted} in every entry of {listing.source}, got "
        f"{len(lacking)} of {len(entries)} without, like {lacking[0].raw or lacking[0].path}; "
        + (
            "give a patient_pattern for the names of files, or a folder for each patient"
            if listing.of_folders
            else "fill it in, or leave the patients out of all entries"
        )
    )


def check_complete(listing: Listing, patient: str) -> None:
    """See that every entry has a path, a label and a patient.

    Raises:
        ValueError: if not.
    """
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
                f"out, or say with path_column, class_column and patient_column where they are (nan, NA, "
                f"#N/A and the like are none)"
            )
