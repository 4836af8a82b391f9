"""Digests of the content of samples."""

import hashlib
import os

import torch

from monai_ima.data import TensorSamples, hash_of_item
from monai_ima.data.content import contents


def digest(content):
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def test_of_files_and_of_folders_and_lists_of_files(tmp_path):
    for name, text in {"a": "one", "b": "two", "c/1": "one", "c/2": "two"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    a, b, c = (str(tmp_path / name) for name in "abc")
    both = digest((digest(b"one") + digest(b"two")).encode())

    found = contents([{"image": image} for image in (a, b, c, [a, b])])
    assert found == [digest(b"one"), digest(b"two"), both, both]


def test_of_tensors_it_is_of_each_row():
    inputs = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, -1.0]])
    samples = TensorSamples(inputs, torch.zeros(3).long(), ids=["a", "b", "c"])
    assert contents(samples) == [digest(row.numpy().tobytes()) for row in inputs]
    assert len(set(contents(samples))) == 2


def test_a_sample_is_kept_under_another_name_when_its_file_or_label_changes(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    item = {"image": str(path), "label": 1}
    names = [hash_of_item(item), hash_of_item({"label": 1, "image": str(path)})]
    assert names[0] == names[1]
    names.append(hash_of_item(item | {"label": 2}))
    path.write_bytes(b"three")
    names.append(hash_of_item(item))
    path.write_bytes(b"seven")  # as long
    os.utime(path, ns=(1, 1))
    names.append(hash_of_item(item))
    assert len(set(names)) == 4
