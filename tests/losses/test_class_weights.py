import pytest
import torch
import torch.nn.functional as F

from monai_ima.losses import cross_entropy, mean_cross_entropy, weighted

LOGITS = 3 * torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 2, 1, 0, 0, 0])


def test_weighted_by_hand():
    losses = torch.tensor([1.0, 2.0, 4.0])
    weights = torch.tensor([10.0, 0.5])
    assert weighted(losses, torch.tensor([1, 0, 1]), weights).tolist() == [0.5, 20.0, 2.0]
    assert weighted(losses, torch.tensor([1, 0, 1]), None) is losses


def test_the_mean_is_over_samples_and_not_over_weights():
    weights = torch.tensor([3.0, 1.0, 2.0])
    repeated = torch.repeat_interleave(torch.arange(7), weights.long()[LABELS])
    expected = F.cross_entropy(LOGITS[repeated], LABELS[repeated], reduction="sum") / 7
    torch.testing.assert_close(mean_cross_entropy(LOGITS, LABELS, weights), expected)
    torch.testing.assert_close(cross_entropy(LOGITS, LABELS, weights).mean(), expected)


@pytest.mark.parametrize("count", [1, 5, 7])
def test_weights_of_one_are_the_ordinary_mean_and_its_gradient_bit_for_bit(count):
    found = []
    for weights in (None, torch.ones(3)):
        logits = LOGITS[:count].clone().requires_grad_()
        loss = mean_cross_entropy(logits, LABELS[:count], weights)
        found.append((loss, torch.autograd.grad(0.7 * loss, logits)[0]))
    (plain, gradient), (ones, other) = found
    assert torch.equal(plain, F.cross_entropy(LOGITS[:count], LABELS[:count]))
    assert torch.equal(plain, ones)
    assert torch.equal(gradient, other)
