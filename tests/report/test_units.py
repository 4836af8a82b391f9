"""Noise levels in the units of the data."""

import pytest
import torch

from monai_ima.report import Units, image_units
from monai_ima.report.units import size_in_words, value_name

GREY = {"name": "grey levels of 255", "per_unit": 255.0}
SHARE = "percent of the image's brightness range"
PERCENTILES = {"name": f"{SHARE} (0.5th to 99.5th percentile)", "per_unit": 100.0}
MINMAX = {"name": f"{SHARE} (darkest to brightest value)", "per_unit": 100.0}


@pytest.mark.parametrize(
    ("arguments", "units"),
    [
        (([0, 1],), GREY),
        (([0, 1], None, [{"image": "eye.png"}]), GREY),
        (((0.0, 1.0), "percentiles"), PERCENTILES),
        (((-1, 1), "percentiles"), PERCENTILES | {"per_unit": 50.0}),
        (([0, 1], "minmax"), MINMAX),
        (([0, 1], None, [{"image": "brain.nii.gz"}]), MINMAX),
        (
            ([0, 1], [-160, 240], [{"image": "lung.nii"}]),
            {"name": "units of the files", "per_unit": 400.0},
        ),
        (([-1, 1],), GREY | {"per_unit": 127.5}),
        (([0, 1], [-160, 240]), {"name": "units of the files", "per_unit": 400.0}),
        (([-1, 1], [0, 4095]), {"name": "units of the files", "per_unit": 2047.5}),
        ((None, [0, 4095]), None),
    ],
)
def test_images_have_grey_levels_or_the_units_of_their_window(arguments, units):
    assert image_units(*arguments) == units


def test_a_level_is_the_change_of_every_value_that_has_it_as_its_length():
    units = Units.of({"shape": [1, 8, 32], "units": GREY})
    assert units.values == 256
    for norm, order in (("linf", torch.inf), ("l2", 2)):
        change = torch.full((256,), 0.5)
        level = float(torch.linalg.vector_norm(change, order))
        assert units.each(level, norm) == pytest.approx(127.5)
    assert units.words(0.01, "linf") == "2.55 grey levels of 255"
    assert units.words(1 / 255, "linf") == "1 grey level of 255"
    assert units.words(8, "linf") == "2040 grey levels of 255"
    assert Units.of({"shape": [1, 8, 32], "units": None}) is None
    words = Units.of({"shape": [1, 8, 32], "units": PERCENTILES}).words(0.02, "linf")
    assert words == "2 percent of the image's brightness range (0.5th to 99.5th percentile)"


@pytest.mark.parametrize(
    ("name", "one"),
    [
        ("units of the files", "1 unit of the files"),
        ("Hounsfield units", "1 Hounsfield unit"),
        ("millivolts", "1 millivolt"),
        ("HU", "1 HU"),
        ("gauss", "1 gauss"),
        ("degrees Celsius", "1 degrees Celsius"),
        (SHARE, f"1 {SHARE}"),
        (PERCENTILES["name"], f"1 {PERCENTILES['name']}"),
    ],
)
def test_one_of_a_unit(name, one):
    units = Units(name, per_unit=1.0, values=1)
    assert units.words(1.0, "linf") == one
    assert units.words(1.001, "linf") == one  # as it is rounded
    assert units.words(1.01, "linf") == f"1.01 {name}"


def test_units_have_a_name_for_columns():
    shown = (GREY, PERCENTILES, MINMAX, {"name": "HU", "per_unit": 400})
    assert [Units(**units, values=1).column for units in shown] == [
        *("grey_levels", "percent_of_range", "percent_of_range", "data_units")
    ]
    assert Units(**PERCENTILES, values=1).brief == SHARE


def test_a_value_is_called_by_what_it_is_of():
    shapes = ((1, 187), (3, 8, 8), (1, 8, 8, 8), (2,))
    assert [value_name(shape) for shape in shapes] == ["value", "pixel", "voxel", "value"]


def test_the_size_of_an_input():
    shapes = ((1, 187), (1, 8, 9), (2, 8, 9, 10), (2,))
    assert [size_in_words(shape) for shape in shapes] == [
        "187 values",
        "8 x 9 pixels",
        "8 x 9 x 10 voxels in 2 channels",
        "2 values",
    ]
