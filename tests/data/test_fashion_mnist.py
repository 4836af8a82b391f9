"""Fashion-MNIST from its own idx files: read as they are, split in proportion, refused in words."""

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from monai_ima.data import load_fashion_mnist

DATA = Path(os.environ.get("MONAI_IMA_DATA", Path(__file__).parents[3] / "shared" / "data"))
REAL = DATA / "fashion_mnist"
COUNTS = {"train": [36, 24, 12, 6, 6, 6, 6, 6, 6, 12], "t10k": [8, 2, 2, 2, 2, 2, 2, 2, 2, 4]}


def idx(values):
    """The idx format, by the book: two zeros, type, dimensions, sizes, values."""
    header = struct.pack(f">BBBB{values.ndim}i", 0, 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def contents(part, shape=(28, 28)):
    rng = np.random.default_rng(len(part))
    labels = rng.permutation(np.repeat(np.arange(10), COUNTS[part]))
    return rng.integers(0, 256, (len(labels), *shape)), labels


def names(part):
    return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"


@pytest.fixture
def folder(tmp_path):
    """The training files compressed, the test files plain."""
    for part in COUNTS:
        for name, values in zip(names(part), contents(part), strict=True):
            if part == "train":
                (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(values)))
            else:
                (tmp_path / name).write_bytes(idx(values))
    return tmp_path


def rows(samples):
    return [int(name.partition(":")[2]) for name in samples.ids]


def test_every_image_is_in_one_part_with_its_pixels_and_label(folder):
    data = load_fashion_mnist(folder)

    for part, found in {"train": (data.training, data.validation), "t10k": (data.test,)}.items():
        images, labels = contents(part)
        assert sorted(row for samples in found for row in rows(samples)) == [*range(len(labels))]
        for samples in found:
            assert samples.inputs.dtype == torch.float32
            assert samples.labels.tolist() == labels[rows(samples)].tolist()
            expected = images[rows(samples), None] / 255
            np.testing.assert_allclose(samples.inputs.numpy(), expected, rtol=1e-6)
    assert data.classes[9] == "Ankle boot"


def test_one_in_six_of_every_class_is_held_out(folder):
    data = load_fashion_mnist(folder)

    held_out = data.validation.labels.bincount(minlength=10)
    assert held_out.tolist() == [count // 6 for count in COUNTS["train"]]
    assert rows(data.validation) == sorted(rows(data.validation))


def test_a_subset_has_the_classes_in_proportion_and_grows(folder):
    counts = {"training_samples": 50, "validation_samples": 10, "test_samples": 14}
    half = load_fashion_mnist(folder, **counts)
    whole = load_fashion_mnist(folder)

    for part, fraction in (("training", 2), ("validation", 2), ("test", 2)):
        some, all_ = getattr(half, part), getattr(whole, part)
        expected = all_.labels.bincount(minlength=10) / fraction
        assert (some.labels.bincount(minlength=10) - expected).abs().max() <= 1
        assert set(rows(some)) < set(rows(all_))
        assert len(some) == counts[f"{part}_samples"]


def test_the_seed_decides(folder):
    first, again, other = (
        load_fashion_mnist(folder, training_samples=40, seed=seed) for seed in (1, 1, 2)
    )

    assert first.training.ids == again.training.ids
    assert first.fingerprint == again.fingerprint
    assert set(first.validation.ids) != set(other.validation.ids)


def test_images_are_resized_for_another_network(folder):
    own, halved = load_fashion_mnist(folder), load_fashion_mnist(folder, image_size=[14, 7])

    assert halved.test.inputs.shape == (28, 1, 14, 7)
    torch.testing.assert_close(
        halved.test.inputs.mean(dim=(2, 3)), own.test.inputs.mean(dim=(2, 3)), rtol=0.05, atol=0
    )


def remove(folder):
    (folder / "t10k-labels-idx1-ubyte").unlink()


def truncate_gz(folder):
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-100])


def not_gz(folder):
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(b"<html>not found</html>")


def swap(folder):
    images, labels = (folder / name for name in names("t10k"))
    labels.write_bytes(images.read_bytes())


def truncate_plain(folder):
    file = folder / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-100])


def cut_header(folder):
    file = folder / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:7])


def empty(folder):
    (folder / "t10k-images-idx3-ubyte").write_bytes(b"")


def too_wide(folder):
    images, _ = contents("t10k", shape=(28, 30))
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx(images))


def one_label_less(folder):
    _, labels = contents("t10k")
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(labels[1:]))


def class_ten(folder):
    _, labels = contents("t10k")
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(labels + 1))


def bomb(folder):
    file = folder / f"{names('train')[0]}.gz"
    sizes = b"".join(size.to_bytes(4, "big") for size in (8_500_000, 28, 28))
    file.write_bytes(gzip.compress(b"\0\0\x08\x03" + sizes + bytes(10**6)))


def more_than_it_says(folder):
    file = folder / f"{names('train')[0]}.gz"
    with gzip.open(file, "ab") as stream:  # of which no more than one byte is to be unpacked
        for _ in range(20):
            stream.write(bytes(10**6))


@pytest.mark.parametrize("spoil", [bomb, more_than_it_says])
def test_no_more_is_unpacked_than_the_header_says(folder, spoil):
    """Of 20 MB behind the values, and of none where the header says more than there may be."""
    spoil(folder)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="train-images"):
            load_fashion_mnist(folder)
        assert tracemalloc.get_traced_memory()[1] < 900_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            remove,
            r"hold t10k-labels-idx1-ubyte or .*\.gz, got .* without either; download the four",
        ),
        (truncate_gz, r"train-images.*\.gz to be a whole gzip file, got: .*; download it again"),
        (not_gz, r"train-labels.*\.gz to be a whole gzip file, got: Not a gzipped file"),
        (swap, r"t10k-labels.* magic number 00000801 .* and with 1 sizes, got 00000803"),
        (truncate_plain, r"t10k-images.* to hold 28 x 28 x 28 values.*, got 21852; download"),
        (cut_header, r"magic number 00000803 .* with 3 sizes, got 00000803000000; download"),
        (empty, r"magic number 00000803 .*, got nothing; download"),
        (too_wide, r"images of 28 x 28 pixels in .*t10k-images.*, got 28 x 30"),
        (one_label_less, r"as many labels in .*t10k-labels.*, got 27 labels and 28 images"),
        (bomb, r"train-images.*at most 1,073,741,824 values, got 8500000 x 28 x 28 in its header"),
        (more_than_it_says, r"train-images.* 120 x 28 x 28 values.*, got more; download"),
        (class_ten, r"labels 0 to 9 in .*t10k-labels.*, got 10; download"),
    ],
)
def test_bad_files_are_refused_in_words(folder, spoil, message):
    spoil(folder)

    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        load_fashion_mnist(folder)

    assert "https://github.com/zalandoresearch/fashion-mnist" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"training_samples": 101},
            "training_samples to be a whole number from 1 to 100, .* got 101",
        ),
        ({"validation_samples": 0}, "validation_samples .* from 1 to 20, .* got 0"),
        ({"test_samples": 2.5}, "test_samples .* from 1 to 28, .* or null for all, got 2.5"),
        ({"image_size": [28]}, r"image_size to be \[H, W\] in pixels, got \[28\]"),
        ({"image_size": [28, 0]}, r"image_size to be \[H, W\] in pixels, got \[28, 0\]"),
    ],
)
def test_bad_arguments_are_refused_in_words(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        load_fashion_mnist(folder, **arguments)


def test_too_few_images_to_hold_one_out(folder):
    for name, values in zip(names("train"), contents("train"), strict=True):
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx(values[:5])))

    with pytest.raises(ValueError, match=r"at least 6 training images, .* got 5"):
        load_fashion_mnist(folder)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no Fashion-MNIST in {REAL}")
def test_the_real_files():
    data = load_fashion_mnist(REAL)

    assert data.training.labels.bincount().tolist() == [5000] * 10
    assert data.validation.labels.bincount().tolist() == [1000] * 10
    assert data.test.labels.bincount().tolist() == [1000] * 10
    together = torch.cat([data.training.inputs, data.validation.inputs])
    assert together.mean().item() == pytest.approx(0.2860, abs=1e-4)  # as published
    assert data.test.labels[:5].tolist() == [9, 2, 1, 1, 6]


def test_another_number_of_classes_is_refused(folder):
    with pytest.raises(ValueError, match=r"num_classes = 50 classes in .*, got 10: "):
        load_fashion_mnist(folder, num_classes=50)
