"""SVHN from its own .mat files: read as they are, refused in words."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from monai_ima.data import load_svhn
from monai_ima.data.mat_file import read_arrays

COUNTS = {"train": 60, "test": 20}


def contents(part):
    """X and y as SVHN has them: images last, 10 for the digit 0."""
    rng = np.random.default_rng(len(part))
    count = COUNTS[part]
    images = rng.integers(0, 256, (32, 32, 3, count)).astype(np.uint8)
    return images, (rng.permutation(count) % 10 + 1).astype(np.uint8)[:, None]


def write(folder, part, images, labels):
    savemat(folder / f"{part}_32x32.mat", {"X": images, "y": labels}, do_compression=True)


@pytest.fixture
def folder(tmp_path):
    for part in COUNTS:
        write(tmp_path, part, *contents(part))
    return tmp_path


def test_every_image_is_in_one_part_with_its_pixels_and_digit(folder):
    data = load_svhn(folder)

    for part, found in {"train": (data.training, data.validation), "test": (data.test,)}.items():
        images, labels = contents(part)
        rows = [[int(name.partition(":")[2]) for name in samples.ids] for samples in found]
        assert sorted(np.concatenate(rows)) == [*range(COUNTS[part])]
        for samples, chosen in zip(found, rows, strict=True):
            assert samples.inputs.dtype == torch.float32
            assert samples.inputs.shape == (len(chosen), 3, 32, 32)
            digits = [{10: 0}.get(label, label) for label in labels[chosen, 0].tolist()]
            assert samples.labels.tolist() == digits
            for place, row in enumerate(chosen):
                pixels = samples.inputs[place].permute(1, 2, 0).numpy() * 255
                np.testing.assert_allclose(pixels, images[..., row], atol=1e-4)
    assert data.validation.labels.bincount().tolist() == [1] * 10
    assert data.classes[0] == "0"


def test_numbers_of_samples_are_in_proportion(folder):
    data = load_svhn(folder, training_samples=20, validation_samples=5, test_samples=10, seed=3)

    assert [len(part) for part in (data.training, data.validation, data.test)] == [20, 5, 10]
    assert data.training.labels.bincount().tolist() == [2] * 10
    assert data.test.labels.bincount().tolist() == [1] * 10


@pytest.mark.parametrize("dtype", [np.int32, np.float64])
def test_labels_of_other_types_are_read(folder, dtype):
    images, labels = contents("test")
    before = load_svhn(folder).test.labels
    write(folder, "test", images, labels.astype(dtype))

    assert torch.equal(load_svhn(folder).test.labels, before)


def remove(folder):
    (folder / "train_32x32.mat").unlink()


def truncate(folder):
    file = folder / "train_32x32.mat"
    file.write_bytes(file.read_bytes()[:-5000])


def web_page(folder):
    (folder / "train_32x32.mat").write_text("<html>not found</html>" * 20)


def no_images(folder):
    savemat(folder / "train_32x32.mat", {"y": contents("train")[1]})


def floats(folder):
    images, labels = contents("train")
    write(folder, "train", images / 255, labels)


def images_first(folder):
    images, labels = contents("train")
    write(folder, "train", images.transpose(3, 0, 1, 2), labels)


def one_label_less(folder):
    images, labels = contents("train")
    write(folder, "train", images, labels[1:])


def label_zero(folder):
    images, labels = contents("train")
    write(folder, "train", images, labels % 10)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            remove,
            r"hold train_32x32.mat and test_32x32.mat, got .* without train_32x32.mat; download",
        ),
        (truncate, r"train_32x32.mat to be a whole MATLAB file, got: .+; download it again"),
        (web_page, r"train_32x32.mat to be a whole MATLAB file, got: .+; download it again"),
        (no_images, r"X, bytes \(32, 32, 3, N\), .* got X float64 \(0,\) and y \(60, 1\)"),
        (floats, r"got X float64 \(32, 32, 3, 60\)"),
        (images_first, r"got X uint8 \(60, 32, 32, 3\)"),
        (one_label_less, r"got X uint8 \(32, 32, 3, 60\) and y \(59, 1\)"),
        (label_zero, r"labels 1 to 10 in .*train_32x32.mat, got 0; download"),
    ],
)
def test_bad_files_are_refused_in_words(folder, spoil, message):
    spoil(folder)

    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        load_svhn(folder)

    assert "http://ufldl.stanford.edu/housenumbers/" in str(caught.value)


# --- damaged files --------------------------------------------------------------------------------

SHARED = Path(os.environ.get("MONAI_IMA_DATA", Path(__file__).parents[3] / "shared" / "data"))
SEGFAULT = SHARED.parent / "findings" / "files" / "segfault.mat"


def element(kind, content):
    padding = bytes(-len(content) % 8)
    return struct.pack("<II", kind, len(content)) + content + padding


def array(name, shape, values, kind=2, flags=9):
    return element(
        14,
        element(6, struct.pack("<II", flags, 0))
        + element(5, struct.pack(f"<{len(shape)}i", *shape))
        + element(1, name.encode())
        + element(kind, values),
    )


def mat(*elements, compressed=True):
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    if compressed:
        packed = [zlib.compress(one) for one in elements]
        elements = [struct.pack("<II", 15, len(one)) + one for one in packed]
    return header + b"".join(elements)


IMAGE = bytes(32 * 32 * 3)
Y = array("y", (1, 1), b"\x0a")
DAMAGED = {
    "sizes larger than the values": mat(array("X", (32, 32, 3, 2**20), IMAGE), Y),
    "negative sizes": mat(array("X", (-32, -32, 3, 1), IMAGE), Y),
    "numbers of an unknown type": mat(array("X", (32, 32, 3, 1), IMAGE, kind=77), Y),
    "another class": mat(array("X", (32, 32, 3, 1), IMAGE, flags=1), Y),
    "complex": mat(array("X", (32, 32, 3, 1), IMAGE, flags=9 | 0x800), Y),
    "an element beyond the end": mat(compressed=False) + struct.pack("<II", 14, 2**31),
    "half an element": mat(compressed=False) + b"123",
    "a large small element": mat(compressed=False) + struct.pack("<II", 9 << 16 | 1, 0) + bytes(8),
    "compressed within compressed": mat(mat(Y)[128:]),
    "nothing compressed": mat(b""),
    "a bomb": mat(struct.pack("<II", 14, 2**31 + 8) + bytes(10**6)),
    "more than it says": mat(Y + bytes(10**6)),
    "fewer than it says": mat(Y[:-8]),
    "no array": mat(element(14, element(1, b"y"))),
    "version 4": bytes(200),
    "version 7.3": b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(100),
    "empty": b"",
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_refused(folder, case):
    (folder / "train_32x32.mat").write_bytes(DAMAGED[case])

    with pytest.raises(ValueError, match=r"train_32x32.mat to be a whole MATLAB file, got: .+; do"):
        load_svhn(folder)


@pytest.mark.skipif(not SEGFAULT.is_file(), reason=f"no {SEGFAULT}")
def test_the_file_that_ends_scipys_interpreter_is_refused(folder):
    for part in COUNTS:
        (folder / f"{part}_32x32.mat").write_bytes(SEGFAULT.read_bytes())

    with pytest.raises(ValueError, match=r"train_32x32.mat to .*"):
        load_svhn(folder)


@pytest.mark.parametrize("compressed", [True, False])
def test_arrays_by_hand_and_by_scipy_are_read_alike(folder, compressed):
    before = load_svhn(folder)
    for part in COUNTS:
        images, labels = contents(part)
        other = array("other", (2, 1), b"ab")
        (folder / f"{part}_32x32.mat").write_bytes(
            mat(
                other,
                array("X", images.shape, images.tobytes(order="F")),
                array("y", labels.shape, labels.tobytes(), flags=6),
                compressed=compressed,
            )
        )

    assert load_svhn(folder).fingerprint == before.fingerprint


def test_no_mutation_ends_in_another_error(folder):
    file = folder / "train_32x32.mat"
    images = np.zeros((32, 32, 3, 1), np.uint8)
    for compressed in (True, False):
        savemat(file, {"X": images, "y": np.uint8([[1]])}, do_compression=compressed)
        whole = file.read_bytes()
        rng = np.random.default_rng(0)
        for _ in range(200):
            changed = bytearray(whole)
            for place in rng.integers(124, min(len(whole), 400), rng.integers(1, 4)):
                changed[place] = rng.integers(256)
            file.write_bytes(changed[: rng.integers(len(whole) // 2, 2 * len(whole))])
            try:
                read_arrays(file, ("X", "y"), most_bytes=2**20)
            except (ValueError, zlib.error) as error:
                assert str(error)  # noqa: PT017 - it may as well be read


def test_another_number_of_classes_is_refused(folder):
    with pytest.raises(ValueError, match=r"num_classes = 50 classes in .*, got 10: "):
        load_svhn(folder, num_classes=50)
