"""The cubes of the task that is made from labelled volumes."""

import importlib.util
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_ima.data import load_datalist

ROOT = Path(__file__).resolve().parents[1]
spec = importlib.util.spec_from_file_location("task", ROOT / "scripts" / "hippocampus_task.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
SHAPE = (31, 40, 24)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (-5, 7, 9)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


@pytest.mark.parametrize("suffix", ["", "Tr"])
def test_cubes_are_cut_two_fifths_of_the_way_from_centre_to_centre(tmp_path, suffix):
    regions = np.zeros(SHAPE, np.uint8)
    regions[15:17, 25:31, 11:13] = 1  # centre 27.5 along the second axis
    regions[15:17, 10:16, 11:13] = 2  # 12.5
    places = np.arange(regions.size, dtype=np.int32).reshape(SHAPE)
    for patient in range(5):
        save(tmp_path / "in" / f"images{suffix}" / f"case_{patient}.nii.gz", places + patient)
        save(tmp_path / "in" / f"labels{suffix}" / f"case_{patient}.nii.gz", regions)

    assert script.write_cubes(tmp_path / "in", tmp_path / "out") == 5

    for name, first in (("anterior", 14), ("posterior", 11)):  # of 16 around 21.5 and 18.5
        image = nibabel.load(tmp_path / "out" / name / "case_3.nii.gz")
        start = (8, first, 4)
        expected = places[tuple(slice(at, at + 16) for at in start)] + 3
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), expected)
        np.testing.assert_allclose(image.affine[:3, 3], (3, first + 7, 13))
    datalist = load_datalist(
        tmp_path / "out", num_classes=2, patient_pattern=r"^(?P<patient>[^.]+)\."
    )
    assert datalist.classes == ("anterior", "posterior")
    assert len({item["patient"] for item in datalist.training}) == len(datalist.training) / 2


def test_a_cube_stays_within_the_volume():
    regions = np.zeros(SHAPE, np.uint8)
    regions[0, 0, 0], regions[0, 1, 0] = 1, 2
    assert {tuple(start) for start in script.cube_starts(regions).values()} == {(0, 0, 0)}
    regions[:] = 0
    regions[-1, -1, -1], regions[-1, -2, -1] = 1, 2
    assert {tuple(start) for start in script.cube_starts(regions).values()} == {(15, 24, 8)}


def test_a_folder_without_volumes_is_rejected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected volumes \*.nii.gz in "):
        script.write_cubes(tmp_path, tmp_path / "out")
