import torch
import torch.nn.functional as F

from monai_ima.losses import cross_entropy, soft_margin


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
