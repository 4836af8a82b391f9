"""What a long training can be spared, and how long it then takes."""

from dataclasses import replace

import pytest

from monai_ima.planning.pilot import Times
from monai_ima.planning.quicker import quicker

TIMES = Times(epoch=100, margin_pass=50, validation=200, curve=1000)


class Parts(dict):
    """Settings alone."""

    @property
    def parser(self):
        return self


VOLUMES = Parts(
    margin_interval=2, val_interval=1, robust_interval=8, image_size=[48, 56, 48], spacing=[1.0] * 3
)


def test_a_long_training_is_told_what_makes_it_shorter():
    rarely, half = quicker(VOLUMES, TIMES, epochs=16)

    assert rarely.words == "--val_interval 4 --robust_interval 0"
    assert rarely.seconds == 16 * 100 + 8 * 50 + 4 * 200 + 1000
    assert half.words == "--image_size '[24, 28, 24]' --spacing '[2.0, 2.0, 2.0]'"
    assert half.seconds == (16 * 100 + 8 * 50 + 16 * 200 + 2 * 1000) / 8
    assert "an eighth of the voxels" in half.price


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"image_size": [64, 64]}, ["--val_interval", "--image_size '[32, 32]'"]),
        ({"image_size": [28, 28]}, ["--val_interval"]),
        ({"image_size": [48, 33, 48]}, ["--val_interval"]),
        ({"val_interval": 8, "robust_interval": 0, "image_size": [16] * 3}, []),
    ],
)
def test_only_what_is_possible_is_said(parts, said):
    parts = Parts({**VOLUMES, **parts})
    if len(parts["image_size"]) == 2:
        del parts["spacing"]

    found = quicker(parts, TIMES, epochs=16)

    assert len(found) == len(said)
    assert all(one.words.startswith(words) for one, words in zip(found, said, strict=True))


def test_nothing_is_said_of_a_short_one():
    assert quicker(VOLUMES, replace(TIMES, epoch=1, validation=1, curve=1), epochs=16) == []
