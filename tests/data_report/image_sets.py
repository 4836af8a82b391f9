"""Sets of images that differ from one another, each of a patient of its own."""

import numpy as np
from PIL import Image


def picture(number, size=(64, 48)):
    """Grey clouds that no other number has; ``size`` is width by height."""
    coarse = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def write_set(root, patients=10, classes=("A", "B"), images=1):
    """``CLASS/CLASS-PATIENT-N.png``; patients are numbered through the classes."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for patient in range(label * patients, (label + 1) * patients):
            for n in range(images):
                picture(100 * patient + n).save(root / name / f"{name}-{patient}-{n}.png")
    return root
