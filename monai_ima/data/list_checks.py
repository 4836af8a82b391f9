"""What must hold of a list of samples before anything is read."""

from __future__ import annotations

import functools
import math
import os
import stat
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from monai_ima.data.images import count_channels, spatial_axes
from monai_ima.data.labels import shortened
from monai_ima.data.near_path import near_path
from monai_ima.data.sample import SECTIONS, Sample, Sections

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_folder(root: Path) -> None:
    """See that the data set's folder is there.

    Raises:
        FileNotFoundError: if not.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"expected dataset_dir to be the folder of the data set, got {root}: no such folder; "
            f"correct the path"
        )


def check_arguments(fractions: Sequence[float], samples_per_class: int | None) -> None:
    """See that shares and number have a meaning.

    Raises:
        ValueError: if not.
    """
    whole = len(fractions) == len(SECTIONS) and math.isclose(sum(fractions), 1)
    if not whole or min(fractions) <= 0:
        raise ValueError(
            f"expected three positive fractions (training, validation, test) with the sum 1, got "
            f"{tuple(fractions)}"
        )
    if samples_per_class is not None and samples_per_class < 1:
        raise ValueError(f"expected samples_per_class to be at least 1, got {samples_per_class}")


def check_class_count(classes: Sequence[str], num_classes: int, where: object, hint: str) -> None:
    """See that there are as many classes as the network has outputs.

    Args:
        classes: their names.
        num_classes: how many there must be.
        where: the list, folder or data set.
        hint: what to do if not, beside correcting ``num_classes``.

    Raises:
        ValueError: if not.
    """
    if len(classes) != num_classes:
        raise ValueError(
            f"expected num_classes = {num_classes} classes in {where}, got {len(classes)}: "
            f"{shortened(classes)}; correct num_classes, or {hint}"
        )


def check_every_class(classes: Sequence[str], sections: Sections, source: Path) -> None:
    """See that every class is in every section of what a list or folder gives.

    Raises:
        ValueError: naming those that are not.
    """
    for section in SECTIONS:
        present = {sample.label for sample in sections[section]}
        if lacking := [name for label, name in enumerate(classes) if label not in present]:
            raise ValueError(
                f"expected every class in the section {section}, got none of {shortened(lacking)} "
                f"from {source}; give more patients of it (three at least), other fractions or "
                f"another seed"
            )


def check_paths(root: Path, paths: Sequence[str], source: Path) -> None:
    """See that every path is there as a file that can be read to its end.

    Nothing is opened, for a pipe would wait for ever.

    Args:
        root: the folder to which they are relative.
        paths: those of the samples.
        source: the list or folder that has them.

    Raises:
        FileNotFoundError: if one is missing.
        ValueError: if one is neither a file nor a folder, of a series.
    """
    modes = {path: _mode(root / path) for path in paths}
    if missing := [path for path, mode in modes.items() if mode is None]:
        raise FileNotFoundError(
            f"expected every image listed in {source} to be in {root}, got {len(missing)} missing, "
            f"like {missing[0]}; paths are relative to dataset_dir{_hint(root, missing[0])}"
        )
    if others := [
        path
        for path, mode in modes.items()
        if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
    ]:
        raise ValueError(
            f"expected every image of {source} in {root} to be a regular file or a folder, got "
            f"{len(others)} of another kind (pipe, socket or device), like {others[0]}; take them out"
        )


def check_once(samples: Sequence[Sample], classes: Sequence[str], source: Path) -> None:
    """See that every path is listed once.

    Raises:
        ValueError: if one is listed twice; of one that has several classes, which.
    """
    repeated = [path for path, times in Counter(s.path for s in samples).items() if times > 1]
    if not repeated:
        return
    labels: dict[str, set[int]] = defaultdict(set)
    for sample in samples:
        labels[sample.path].add(sample.label)
    if several := [path for path in repeated if len(labels[path]) > 1]:
        names = " and ".join(classes[label] for label in sorted(labels[several[0]]))
        raise ValueError(
            f"expected one class for every image in {source}, got {len(several)} with several, like "
            f"{several[0]} with {names}; a model of this kind answers with one class: keep the right "
            f"one, or make the combination a class of its own"
        )
    raise ValueError(
        f"expected every image to be listed once in {source}, got {len(repeated)} more often, "
        f"like {repeated[0]}; remove the repetitions"
    )


def _hint(root: Path, path: str) -> str:
    near = near_path(root, path)
    return f", where there is {near}" if near else ""


def check_inside(root: Path, paths: Sequence[str], source: Path) -> None:
    """See that no path of a list leaves the data set's folder, not even by a link.

    Raises:
        ValueError: if one does.
    """
    real_root = os.path.realpath(root)
    real_folder = functools.cache(os.path.realpath)

    def leaves(path: str) -> bool:
        full = root / path
        real = os.path.join(real_folder(full.parent), full.name)  # noqa: PTH118 - Path is slower
        if full.name == ".." or os.path.islink(real):  # noqa: PTH114
            real = os.path.realpath(real)
        return not Path(real).is_relative_to(real_root)

    if outside := [path for path in paths if leaves(path)]:
        raise ValueError(
            f"expected the paths in {source} to stay in dataset_dir, {root}, got "
            f"{len(outside)} that leave it (absolute, by .. or by a link), like {outside[0]}; "
            f"correct them, or allow it with --allow_outside true if you trust the list"
        )


def read_headers(root: Path, paths: Sequence[str]) -> None:
    """See that the header of every image can be read, which costs 0.1 ms an image.

    Raises:
        ImportError: if what reads one is not installed.
        ValueError: naming the first that cannot.
    """
    for path in paths:
        count_channels(root / path)


def check_axes(root: Path, paths: Sequence[str], axes: int) -> None:
    """See that every image has so many axes.

    Raises:
        ValueError: naming the first that has not.
    """
    counts = {path: spatial_axes(root / path) for path in paths}
    if others := [path for path, count in counts.items() if count != axes]:
        raise ValueError(
            f"expected images of {axes} axes, as image_size has {axes} numbers, got {len(others)} of "
            f"others, like {others[0]} of {counts[others[0]]}; pictures and slices are for the bundle "
            f"oct_ima, volumes for volume_ima (monai-ima new NAME --from volume_ima), or give image_size "
            f"{counts[others[0]]} numbers, and network_def their spatial_dims"
        )


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return None
