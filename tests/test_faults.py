"""A condition raises, or is written down for whoever asks in the end."""

import pytest
import torch

from monai_ima.faults import any_fault, require, written_down

TRUE, FALSE = torch.tensor(True), torch.tensor(False)


def error():
    return ValueError("expected more")


def test_what_does_not_hold_raises():
    require(TRUE, error)
    with pytest.raises(ValueError, match="expected more"):
        require(FALSE, error)


@pytest.mark.parametrize("inner", [TRUE, FALSE])
@pytest.mark.parametrize("outer", [TRUE, FALSE])
def test_it_is_written_down_in_the_innermost_book(inner, outer):
    with written_down() as book:
        require(outer, error)
        with written_down() as another:
            require(inner, error)
        require(outer, error)
    assert any_fault(book, TRUE).item() is not outer.item()
    assert any_fault(another, TRUE).item() is not inner.item()
    assert (len(book), len(another)) == (2, 1)
    require(TRUE, error)
    with pytest.raises(ValueError, match="expected more"):
        require(FALSE, error)


def test_a_book_is_closed_by_an_error():
    with pytest.raises(RuntimeError), written_down():
        raise RuntimeError
    with pytest.raises(ValueError, match="expected more"):
        require(FALSE, error)


def test_an_empty_book_has_no_fault():
    assert not any_fault([], TRUE)
