"""Margins of validation samples, as a file keeps them."""

import json
import math

import pytest
import torch

from monai_ima.handlers.json_file import digest
from monai_ima.prediction import ReferenceMargins
from monai_ima.robustness import get_protocol


@pytest.fixture
def written(tmp_path):
    reference = ReferenceMargins(
        {
            "linf": torch.tensor([0.3, math.inf, 0.1], dtype=torch.float64),
            "l2": torch.ones(3).double(),
        },
        get_protocol("minimum_norm", steps=40),
        (0.0, 1.0),
        "the 3 validation samples of the training",
        {"mean": (0.25, 0.5)},
    )
    reference.write(tmp_path / "margins.json")
    return reference, tmp_path / "margins.json"


def test_file_has_all_of_it(written):
    reference, path = written
    read = ReferenceMargins.read(path)
    assert read.margins["linf"].tolist() == [0.1, 0.3, math.inf]
    assert read.margins["l2"].tolist() == [1, 1, 1]
    assert (read.protocol, read.bounds, read.source, read.levels) == (
        reference.protocol,
        reference.bounds,
        reference.source,
        reference.levels,
    )


def test_a_file_of_an_earlier_version_has_no_levels(written):
    changed(written[1], lambda content: content.pop("levels"))
    assert ReferenceMargins.read(written[1]).levels == {}


def changed(path, change):
    content = json.loads(path.read_text())
    change(content)
    content.pop("sha256")
    path.write_text(json.dumps({**content, "sha256": digest(content)}))


def test_margins_of_another_version_of_the_attack_are_rejected(written):
    changed(written[1], lambda content: content["protocol"].update(version=0))
    with pytest.raises(ValueError, match=r"expected margins by version .* export the run again"):
        ReferenceMargins.read(written[1])


def test_damaged_files_are_rejected(written):
    path = written[1]
    whole = path.read_text()
    path.write_text(whole.replace("0.3", "0.4"))
    with pytest.raises(ValueError, match="changed after it had been written"):
        ReferenceMargins.read(path)
    path.write_text(whole[:100])
    with pytest.raises(ValueError, match="a damaged file"):
        ReferenceMargins.read(path)
    path.write_text(whole)
    changed(path, lambda content: content.pop("margins"))
    with pytest.raises(ValueError, match="'margins'"):
        ReferenceMargins.read(path)
