"""Risk against coverage, in cases that are known."""

import pytest
import torch

from monai_ima.robustness.selective import area_under_risk, risk_at_coverage


def test_risk_is_the_share_of_errors_among_the_highest_scores():
    wrong = torch.tensor([True, False, False, True, False])
    score = torch.tensor([0.1, 0.9, 0.3, 0.5, torch.inf])
    expected = torch.tensor([0, 0, 1 / 3, 1 / 4, 2 / 5]).double()
    torch.testing.assert_close(risk_at_coverage(wrong, score), expected)
    assert area_under_risk(wrong, score) == pytest.approx(float(expected.mean()))


def test_equal_scores_are_in_no_order():
    wrong = torch.tensor([True, False, False, False])
    constant = torch.zeros(4)
    assert torch.equal(risk_at_coverage(wrong, constant), torch.full((4,), 0.25).double())
    assert torch.equal(risk_at_coverage(wrong.flip(0), constant), torch.full((4,), 0.25).double())


def test_scale_of_the_score_changes_nothing_and_its_sign_does():
    wrong = torch.tensor([False, False, True, True, False])
    score = torch.tensor([5.0, 4, 1, 0, 3])
    assert area_under_risk(wrong, score) == area_under_risk(wrong, score.exp())
    # the two errors last: 0, 0, 0, 1/4, 2/5; first: 1, 1, 2/3, 2/4, 2/5
    assert area_under_risk(wrong, score) == pytest.approx((1 / 4 + 2 / 5) / 5)
    assert area_under_risk(wrong, -score) == pytest.approx((1 + 1 + 2 / 3 + 2 / 4 + 2 / 5) / 5)
