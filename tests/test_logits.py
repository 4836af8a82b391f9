"""What a model returns, read as logits."""

import pytest
import torch
from models import FORMS, Output

from monai_ima.logits import is_single_output, logits_of


def some_logits(samples=4):
    return torch.randn(samples, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("samples", [4, 1, 3, 2])
def test_every_form_gives_the_logits_that_it_means(form, samples):
    returned, meant = FORMS[form]
    logits = some_logits(samples)
    assert torch.equal(logits_of(returned(logits), samples), meant(logits))


def test_a_lone_sample_may_lack_its_dimension():
    logits = some_logits(1)
    assert torch.equal(logits_of(logits[0], 1), logits)


def test_logits_are_handed_back_as_they_are():
    logits = some_logits()
    assert logits_of(logits, 4) is logits


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_single(dtype):
    logits = some_logits().to(dtype).requires_grad_()
    read = logits_of(logits, 4)
    assert read.dtype == torch.float32
    assert torch.equal(read, logits.float())
    read.sum().backward()
    assert logits.grad.dtype == dtype


def test_double_precision_stays():
    assert logits_of(some_logits().double(), 4).dtype == torch.float64


def test_gradient_of_a_single_output():
    output = torch.tensor([[0.5], [-2.0]], requires_grad=True)
    torch.nn.functional.cross_entropy(logits_of(output, 2), torch.tensor([1, 0])).backward()
    # of binary cross-entropy: sigmoid less label, a mean
    expected = (output.detach().sigmoid() - torch.tensor([[1.0], [0.0]])) / 2
    torch.testing.assert_close(output.grad, expected)


def test_single_outputs_are_known_again():
    assert is_single_output(logits_of(torch.randn(4, 1), 4))
    assert not is_single_output(torch.randn(4, 2))
    assert not is_single_output(torch.zeros(4, 3))


@pytest.mark.parametrize(
    ("outputs", "got"),
    [
        (torch.zeros(3, 3), r"got \(3, 3\) of torch.float32"),
        (torch.zeros(4, 3, 2), r"got \(4, 3, 2\)"),
        (torch.zeros(4, 0), r"got \(4, 0\)"),
        (torch.zeros(3), r"got \(3,\)"),
        (torch.tensor(0.0), r"got \(\)"),
        (torch.arange(4), r"got \(4,\) of torch.int64"),
        (torch.zeros(4, 3, dtype=torch.complex64), "got .* of torch.complex64"),
        ({}, "a dictionary with nothing"),
        ({"a": torch.zeros(4, 3), "b": torch.zeros(4, 3)}, "a dictionary with 'a', 'b'"),
        ({"logits": "none"}, "a dictionary with 'logits'"),
        ((), "a tuple that begins with nothing"),
        ((None, torch.zeros(4, 3)), "a tuple that begins with a NoneType"),
        ([torch.zeros(4, 3, 2)], r"a list that begins with \(4, 3, 2\)"),
        (Output(torch.zeros(4, 3), torch.zeros(4, 3, 2)), "a Output that begins with"),
        (None, "a NoneType"),
    ],
)
def test_anything_else_is_refused_by_what_it_is(outputs, got):
    with pytest.raises(ValueError, match=rf"logits of shape \(4, classes\).*{got}.*network_def"):
        logits_of(outputs, 4)
