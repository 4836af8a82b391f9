"""Images of one size with their classes, split into training, validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from monai_ima.data.tensors import TensorDatalist, TensorSamples

Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]

VALIDATION = 6  # one in six training images is held out: 10,000 of Fashion-MNIST's 60,000


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """One part of a data set, as its files have it.

    Attributes:
        images: ``(N, C, H, W)`` grey values or colours, 0 to 255.
        labels: ``(N,)`` class indices.
    """

    images: Bytes
    labels: Ints


def split_images(
    training: LabelledImages,
    test: LabelledImages,
    *,
    classes: tuple[str, ...],
    image_size: Sequence[int],
    training_samples: int | None,
    validation_samples: int | None,
    test_samples: int | None,
    seed: int,
    device: torch.device | str,
) -> TensorDatalist:
    """Hold out one training image in six for validation, and put pixels in [0, 1] on a device.

    The validation images and all smaller numbers are drawn at random with the classes in the
    proportions of the file, a smaller number from among a larger one; samples keep their order.

    Args:
        training: the images to learn from and to choose settings by.
        test: the images to report results on.
        classes: names of the classes.
        image_size: ``(H, W)`` to which images of another size are resized.
        training_samples: how many to take; by default all.
        validation_samples: how many to take of those that are held out.
        test_samples: how many to take.
        seed: seed of all that is drawn.
        device: where the tensors are to be.

    Raises:
        ValueError: if the size is none, or there are not as many images as are asked for.
    """
    if len(image_size) != 2 or any(type(side) is not int or side < 1 for side in image_size):
        raise ValueError(f"expected image_size to be [H, W] in pixels, got {image_size!r}")
    rows = _in_proportion(training.labels, seed)
    held_out = len(rows) // VALIDATION
    if not held_out:
        raise ValueError(
            f"expected at least {VALIDATION} training images, of which one is held out, got "
            f"{len(rows)}"
        )

    def samples(
        name: str, part: LabelledImages, rows: Ints, setting: str, count: int | None
    ) -> TensorSamples:
        if count is not None and (type(count) is not int or not 1 <= count <= len(rows)):
            raise ValueError(
                f"expected {setting} to be a whole number from 1 to {len(rows)}, as many as there "
                f"are, or null for all, got {count!r}"
            )
        chosen = np.sort(rows[:count])
        images = torch.from_numpy(part.images[chosen]).to(device).float() / 255
        if images.shape[2:] != tuple(image_size):
            images = F.interpolate(images, tuple(image_size), mode="bilinear", antialias=True)
        return TensorSamples(
            images,
            torch.from_numpy(part.labels[chosen]),
            ids=[f"{name}:{row}" for row in chosen],
            device=device,
        )

    return TensorDatalist(
        training=samples("train", training, rows[held_out:], "training_samples", training_samples),
        validation=samples(
            "train", training, rows[:held_out], "validation_samples", validation_samples
        ),
        test=samples("test", test, _in_proportion(test.labels, seed), "test_samples", test_samples),
        classes=classes,
    )


def check_classes(labels: Ints, classes: range, source: object, advice: str) -> None:
    """See that every label is that of a class.

    Raises:
        ValueError: if not, naming ``source`` and ending in ``advice``.
    """
    if strange := sorted(set(labels.tolist()).difference(classes)):
        raise ValueError(
            f"expected labels {classes[0]} to {classes[-1]} in {source}, got "
            f"{', '.join(map(str, strange[:3]))}; {advice}"
        )


def _in_proportion(labels: Ints, seed: int) -> Ints:
    """All rows in random order, so that any stretch has every class in its proportion."""
    generator = np.random.default_rng(seed)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        place[rows] = (generator.permutation(len(rows)) + generator.random()) / len(rows)
    return np.argsort(place, kind="stable")
