"""Settings within what a config does not have are named, with the nearest that it has."""

import pytest
from bundle_run import ROOT
from monai.bundle import ConfigWorkflow

from monai_ima.config_checks import check_overrides
from monai_ima.errors import RejectedError

TRAIN = ROOT / "bundles" / "moons_ima" / "train.json"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "trian#dataloader#batch_size",
            "no trian; did you mean --train#dataloader#batch_size?",
        ),
        ("train::dataloder::batch_size", "no train#dataloder; did you mean --train#dataloader#"),
        ("train#handlers#99#x", "no train#handlers#99"),
        ("train#handlers#x", "no train#handlers#x"),
        ("seed#x", "no seed#x"),
    ],
)
def test_what_monai_cannot_set_is_named(name, said):
    with pytest.raises((KeyError, IndexError, ValueError)):
        ConfigWorkflow(str(TRAIN), logging_file=False, **{name: 1})
    with pytest.raises(RejectedError) as caught:
        check_overrides([TRAIN], ["seed", name])
    assert f"got --{name}, where there is {said}" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["train#trainer#amp", "+train#handlers", "train#handlers#0", "own"]
)
def test_what_monai_sets_passes(name):
    check_overrides([TRAIN], [name])
