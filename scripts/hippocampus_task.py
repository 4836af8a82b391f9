"""Make a task of two classes from volumes whose anterior and posterior hippocampus are labelled.

    python scripts/hippocampus_task.py --volumes Task04_Hippocampus --output data/hippocampus

Task04 of the Medical Segmentation Decathlon labels voxels, and no patients. From each volume two cubes of
16 mm are cut, whose centres lie on the line between the centres of both labelled parts: "anterior" two
fifths of the way from the anterior one, "posterior" two fifths of the way from the posterior one. The
question is which of the two a cube shows. No doctor asks it: it is a task for measuring methods, whose
classes are in every patient, and of the same size, spacing and scanner.

The output has a folder for each class with a file for each patient, as the bundle volume_ima reads them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

LABELS = {"anterior": 1, "posterior": 2}
SIDE = 16  # voxels, which are of 1 mm
WAY = 0.4  # of the line to the centre of the other part; at half of it both cubes would be the same


def main() -> None:
    """Cut the cubes of all volumes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--volumes", type=Path, required=True, help="with imagesTr and labelsTr")
    parser.add_argument("--output", type=Path, required=True, help="a folder that is made")
    arguments = parser.parse_args()
    count = write_cubes(arguments.volumes, arguments.output)
    print(f"two cubes of each of {count} volumes in {arguments.output}")


def write_cubes(volumes: Path, output: Path) -> int:
    """Write the two cubes of each volume, and say how many volumes there are.

    Raises:
        FileNotFoundError: if there is no volume, or one has no labels.
        FileExistsError: if there are cubes already.
    """
    images, labels = (_folder(volumes, name) for name in ("images", "labels"))
    paths = sorted(path for path in images.glob("*.nii.gz") if not path.name.startswith("."))
    if not paths:
        raise FileNotFoundError(f"expected volumes *.nii.gz in {images}, got none")
    for name in LABELS:
        (output / name).mkdir(parents=True)
    for path in paths:
        volume: Any = nibabel.load(path)
        labelled: Any = nibabel.load(labels / path.name)
        voxels, regions = np.asanyarray(volume.dataobj), np.asanyarray(labelled.dataobj)
        for name, start in cube_starts(regions).items():
            cube = voxels[tuple(slice(at, at + SIDE) for at in start)]
            affine = volume.affine.copy()
            affine[:3, 3] += affine[:3, :3] @ start
            image: Any = nibabel.Nifti1Image(cube, affine)  # type: ignore[no-untyped-call]
            nibabel.save(image, output / name / path.name)
    return len(paths)


def cube_starts(regions: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.int64]]:
    """First voxel of the cube of each class, which is moved inwards where it would leave the volume."""
    centres = {name: np.argwhere(regions == at).mean(axis=0) for name, at in LABELS.items()}
    middle = sum(centres.values()) / 2
    starts = {}
    for name, centre in centres.items():
        nearer = centre + 2 * WAY * (middle - centre)
        start = np.round(nearer - (SIDE - 1) / 2).astype(int)
        starts[name] = np.clip(start, 0, np.array(regions.shape) - SIDE)
    return starts


def _folder(volumes: Path, name: str) -> Path:
    """As the Decathlon calls it, or without its suffix."""
    full = volumes / f"{name}Tr"
    return full if full.is_dir() else volumes / name


if __name__ == "__main__":
    main()
