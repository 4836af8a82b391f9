"""The files of a synthetic OCT data set, and one slice of one patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from monai_ima.counts import checked_count
from monai_ima.data.synthetic_oct.anatomy import LESIONS, neighbouring_slice, random_patient
from monai_ima.data.synthetic_oct.rendering import rendered
from monai_ima.data.whole_folder import write_whole

CLASSES = tuple(LESIONS)
GENERATOR_VERSION = 1  # raise it whenever the pixels of any image change
SETTINGS_FILE = "synthetic_oct.json"


def synthetic_bscan(
    label: str, rng: np.random.Generator, size: tuple[int, int] = (128, 160)
) -> npt.NDArray[np.uint8]:
    """Draw one patient of a class and render one slice.

    Args:
        label: one of ``CLASSES``.
        rng: what draws the randomness; the image depends on nothing else.
        size: ``(H, W)`` in pixels. The signs of disease lie in the central square.

    Returns:
        ``(H, W)`` grey values, vitreous at the top.

    Raises:
        ValueError: the class is unknown or the size is not two integers of at least 32.
    """
    if label not in CLASSES:
        raise ValueError(f"expected label to be one of {CLASSES}, got {label!r}")
    _check_size(size)
    return rendered(neighbouring_slice(random_patient(label, rng), rng), rng, size)


def write_synthetic_oct(
    root: str | Path,
    *,
    patients_per_class: int,
    images_per_patient: int = 2,
    seed: int = 0,
    size: tuple[int, int] = (128, 160),
) -> Path:
    """Write a data set in the form of Kermany's: ``root/CLASS/CLASS-PATIENT-N.png``.

    An image depends on the seed, class, patient and ``N`` alone, not on how many are asked for. No
    two patients share a number, whatever their classes, and ``N`` counts from 1. The folder appears
    whole or not at all; one that was written with the same settings is reused untouched.

    Args:
        root: the folder to write; its parents are made.
        patients_per_class: how many, at least 1.
        images_per_patient: slices of each patient, at least 1.
        seed: what all randomness derives from, at least 0.
        size: ``(H, W)`` in pixels.

    Returns:
        ``root`` as a path.

    Raises:
        ValueError: an argument is out of range, or ``root`` holds anything else.
    """
    checked_count("patients_per_class", patients_per_class, at_least=1)
    checked_count("images_per_patient", images_per_patient, at_least=1)
    checked_count("seed", seed, at_least=0)
    _check_size(size)
    root = Path(root)
    settings = {
        "generator": "monai_ima.data.synthetic_oct",
        "version": GENERATOR_VERSION,
        "patients_per_class": patients_per_class,
        "images_per_patient": images_per_patient,
        "seed": seed,
        "size": list(size),
    }

    def write(folder: Path) -> None:
        for class_index, label in enumerate(CLASSES):
            (folder / label).mkdir()
            for patient in range(patients_per_class):
                key = [seed, class_index, patient]
                anatomy = random_patient(label, np.random.default_rng([*key, 0]))
                number = patient * len(CLASSES) + class_index + 1
                for n in range(1, images_per_patient + 1):
                    rng = np.random.default_rng([*key, n])
                    image = rendered(neighbouring_slice(anatomy, rng), rng, size)
                    Image.fromarray(image).save(folder / label / f"{label}-{number}-{n}.png")

    write_whole(
        root, settings, settings_file=SETTINGS_FILE, kind="a synthetic OCT data set", write=write
    )
    return root


def _check_size(size: tuple[int, int]) -> None:
    if len(size) != 2:
        raise ValueError(f"expected size to be (H, W), got {size!r}")
    for name, value in zip(("the height", "the width"), size, strict=True):
        checked_count(name, value, at_least=32)
