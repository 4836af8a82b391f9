import math

import pytest
import torch
from hypothesis import given, strategies as st

from monai_ima.margins import MarginStore


def test_algorithm_2_by_hand():
    store = MarginStore(7, delta=0.1, eps_max=0.5)
    store.margins[:] = torch.tensor([0.3, 0.3, 0.3, 0.45, 0.3, 0.2, 0.4])
    index = torch.tensor([5, 4, 3, 2, 1, 0])
    store.update(
        index,
        correct=torch.tensor([False, True, True, True, True, False]),
        crossed=torch.tensor([False, True, False, False, True, True]),
        distance=torch.tensor([0.0, 0.25, 0.45, 0.3, 0.03, 0.02]),
    )
    # In order: wrong, shrunk to below delta, expanded, expanded beyond eps_max, shrunk, wrong, not named.
    expected = torch.tensor([0.1, 0.1, 0.4, 0.5, 0.25, 0.1, 0.4])
    torch.testing.assert_close(store.margins, expected)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_of_a_sample_that_is_named_twice_the_smaller_margin_counts(order):
    store = MarginStore(3, delta=0.1, eps_max=0.5)
    crossed = torch.tensor([True, True])
    distance = torch.tensor([0.2, 0.4])[order]
    store.update(torch.tensor([2, 2]), correct=crossed, crossed=crossed, distance=distance)
    torch.testing.assert_close(store.margins, torch.tensor([0.1, 0.1, 0.2]))


@given(data=st.data(), size=st.integers(1, 9))
def test_margins_stay_between_delta_and_eps_max(data, size):
    store = MarginStore(size, delta=0.1, eps_max=0.3)
    flags = st.lists(st.booleans(), min_size=size, max_size=size)
    lengths = st.lists(st.floats(0, 1), min_size=size, max_size=size)
    for _ in range(3):
        store.update(
            torch.arange(size),
            correct=torch.tensor(data.draw(flags)),
            crossed=torch.tensor(data.draw(flags)),
            distance=torch.tensor(data.draw(lengths)),
        )
        assert store.margins.min() >= torch.tensor(0.1)
        assert store.margins.max() <= torch.tensor(0.3)


def test_margins_start_at_delta_and_are_read_by_index():
    store = MarginStore(3, delta=0.1, eps_max=0.3)
    torch.testing.assert_close(store[torch.tensor([2, 0])], torch.tensor([0.1, 0.1]))
    store.margins[2] = 0.2
    torch.testing.assert_close(store[torch.tensor([2, 0])], torch.tensor([0.2, 0.1]))


def test_state_is_a_tensor_and_another_size_is_refused(tmp_path):
    store = MarginStore(3, delta=0.1, eps_max=0.3)
    store.margins[1] = 0.25
    torch.save(store.state_dict(), tmp_path / "margins.pt")
    state = torch.load(tmp_path / "margins.pt", weights_only=True)
    fresh = MarginStore(3, delta=0.1, eps_max=0.3)
    fresh.load_state_dict(state)
    assert torch.equal(fresh.margins, store.margins)
    with pytest.raises(RuntimeError, match="size mismatch for margins"):
        MarginStore(4, delta=0.1, eps_max=0.3).load_state_dict(state)


@pytest.mark.parametrize("margin", [0.05, 0.31, -1.0, math.inf, math.nan])
def test_margins_that_no_update_gives_are_rejected(margin):
    store = MarginStore(3, delta=0.1, eps_max=0.3)
    state = {"margins": torch.tensor([0.1, margin, 0.3])}
    with pytest.raises(RuntimeError, match=r"from delta=0.1 to eps_max=0.3, got 1 of 3 others"):
        store.load_state_dict(state)
    assert torch.equal(store.margins, torch.full((3,), 0.1))
    store.load_state_dict({"margins": torch.tensor([0.1, 0.2, 0.3])})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.1, 0.3), "at least one training sample, got 0"),
        ((5, 0.0, 0.3), "0 < delta <= eps_max, got delta=0.0"),
        ((5, -0.1, 0.3), "0 < delta <= eps_max, got delta=-0.1"),
        ((5, 0.1, 0.0), "got delta=0.1 and eps_max=0.0"),
        ((5, 0.4, 0.3), "got delta=0.4 and eps_max=0.3"),
        ((5, float("nan"), 0.3), "got delta=nan"),
        ((5, 0.1, float("inf")), "eps_max=inf"),
    ],
)
def test_bad_sizes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MarginStore(*arguments)


@pytest.mark.parametrize("index", [-1, 3])
def test_unknown_sample_is_refused(index):
    store = MarginStore(3, delta=0.1, eps_max=0.3)
    with pytest.raises(IndexError, match="indices from 0 to 2"):
        store[torch.tensor([0, index])]
