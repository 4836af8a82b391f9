"""SVHN: 32 x 32 colour images of house numbers, each with the digit in its middle."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from monai_ima.data.labelled_images import LabelledImages, check_classes, split_images
from monai_ima.data.list_checks import check_class_count
from monai_ima.data.mat_file import read_arrays
from monai_ima.data.tensors import TensorDatalist

CLASSES = tuple("0123456789")
SIDE = 32
SOURCE = "http://ufldl.stanford.edu/housenumbers/"
_MOST_BYTES = 2**31  # of an array; SVHN's extra images, the largest file, have 1.6 GB
TRAIN, TEST = "train_32x32.mat", "test_32x32.mat"


def load_svhn(
    dataset_dir: str | Path,
    *,
    num_classes: int | None = None,
    image_size: Sequence[int] = (SIDE, SIDE),
    training_samples: int | None = None,
    validation_samples: int | None = None,
    test_samples: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> TensorDatalist:
    """Read SVHN and put it on a device, each part as one tensor ``(N, 3, 32, 32)``.

    One sixth of the training file, 12,209 of its 73,257 images, is held out for validation, at
    random with the classes in proportion; which images the paper held out, if any, it does not say.
    The extra images are not used.

    Args:
        dataset_dir: folder with ``train_32x32.mat`` and ``test_32x32.mat``.
        num_classes: how many classes the network has; ten are needed.
        image_size: ``(H, W)``; if it is another than the files', for another network, images are
            resized.
        training_samples: take so many of the training images, at random with the classes in
            proportion; by default all.
        validation_samples: the same for validation.
        test_samples: the same for test.
        seed: seed of the split and of what is drawn.
        device: where the tensors are to be.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is not what its name says, or an argument does not fit.

    Source:
        Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, NIPS
        Workshop on Deep Learning and Unsupervised Feature Learning, 2011.
    """
    folder = Path(dataset_dir)
    if num_classes is not None:
        check_class_count(CLASSES, num_classes, "SVHN", "take other data")
    return split_images(
        _read_part(folder / TRAIN),
        _read_part(folder / TEST),
        classes=CLASSES,
        image_size=image_size,
        training_samples=training_samples,
        validation_samples=validation_samples,
        test_samples=test_samples,
        seed=seed,
        device=device,
    )


def _read_part(file: Path) -> LabelledImages:
    if not file.is_file():
        raise FileNotFoundError(
            f"expected dataset_dir to hold {TRAIN} and {TEST}, got {file.parent} without "
            f"{file.name}; download both from {SOURCE} (format 2, cropped digits) into that folder"
        )
    advice = f"download it again from {SOURCE} (format 2, cropped digits)"
    try:
        content = read_arrays(file, ("X", "y"), most_bytes=_MOST_BYTES)
    except (ValueError, zlib.error) as error:
        raise ValueError(
            f"expected {file} to be a whole MATLAB file, got: {error}; {advice}"
        ) from error
    images, labels = (content.get(name, np.empty(0)) for name in ("X", "y"))
    if images.dtype != np.uint8 or images.shape != (SIDE, SIDE, 3, labels.size) or not labels.size:
        raise ValueError(
            f"expected {file} to hold X, bytes ({SIDE}, {SIDE}, 3, N), and y, N labels, got X "
            f"{images.dtype} {images.shape} and y {labels.shape}; {advice}"
        )
    check_classes(labels.ravel(), range(1, 11), file, advice)
    return LabelledImages(images.transpose(3, 2, 0, 1), labels.ravel().astype(np.int64) % 10)
