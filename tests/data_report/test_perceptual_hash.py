"""The same picture is found however it was turned or saved, and no other is taken for it."""

import io

import numpy as np
import pytest
from image_sets import picture
from PIL import Image, ImageOps

from monai_ima.data_report.facts import _resized
from monai_ima.data_report.perceptual_hash import (
    MOST_BITS,
    ORIENTATIONS,
    SIDE,
    _hashes,
    near_duplicates,
)


def signature(image):
    return _resized(np.asarray(image, dtype=np.float32) / 255, (SIDE, SIDE))


def as_jpeg(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(io.BytesIO(file.getvalue()))


SAME = {
    "as it is": lambda image: image.copy(),
    "mirrored": ImageOps.mirror,
    "mirrored upside down": ImageOps.flip,
    "upside down": lambda image: image.rotate(180),
    "a quarter turned": lambda image: image.transpose(Image.Transpose.ROTATE_270),
    "three quarters turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
}


@pytest.mark.parametrize("orientation", SAME)
def test_a_turned_picture_is_found_and_its_orientation_said(orientation):
    images = [picture(0), picture(1), SAME[orientation](picture(1)), picture(2)]

    (pair,) = near_duplicates(np.stack([signature(image) for image in images]))

    assert pair[:3] == (1, 2, orientation)
    assert pair.correlation == pytest.approx(1)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((23, 17), Image.Resampling.BICUBIC),
        lambda image: image.resize((200, 150), Image.Resampling.BILINEAR),
        as_jpeg,
        lambda image: image.point(lambda value: value // 2),
        lambda image: as_jpeg(ImageOps.mirror(image).resize((100, 75))),
    ],
    ids=["smaller", "larger", "compressed", "darker", "all of it"],
)
def test_a_picture_that_was_saved_anew_is_found(change):
    images = [picture(5), change(picture(5))]

    (pair,) = near_duplicates(np.stack([signature(image) for image in images]))

    assert pair[:2] == (0, 1)


def test_other_pictures_and_flat_ones_are_not_taken_for_one_another():
    images = [signature(picture(number)) for number in range(60)]
    flat = np.full((2, SIDE, SIDE), 0.5, dtype=np.float32)

    assert near_duplicates(np.concatenate([np.stack(images), flat])) == []
    assert near_duplicates(np.stack(images[:1])) == []
    assert near_duplicates(np.zeros((0,), dtype=np.float32)) == []


def test_each_frequency_of_the_hash_is_a_sign_against_the_median():
    """Of a cosine of one frequency, that bit alone is set, at its place."""
    place = np.arange(SIDE)
    wave = np.cos(np.pi * 3 * (2 * place + 1) / (2 * SIDE))[None] * np.ones((SIDE, 1))

    signs = _hashes(wave[None].astype(np.float32))[0]

    assert signs.shape == (63,)
    assert signs[2] == 1  # the mean is left out: frequencies 1, 2 and 3 along the rows come first
    assert MOST_BITS < 63 / 4  # of pictures that have nothing in common half the bits differ
    assert len(set(ORIENTATIONS)) == 8
