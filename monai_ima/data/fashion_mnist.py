"""Fashion-MNIST: 28 x 28 grey images of ten kinds of clothes, from its idx files."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from monai_ima.data.labelled_images import Bytes, LabelledImages, check_classes, split_images
from monai_ima.data.list_checks import check_class_count
from monai_ima.data.tensors import TensorDatalist

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SIDE = 28
SOURCE = "https://github.com/zalandoresearch/fashion-mnist"
_UNSIGNED_BYTE = 8
_MOST_BYTES = 2**30  # of a file; the largest of the four has 47 million


def load_fashion_mnist(
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
    """Read Fashion-MNIST and put it on a device, each part as one tensor ``(N, 1, 28, 28)``.

    One sixth of the training file, 10,000 of its 60,000 images, is held out for validation, at
    random with the classes in proportion; which images the paper held out, if any, it does not say.

    Args:
        dataset_dir: folder with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
            ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, each plain or as ``.gz``.
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
        Xiao, Rasul and Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
        Learning Algorithms, 2017.
    """
    folder = Path(dataset_dir)
    if num_classes is not None:
        check_class_count(CLASSES, num_classes, "Fashion-MNIST", "take other data")
    return split_images(
        _read_part(folder, "train"),
        _read_part(folder, "t10k"),
        classes=CLASSES,
        image_size=image_size,
        training_samples=training_samples,
        validation_samples=validation_samples,
        test_samples=test_samples,
        seed=seed,
        device=device,
    )


def _read_part(folder: Path, part: str) -> LabelledImages:
    images_file = _find(folder, f"{part}-images-idx3-ubyte")
    labels_file = _find(folder, f"{part}-labels-idx1-ubyte")
    images, labels = _read_idx(images_file, 3), _read_idx(labels_file, 1).astype(np.int64)
    advice = f"download the files again from {SOURCE}"
    if images.shape[1:] != (SIDE, SIDE):
        raise ValueError(
            f"expected images of {SIDE} x {SIDE} pixels in {images_file}, got "
            f"{images.shape[1]} x {images.shape[2]}; {advice}"
        )
    if len(images) != len(labels):
        raise ValueError(
            f"expected as many labels in {labels_file} as images in {images_file}, got "
            f"{len(labels)} labels and {len(images)} images; {advice}"
        )
    check_classes(labels, range(len(CLASSES)), labels_file, advice)
    return LabelledImages(images[:, None], labels)


def _find(folder: Path, name: str) -> Path:
    for file in (folder / name, folder / f"{name}.gz"):
        if file.is_file():
            return file
    raise FileNotFoundError(
        f"expected dataset_dir to hold {name} or {name}.gz, got {folder} without either; download "
        f"the four files from {SOURCE} into that folder"
    )


def _read_idx(file: Path, dimensions: int) -> Bytes:
    """An array of bytes in the idx format: a magic number, the sizes, then the values."""
    advice = f"download it again from {SOURCE}"
    magic = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    start = 4 + 4 * dimensions
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            header = stream.read(start)
            shape = tuple(int.from_bytes(header[k : k + 4], "big") for k in range(4, start, 4))
            count = math.prod(shape)
            # a small file may unpack to any size: no more is read than the header says
            whole = header[:4] == magic and len(header) == start
            content = stream.read(count + 1) if whole and count <= _MOST_BYTES else b""
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"expected {file} to be a whole gzip file, got: {error}; {advice}"
        ) from error
    if not whole:
        raise ValueError(
            f"expected {file} to begin with the magic number {magic.hex()} of an idx file of bytes "
            f"and with {dimensions} sizes, got {header.hex() or 'nothing'}; {advice}"
        )
    if count > _MOST_BYTES:
        raise ValueError(
            f"expected {file} to hold at most {_MOST_BYTES:,} values, got "
            f"{' x '.join(map(str, shape))} in its header; {advice}"
        )
    if len(content) != count:
        found = "more" if len(content) > count else len(content)
        raise ValueError(
            f"expected {file} to hold {' x '.join(map(str, shape))} values, as its header says, "
            f"got {found}; {advice}"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)
