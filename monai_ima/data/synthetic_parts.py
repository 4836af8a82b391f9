"""Synthetic images of ten classes in a training and a test part, as the small image data sets have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from monai_ima.counts import checked_count
from monai_ima.data.labelled_images import VALIDATION, Bytes
from monai_ima.data.whole_folder import write_whole

_CLASSES = 10


def write_parts(
    root: str | Path,
    *,
    name: str,
    version: int,
    kind: str,
    training: int,
    test: int,
    seed: int,
    write: Callable[[Path, int, Bytes, np.random.Generator], None],
) -> Path:
    """Write both parts in one step, all classes equally often; what is there already is reused.

    Args:
        root: the folder to write; its parents are made.
        name: of the module that draws; with ``.json``, of the file that holds the settings.
        version: of what it draws.
        kind: what is written, as errors call it.
        training: number of images in the training part, at least those of which one is held out.
        test: number of images in the test part.
        seed: what all randomness derives from, at least 0.
        write: writes a part into the folder that it is given: 0, training, or 1, test; the classes
            ``(N,)`` of its images; what draws the randomness.

    Returns:
        ``root`` as a path.

    Raises:
        ValueError: an argument is out of range, or ``root`` holds anything else.
    """
    checked_count("training", training, at_least=VALIDATION)
    checked_count("test", test, at_least=1)
    checked_count("seed", seed, at_least=0)
    root = Path(root)
    settings = {
        "generator": f"monai_ima.data.{name}",
        "version": version,
        "training": training,
        "test": test,
        "seed": seed,
    }

    def write_both(folder: Path) -> None:
        for part, count in enumerate((training, test)):
            rng = np.random.default_rng([seed, part])
            labels = rng.permutation(np.arange(count) % _CLASSES).astype(np.uint8)
            write(folder, part, labels, rng)

    write_whole(root, settings, settings_file=f"{name}.json", kind=kind, write=write_both)
    return root
