"""Noise levels of an evaluation in the norm of the training and in the other."""

import pytest
from bundle_run import ROOT
from monai.bundle import ConfigParser

BUNDLES = ROOT / "bundles"


def levels(bundle, **settings):
    parser = ConfigParser()
    parser.read_config([str(BUNDLES / bundle / f"{name}.json") for name in ("train", "evaluate")])
    parser.update(settings)
    return parser.get_parsed_content("evaluation_levels")


def test_of_a_training_in_linf_its_own_levels_are_evaluated():
    found = levels("oct_ima", noise_levels=[0, 0.001, 0.004])

    assert found == {"linf": [0, 0.001, 0.004], "l2": [0, 0.1, 0.25, 0.5, 0.75, 1, 1.5]}


def test_of_a_training_in_l2_noise_in_linf_is_as_long_as_that_in_l2():
    found = levels("oct_ima", norm="l2", noise_levels=[0, 0.5, 1, 3])

    assert found["l2"] == [0, 0.1, 0.25, 0.5, 0.75, 1, 1.5]  # of 64 x 64 pixels
    assert found["linf"] == [0, 0.00156, 0.00391, 0.00781, 0.0117, 0.0156, 0.0234]


@pytest.mark.parametrize(
    ("bundle", "settings", "values"),
    [
        ("oct_ima", {"image_size": [224, 224], "colour": True}, 3 * 224 * 224),
        ("volume_ima", {}, 32**3),
        ("ecg_ima", {}, 187),
        ("fashion_mnist_ima", {}, 28 * 28),
        ("svhn_ima", {}, 3 * 32 * 32),
        ("moons_ima", {}, 2),
    ],
)
def test_levels_in_linf_go_by_the_number_of_values_in_an_input(bundle, settings, values):
    found = levels(bundle, norm="l2", noise_levels=[0, 1, 2], **settings)

    lengths = [level * values**0.5 for level in found["linf"]]
    assert lengths == pytest.approx(found["l2"], rel=1e-2)
