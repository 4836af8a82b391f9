"""Synthetic volumes: a textured organ, with or without a lesion, as scanners of many kinds store it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from monai_ima.counts import checked_count
from monai_ima.data.whole_folder import write_whole

CLASSES = ("healthy", "lesion")
GENERATOR_VERSION = 1  # raise it whenever the voxels of any volume change
SETTINGS_FILE = "synthetic_volumes.json"

_SIDE = 40  # mm, of the cube that is scanned
_SPACINGS = ((1.0, 1.0, 1.0), (1.0, 1.0, 2.0), (1.25, 1.25, 1.0))  # mm
_FLIPS = ((1, 1, 1), (-1, 1, 1), (-1, -1, 1))  # RAS, LAS, LPS

Volume = npt.NDArray[np.float64]


def write_synthetic_volumes(root: str | Path, *, patients_per_class: int, seed: int = 0) -> Path:
    """Write a data set of one volume a patient: ``root/CLASS/CLASS-PATIENT.nii.gz``.

    Organs differ in size, place, texture and gain, volumes in spacing and in the direction of their
    axes. A lesion is a blurred ball, brighter than the tissue around it; healthy organs have brighter
    vessels instead, which are thin. A volume depends on the seed, class and patient alone. The folder
    appears whole or not at all; one that was written with the same settings is reused untouched.

    Args:
        root: the folder to write; its parents are made.
        patients_per_class: how many, at least 1.
        seed: what all randomness derives from, at least 0.

    Returns:
        ``root`` as a path.

    Raises:
        ValueError: an argument is out of range, or ``root`` holds anything else.
    """
    checked_count("patients_per_class", patients_per_class, at_least=1)
    checked_count("seed", seed, at_least=0)
    root = Path(root)
    settings = {
        "generator": "monai_ima.data.synthetic_volumes",
        "version": GENERATOR_VERSION,
        "patients_per_class": patients_per_class,
        "seed": seed,
    }

    def write(folder: Path) -> None:
        for class_index, label in enumerate(CLASSES):
            (folder / label).mkdir()
            for patient in range(patients_per_class):
                rng = np.random.default_rng([seed, class_index, patient])
                values, affine = _scanned(rng, lesion=label == "lesion")
                number = patient * len(CLASSES) + class_index + 1
                path = folder / label / f"{label}-{number}.nii.gz"
                image: Any = nibabel.Nifti1Image(values.astype(np.int16), affine)  # type: ignore[no-untyped-call]
                nibabel.save(image, path)

    write_whole(
        root, settings, settings_file=SETTINGS_FILE, kind="a synthetic data set", write=write
    )
    return root


def _scanned(rng: np.random.Generator, *, lesion: bool) -> tuple[Volume, Volume]:
    """Voxels of one patient, and the affine of how they are stored."""
    spacing = np.array(_SPACINGS[rng.integers(len(_SPACINGS))])
    shape = np.round(_SIDE / spacing).astype(int)
    axes = [
        (np.arange(count) - (count - 1) / 2) * step
        for count, step in zip(shape, spacing, strict=True)
    ]
    place = np.stack(np.meshgrid(*axes, indexing="ij"))  # mm from the middle
    values = _anatomy(place, rng, lesion=lesion)
    values += 0.02 * rng.standard_normal(values.shape)
    flips = np.array(_FLIPS[rng.integers(len(_FLIPS))])
    values = np.flip(values, tuple(axis for axis in range(3) if flips[axis] < 0))
    levels = 1000 * rng.uniform(0.6, 1.4) * values  # no unit, as in MR
    return levels, np.diag([*(flips * spacing), 1.0])


def _anatomy(place: Volume, rng: np.random.Generator, *, lesion: bool) -> Volume:
    """Brightness at each place ``(3, *)``, in mm."""
    radii = rng.uniform(10, 14, 3)
    middle = rng.uniform(-2, 2, 3)
    depth = 1 - np.sqrt((((place - _at(middle)) / _at(radii)) ** 2).sum(0))  # below 0: outside
    texture = gaussian_filter(rng.standard_normal(place.shape[1:]), 2)
    values: Volume = 0.1 + 0.4 / (1 + np.exp(-depth * 20)) * (
        1 + 0.5 * texture / texture.std() * 0.2
    )
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    target = middle + 0.5 * radii * direction
    if lesion:
        distance = np.sqrt(((place - _at(target)) ** 2).sum(0))
        values += 0.6 / (1 + np.exp((distance - rng.uniform(3.5, 5)) * 2))
        return values
    across = rng.standard_normal(3)
    across -= (across @ direction) * direction
    across /= np.linalg.norm(across)
    offset = place - _at(target)
    along = np.tensordot(across, offset, 1)
    distance = np.sqrt(np.maximum((offset**2).sum(0) - along**2, 0))
    values += 0.3 / (1 + np.exp((distance - 1) * 3)) * (depth > 0)
    return values


def _at(vector: Volume) -> Volume:
    return vector[:, None, None, None]
