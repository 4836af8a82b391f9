"""Parts of a config, as the report tells them."""

from monai.bundle import ConfigParser

from monai_ima.bundle.parts import in_words

STEPS = {
    "_target_": "Compose",
    "transforms": [
        {"_target_": "monai_ima.data.LoadIntensityd", "keys": "image", "colour": "$@colour"},
        {"_target_": "monai_ima.data.CenterSquareCropd", "keys": "image", "_disabled_": "$@colour"},
        {"_target_": "Resized", "keys": "image", "spatial_size": "@size", "mode": "area"},
        {"_target_": "Mine", "keys": "image"},
    ],
}
TOLD = (
    "read the file as intensities from 0 to 1 (LoadIntensityd: colour {colour}){crop}, then resize "
    "(Resized: spatial_size 64 x 48, mode area), then Mine"
)


def told(**config):
    parser = ConfigParser({"colour": True, "size": [64, 48], "said": SAID} | config)
    parser.globals["monai_ima"] = __import__("monai_ima")
    return parser.get_parsed_content("said")


SAID = "$monai_ima.bundle.part_in_words('preprocessing', 'transforms')"


def test_steps_are_told_with_their_values_and_without_those_that_are_off():
    assert told(preprocessing=STEPS) == TOLD.format(colour="yes", crop="")
    crop = ", then cut out the central square (CenterSquareCropd)"
    assert told(preprocessing=STEPS, colour=False) == TOLD.format(colour="no", crop=crop)


def test_the_first_place_that_has_a_part_is_told():
    assert (
        told(preprocessing=None, transforms={"_target_": "a.Mine", "sides": 2}) == "Mine (sides 2)"
    )
    assert told() is None
    assert told(transforms="$print") == "$print"


def test_a_network_is_told_by_its_name_and_numbers():
    network = {"_target_": "DenseNet121", "spatial_dims": 2, "norm": None, "pretrained": False}
    assert in_words(network) == "DenseNet121 (spatial_dims 2, pretrained no)"
