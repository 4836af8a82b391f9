"""Which way round a volume goes into a network, from the file to the picture."""

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import (
    Compose,
    EnsureTyped,
    Flipd,
    Orientationd,
    Resized,
    ResizeWithPadOrCropd,
    Spacingd,
)

from monai_ima.data import LoadIntensityd, orientation_of
from monai_ima.data.tensors import TensorSamples
from monai_ima.report.views import views

DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


def preprocessing(*more, axcodes="RAS"):
    """As ``volume_ima`` has it."""
    return Compose(
        [
            LoadIntensityd("image"),
            Orientationd("image", axcodes=axcodes, labels=None),
            Spacingd("image", pixdim=(1.0, 1.0, 1.0)),
            ResizeWithPadOrCropd("image", spatial_size=(12, 16, 20)),
            EnsureTyped("image", track_meta=False),
            *more,
        ]
    )


def write_volume(path, codes, at=(0.5, 2.5, 4.5), code=1):
    """A NIfTI file whose axes rise in these directions, bright at a place in mm: right, front, head."""
    affine, shape = np.zeros((4, 4)), []
    for axis, letter in enumerate(codes):
        side, sign = DIRECTIONS[letter]
        affine[side, axis] = sign
        shape.append((8, 10, 12)[side])
    affine[3, 3] = 1
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)  # the middle is the origin
    values = np.zeros(shape, np.float32)
    voxel = np.linalg.inv(affine) @ [*at, 1]
    values[tuple(voxel[:3].round().astype(int))] = 1
    image = nibabel.Nifti1Image(values, affine)
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=code)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "SRA"])
@pytest.mark.parametrize("stored", ["RAS", "LPS", "ASL", "PIR"])
def test_the_patient_s_left_is_at_the_right_of_the_picture(tmp_path, stored, axcodes):
    path = write_volume(tmp_path / "a.nii.gz", stored, at=(-3.5, 2.5, 4.5))
    steps = preprocessing(axcodes=axcodes)
    orientation = orientation_of(steps, [{"image": str(path)}])
    assert orientation == axcodes
    volume = steps({"image": str(path)})["image"].numpy()
    axial, coronal, sagittal = (view.of(volume)[0] for view in views(volume, orientation))
    for plane, is_at_right in ((axial, True), (coronal, True), (sagittal, False)):
        ((row, column),) = np.argwhere(plane == plane.max())
        assert plane.max() > 0.5
        assert row < plane.shape[0] / 2  # front, or head
        assert (column > plane.shape[1] / 2) == is_at_right


@pytest.mark.parametrize("turned", [False, True])
def test_of_a_dicom_series_as_well(tmp_path, turned):
    pytest.importorskip("pydicom")
    from dicom_files import write_series

    # columns go to the patient's left, rows to the back; turned, to the right and to the front
    volume = np.zeros((6, 8, 10), np.int16)
    volume[4, 1, 8] = 1000
    place = {"PixelSpacing": [1.0, 1.0]}
    if turned:
        place["ImageOrientationPatient"] = [-1, 0, 0, 0, -1, 0]
    folder = write_series(tmp_path / "series", volume, thickness=1.0, **place)
    steps = preprocessing()
    samples = [{"image": str(folder)}]
    assert orientation_of(steps, samples) == "RAS"
    found = steps(samples[0])["image"].numpy()
    axial = views(found, "RAS")[0].of(found)[0]
    ((row, column),) = np.argwhere(axial == axial.max())
    assert (column > axial.shape[1] / 2) != turned
    assert (row < axial.shape[0] / 2) != turned


def test_it_is_not_known_where_a_file_does_not_say_it(tmp_path):
    known = {"image": write_volume(tmp_path / "a.nii", "LPS")}
    unknown = {"image": write_volume(tmp_path / "b.nii", "LPS", code=0)}
    assert orientation_of(preprocessing(), [known]) == "RAS"
    assert orientation_of(preprocessing(), [known, unknown]) is None
    assert orientation_of(preprocessing(), [{"image": torch.zeros(1, 2, 3, 4)}]) is None
    samples = TensorSamples(torch.zeros(1, 1, 2, 3, 4), torch.zeros(1).long(), ids=["a"])
    assert orientation_of(preprocessing(), samples) is None
    (tmp_path / "c.png").write_bytes(b"\x89PNG")
    assert orientation_of(preprocessing(), [{"image": tmp_path / "c.png"}]) is None


def test_it_is_not_known_of_transforms_that_may_turn_it(tmp_path):
    samples = [{"image": write_volume(tmp_path / "a.nii", "LPS")}]
    assert orientation_of(preprocessing(Flipd("image", spatial_axis=0)), samples) is None
    assert orientation_of(preprocessing(lambda sample: sample), samples) is None
    assert (
        orientation_of(Compose([LoadIntensityd("image"), Resized("image", (8, 8, 8))]), samples)
        is None
    )
    assert orientation_of(None, samples) is None
    own = Orientationd("image", axcodes="RAS", labels=(("R", "L"), ("P", "A"), ("I", "S")))
    assert orientation_of(Compose([LoadIntensityd("image"), own]), samples) is None


def test_a_series_without_a_place_does_not_say_it(tmp_path):
    pytest.importorskip("pydicom")
    from dicom_files import write_series

    folder = write_series(tmp_path / "series", np.zeros((3, 4, 5), np.int16))
    for name in folder.iterdir():
        _without_place(name)
    assert orientation_of(preprocessing(), [{"image": folder}]) is None


def _without_place(file):
    import pydicom

    data = pydicom.dcmread(file)
    del data.ImagePositionPatient
    del data.ImageOrientationPatient
    data.save_as(file)
