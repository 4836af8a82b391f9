"""Synthetic clothes and house numbers: in the real files' form, reproducible, and telling."""

import numpy as np
import pytest
import torch

from monai_ima.data import (
    load_fashion_mnist,
    load_svhn,
    write_synthetic_fashion,
    write_synthetic_svhn,
)

KINDS = {
    "fashion": (write_synthetic_fashion, load_fashion_mnist, (1, 28, 28)),
    "svhn": (write_synthetic_svhn, load_svhn, (3, 32, 32)),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def test_what_is_written_is_read_by_the_reader_of_the_real_files(kind, tmp_path):
    write, load, shape = kind

    root = write(tmp_path / "new" / "data", training=120, test=30, seed=5)
    data = load(root)

    assert root == tmp_path / "new" / "data"
    assert data.training.inputs.shape == (100, *shape)
    assert data.training.labels.bincount().tolist() == [10] * 10
    assert data.validation.labels.bincount().tolist() == [2] * 10
    assert data.test.labels.bincount().tolist() == [3] * 10
    assert data.training.labels[:30].unique().numel() > 5  # not sorted by class
    assert data.test.inputs.flatten(1).std(dim=1).min() > 0.02
    assert len(data.test.inputs.unique(dim=0)) == 30


def test_same_seed_same_images(kind, tmp_path):
    write, load, _ = kind
    first, again, other = (
        load(write(tmp_path / name, training=12, test=3, seed=seed)).training
        for name, seed in (("a", 11), ("b", 11), ("c", 12))
    )

    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.inputs, other.inputs)


def test_the_same_settings_reuse_the_folder_and_others_are_refused(kind, tmp_path):
    write, _, _ = kind
    write(tmp_path / "data", training=6, test=1)
    files = {path: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    changed = next(path for path in files if path.suffix != ".json")
    changed.write_bytes(files[changed] + b"a user's own")

    write(tmp_path / "data", training=6, test=1)
    assert changed.read_bytes().endswith(b"a user's own")
    with pytest.raises(ValueError, match=r"expected .* to be written with .* choose another"):
        write(tmp_path / "data", training=6, test=2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"training": 5}, "training to be a whole number >= 6, got 5"),
        ({"test": 0}, "test to be a whole number >= 1, got 0"),
        ({"test": True}, "test .* got True"),
        ({"seed": -1}, "seed .* >= 0, got -1"),
    ],
)
def test_wrong_arguments_are_named(kind, tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        kind[0](tmp_path / "data", **{"training": 6, "test": 1} | wrong)
    assert list(tmp_path.iterdir()) == []


def nearest_mean_accuracy(data):
    """Of the test images, to the nearest class mean of the training images: no network."""
    images, labels = data.training.inputs.flatten(1), data.training.labels
    means = torch.stack([images[labels == label].mean(dim=0) for label in range(10)])
    predicted = torch.cdist(data.test.inputs.flatten(1), means).argmin(dim=1)
    return (predicted == data.test.labels).float().mean().item()


def test_class_means_tell_most_clothes_but_not_all(tmp_path):
    data = load_fashion_mnist(write_synthetic_fashion(tmp_path / "data", training=600, test=200))

    assert 0.4 < nearest_mean_accuracy(data) < 0.9
    assert (data.training.inputs == 0).float().mean() > 0.3  # on black, as the real ones


def test_digits_are_told_by_shape_and_not_by_colour(tmp_path):
    data = load_svhn(write_synthetic_svhn(tmp_path / "data", training=600, test=100))

    assert nearest_mean_accuracy(data) < 0.3  # dark on light or light on dark, in any colour
    colours = data.training.inputs.mean(dim=(2, 3))
    classes = np.array([colours[data.training.labels == k].mean(dim=0).numpy() for k in range(10)])
    assert np.ptp(classes, axis=0).max() < colours.std(dim=0).min()
