import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Orientationd, Spacingd

from monai_ima.data import LoadIntensityd, load_datalist, write_synthetic_volumes


def files(root):
    return {path.name: path.read_bytes() for path in sorted(root.rglob("*.nii.gz"))}


def voxels(path):
    return np.asarray(nibabel.load(path).dataobj)


def test_a_volume_depends_on_seed_class_and_patient_alone(tmp_path):
    few = write_synthetic_volumes(tmp_path / "few", patients_per_class=2, seed=3)
    more = write_synthetic_volumes(tmp_path / "more", patients_per_class=3, seed=3)
    other = write_synthetic_volumes(tmp_path / "other", patients_per_class=2, seed=4)
    name = "lesion/lesion-4.nii.gz"

    assert (voxels(few / name) == voxels(more / name)).all()
    assert (
        voxels(few / name).shape != voxels(other / name).shape
        or (voxels(few / name) != voxels(other / name)).any()
    )
    assert len(files(more)) == 6


def test_it_is_not_written_twice(tmp_path):
    root = write_synthetic_volumes(tmp_path / "data", patients_per_class=1)
    before = files(root)
    write_synthetic_volumes(tmp_path / "data", patients_per_class=1)

    assert files(root) == before
    with pytest.raises(ValueError, match="choose another folder"):
        write_synthetic_volumes(tmp_path / "data", patients_per_class=2)


def test_spacing_and_direction_differ_until_they_are_made_the_same(tmp_path):
    root = write_synthetic_volumes(tmp_path / "data", patients_per_class=12)
    paths = sorted(root.rglob("*.nii.gz"))
    assert len({tuple(nibabel.load(path).affine.diagonal().round(3)) for path in paths}) > 4
    same = Compose(
        [
            LoadIntensityd("image", intensity_range="percentiles"),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(1.0, 1.0, 1.0)),
        ]
    )
    for path in paths[:4]:
        image = same({"image": path})["image"]
        torch.testing.assert_close(image.affine.diagonal(), torch.ones(4, dtype=torch.float64))
        assert all(abs(side - 40) <= 1 for side in image.shape[1:])


def test_patients_are_on_one_side_each(tmp_path):
    root = write_synthetic_volumes(tmp_path / "data", patients_per_class=6)
    found = load_datalist(root, num_classes=2, patient_pattern=r"^(?P<patient>[^.]+)\.")

    patients = [sample["patient"] for part in (found.training, found.test) for sample in part]
    assert len(set(patients)) == len(patients)
    assert found.classes == ("healthy", "lesion")
