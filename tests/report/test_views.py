"""Planes of volumes, named and turned as on a radiologist's screen, whichever way round they are stored."""

import itertools

import numpy as np
import pytest

from monai_ima.report.views import View, views

ORIENTATIONS = [
    "".join(letters)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*axes)
]
SIDES = {
    "R": 5,
    "A": 7,
    "S": 9,
}  # across the patient, from back to front, from the feet to the head


def stored(orientation):
    """A volume whose only voxel lies at the patient's left, in front and at the head."""
    ras = np.zeros((1, *SIDES.values()))
    ras[0, 0, -1, -1] = 1
    order, flips = [], []
    for at, letter in enumerate(orientation):
        order.append(next(i for i, pair in enumerate(("RL", "AP", "SI")) if letter in pair))
        flips += [1 + at] if letter in "LPI" else []
    return np.flip(ras.transpose(0, *(1 + axis for axis in order)), flips)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_same_patient_is_shown_the_same_way_however_it_is_stored(orientation):
    volume = stored(orientation)
    axial, coronal, sagittal = views(volume, orientation)
    assert [view.name.partition(",")[0] for view in (axial, coronal, sagittal)] == [
        *("axial", "coronal", "sagittal")
    ]
    # left, right, top and bottom
    assert [view.edges for view in (axial, coronal, sagittal)] == [
        *(("R", "L", "A", "P"), ("R", "L", "H", "F"), ("A", "P", "H", "F"))
    ]
    shown = [view.of(volume)[0] for view in (axial, coronal, sagittal)]
    # the patient's left at the right, front and head at the top; seen from the left, the front is left
    assert [plane.shape for plane in shown] == [(7, 5), (9, 5), (9, 7)]
    assert [np.argwhere(plane).tolist() for plane in shown] == [[[0, 4]], [[0, 4]], [[0, 0]]]


def test_planes_are_the_most_changed_ones_and_say_which():
    volume = np.zeros((1, 4, 5, 6))
    volume[0, 1, 2, 5] = -1
    names = [view.name for view in views(volume, "RAS")]
    assert names == ["axial, plane 6 of 6", "coronal, plane 3 of 5", "sagittal, plane 2 of 4"]


def test_planes_of_unknown_orientation_have_numbers_and_no_sides():
    volume = np.arange(60.0).reshape(1, 3, 4, 5)
    found = views(volume)
    assert [view.name for view in found] == ["plane 3 of 3", "plane 4 of 4", "plane 5 of 5"]
    assert all(view.edges == () for view in found)
    for view, plane in zip(found, (volume[:, 2], volume[:, :, 3], volume[..., 4]), strict=True):
        assert np.array_equal(view.of(volume), plane)


def test_an_image_is_one_view():
    image = np.ones((3, 4, 5))
    assert views(image) == [View()]
    assert View().of(image) is image
