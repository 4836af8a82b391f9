"""The parts of a training: its data once, its network as often as it begins anew."""

import pytest
import torch
from bundle_run import ROOT

from monai_ima.errors import RejectedError
from monai_ima.planning import TrainingParts

MOONS = ROOT / "bundles" / "moons_ima" / "train.json"


def weights(parts):
    return torch.cat([values.flatten() for values in parts["network"].state_dict().values()])


def test_data_stay_where_the_network_is_new():
    parts = TrainingParts([MOONS], training_samples=50)
    parts.begin_anew(3)
    first, data = weights(parts), parts["train::dataset"]
    parts.begin_anew(3)
    assert torch.equal(weights(parts), first)
    parts.begin_anew(4, eps_max=0.5, delta=0.25)
    assert not torch.equal(weights(parts), first)
    assert parts["train::dataset"] is data
    margins = parts["objective"].margins
    assert (margins.eps_max, margins.delta, len(margins)) == (0.5, 0.25, 50)
    (group,) = parts["optimizer"].param_groups
    assert {id(each) for each in group["params"]} == set(map(id, parts["network"].parameters()))


def test_weights_do_not_depend_on_what_is_read_before_they_are_asked_for():
    parts = TrainingParts([MOONS], training_samples=50)
    parts.begin_anew(3)
    first = weights(parts)
    parts.begin_anew(3)
    torch.rand(7)  # as a data loader does
    assert torch.equal(weights(parts), first)


def test_what_cannot_be_built_is_named(tmp_path):
    with pytest.raises(RejectedError, match=r"there is no .*train.json"):
        TrainingParts([tmp_path / "train.json"])
    with pytest.raises(RejectedError, match=r"norm to be one of .* and expected num_classes to be"):
        TrainingParts([MOONS], num_classes=1, norm="l3")
    parts = TrainingParts([MOONS], training_samples=50)
    with pytest.raises(RejectedError, match="Unsupported option 'no_such_part'"):
        parts["no_such_part"]
