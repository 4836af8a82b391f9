import pytest
import torch
import torch.nn.functional as F

from monai_ima.losses import (
    cross_entropy,
    hard_margin,
    logit_scale,
    soft_margin,
    soft_margin_slope,
    targeted_dlr,
)


def test_soft_margin_by_hand():
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 5.0, 0.0]])
    values = soft_margin(logits, torch.tensor([0, 1]))
    expected = torch.tensor([3.0 + 0.3132617, -5.0 + 0.6931472])  # 3 + log(1 + e^-1) - 1 + 1, log 2
    torch.testing.assert_close(values, expected - torch.tensor([1.0, 0.0]))


def test_cross_entropy_is_softplus_of_the_soft_margin():
    logits, labels = 4 * torch.randn(9, 5, dtype=torch.float64), torch.arange(9) % 5
    torch.testing.assert_close(
        F.softplus(soft_margin(logits, labels)), cross_entropy(logits, labels)
    )


def test_soft_margin_keeps_the_gradient_that_cross_entropy_loses():
    logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    labels = torch.tensor([0])
    (lost,) = torch.autograd.grad(cross_entropy(logits, labels).sum(), logits)
    (kept,) = torch.autograd.grad(soft_margin(logits, labels).sum(), logits)
    assert (lost == 0).all()
    torch.testing.assert_close(kept, torch.tensor([[-1.0, 0.5, 0.5]]))


@pytest.mark.parametrize("classes", [2, 5])
def test_the_slope_of_the_soft_margin_is_what_autograd_finds(classes):
    logits = (9 * torch.randn(12, classes, dtype=torch.float64)).requires_grad_()
    labels = torch.arange(12) % classes
    (expected,) = torch.autograd.grad(soft_margin(logits, labels).sum(), logits)
    torch.testing.assert_close(soft_margin_slope(logits.detach(), labels), expected)


def test_hard_margin_by_hand():
    logits = torch.tensor([[1.0, 2.0, 4.0], [0.0, 5.0, 1.0]])
    values = hard_margin(logits, torch.tensor([0, 1]))
    torch.testing.assert_close(values, torch.tensor([3.0, -4.0]))


def test_hard_margin_is_the_limit_of_the_soft_margin():
    logits, labels = torch.randn(9, 5, dtype=torch.float64), torch.arange(9) % 5
    torch.testing.assert_close(
        soft_margin(1e6 * logits, labels) / 1e6, hard_margin(logits, labels), rtol=0, atol=1e-5
    )


def test_targeted_dlr_by_hand():
    logits = torch.tensor([[6.0, 1.0, 3.0, 2.0, 0.0], [6.0, 1.0, 3.0, 2.0, 0.0]])
    values = targeted_dlr(logits, torch.tensor([0, 3]), torch.tensor([2, 0]))
    torch.testing.assert_close(values, torch.tensor([-3.0, 4.0]) / (6 - (2 + 1) / 2))


def test_targeted_dlr_is_a_plain_difference_where_classes_are_few():
    logits = torch.tensor([[6.0, 1.0, 3.0]])
    assert targeted_dlr(logits, torch.tensor([0]), torch.tensor([2])).item() == -3


def test_targeted_dlr_where_all_logits_are_the_same():
    logits = torch.ones(1, 5, requires_grad=True)
    value = targeted_dlr(logits, torch.tensor([0]), torch.tensor([2]))
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert value.item() == 0
    assert gradient.isfinite().all()


@pytest.mark.parametrize("classes", [4, 7])
def test_neither_shift_nor_scale_of_the_logits_changes_the_targeted_dlr(classes):
    logits = torch.randn(9, classes, dtype=torch.float64)
    labels, targets = torch.arange(9) % 3, torch.full((9,), 3)
    expected = targeted_dlr(logits, labels, targets)
    torch.testing.assert_close(targeted_dlr(1000 * logits - 7, labels, targets), expected)


def test_logit_scale_brings_every_sample_to_one_confidence():
    logits = torch.randn(9, 5, dtype=torch.float64) * torch.logspace(-3, 3, 9)[:, None]
    scaled = logits * logit_scale(logits)[:, None]
    torch.testing.assert_close(
        scaled.amax(dim=1) - scaled.mean(dim=1), torch.full((9,), 8.0, dtype=torch.float64)
    )
    assert (logit_scale(torch.full((2, 3), 5.0)) == 1).all()
