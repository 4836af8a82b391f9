"""Cases that are unlike all on which a model was validated."""

import pytest
import torch

from monai_ima.prediction.unlike import levels_of, unlike

SAMPLES = torch.tensor([[0.1, 0.3], [0.2, 0.6]]).reshape(2, 1, 1, 2)


def test_levels_are_the_ends_of_mean_and_deviation():
    levels = levels_of(SAMPLES - 1, low=-1)

    assert levels["mean"] == pytest.approx((0.2, 0.4))
    assert levels["standard deviation"] == pytest.approx((0.1, 0.2))


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ([0.1, 0.3], ""),
        ([0.06, 0.2], ""),  # half as bright, nearly
        ([0.1, 0.85], ""),
        ([0.01, 0.03], "mean 0.02, of the validation samples 0.2 to 0.4; standard deviation 0.01"),
        ([0.8, 0.95], "mean 0.88, of"),
        ([0.3, 0.3], "samples: standard deviation 0, of the validation samples 0.1 to 0.2; its"),
    ],
)
def test_a_case_beyond_twice_their_range_is_named_with_the_reason(case, said):
    found = unlike(torch.tensor(case).reshape(1, 1, 2), levels_of(SAMPLES, 0), 0)

    assert said in found
    assert bool(found) == bool(said)


def test_where_nothing_is_known_nothing_is_said():
    assert unlike(torch.zeros(1, 2, 2), {}, 0) == ""
