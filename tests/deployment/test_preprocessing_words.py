"""The steps of a preprocessing in words."""

import pytest

from monai_ima.deployment.preprocessing_words import preprocessing_in_words


def load(**values):
    return {"_target_": "monai_ima.data.LoadIntensityd", "keys": "image", **values}


def test_the_steps_of_volumes_have_their_values():
    steps = [
        load(colour=False, intensity_range="percentiles", nan_value=None),
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [1.0, 0.5, 2]},
        {"_target_": "ResizeWithPadOrCropd", "keys": "image", "spatial_size": [48, 64, 32]},
        {"_target_": "EnsureTyped", "keys": "image", "track_meta": False},
    ]
    assert preprocessing_in_words({"_target_": "Compose", "transforms": steps}) == [
        (
            "read in grey, each image by itself, from its 0.5th (0) to its 99.5th percentile (1), beyond "
            "which values are cut off"
        ),
        "turned to the orientation RAS: its axes rise to the patient's right, the front, the head",
        "resampled to a spacing of 1 x 0.5 x 2 mm",
        "cropped or padded around its middle to 48 x 64 x 32",
    ]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (load(colour=True), "read in colour (red, green, blue), pictures with the whole range"),
        (
            load(intensity_range=[-160, 240]),
            "values from -160 (0) to 240 (1) in the units of the file",
        ),
        (load(intensity_range="minmax"), "from its darkest (0) to its brightest value (1)"),
        (load(nan_value=0.0), "missing values (NaN) become 0"),
        ({"_target_": "monai_ima.data.CenterSquareCropd", "keys": "image"}, "to equal sides"),
        ({"_target_": "Resized", "spatial_size": [64, 48], "mode": "area"}, "resized to 64 x 48"),
        (
            {
                "_target_": "ScaleIntensityRanged",
                "a_min": 0,
                "a_max": 255,
                "b_min": 0,
                "b_max": 1,
                "clip": True,
            },
            "values from 0 to 255 become 0 to 1, beyond which they are cut off",
        ),
        ({"_target_": "Flipd", "keys": "image", "spatial_axis": 0}, "`Flipd` (spatial_axis: 0)"),
        ("$my.transform()", "`$my.transform()`"),
    ],
)
def test_a_step_is_said_with_its_values(step, said):
    (words,) = preprocessing_in_words(step)
    assert said in words
