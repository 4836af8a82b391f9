import pytest
import torch
from hypothesis import given, strategies as st
from torch.utils.data import DataLoader

from monai_ima.data import BatchSampler, TensorDatalist, TensorSamples


def samples(n=7, **overrides):
    arguments = {
        "inputs": torch.rand(n, 1, 5),
        "labels": torch.arange(n) % 3,
        "ids": [f"s{i}" for i in range(n)],
    }
    return TensorSamples(**arguments | overrides)


def test_batch_holds_the_rows_in_order():
    data = samples()
    batch = data[torch.tensor([5, 0])]
    assert torch.equal(batch["image"], data.inputs[[5, 0]])
    assert batch["label"].tolist() == [2, 0]
    assert batch["index"].tolist() == [5, 0]


def test_samples_name_what_is_known():
    assert samples(2).samples == [{"id": "s0", "label": 0}, {"id": "s1", "label": 1}]
    known = samples(2, patients=["a", "b"]).samples
    assert [sample["patient"] for sample in known] == ["a", "b"]


@pytest.mark.parametrize(
    "overrides", [{"labels": torch.zeros(6)}, {"ids": ["a"]}, {"patients": ["a"]}]
)
def test_numbers_that_differ_are_refused(overrides):
    with pytest.raises(ValueError, match="as many labels, ids and patients as inputs"):
        samples(**overrides)


def test_no_sample_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        samples(0)


def test_fingerprint_knows_training_inputs_and_labels():
    first, other = samples(), samples()
    same = TensorSamples(first.inputs.clone(), first.labels.clone(), ids=first.ids)
    relabelled = TensorSamples(first.inputs, first.labels.flip(0), ids=first.ids)

    def fingerprint(training):
        return TensorDatalist(training, other, other, ("a", "b", "c")).fingerprint

    assert fingerprint(first) == fingerprint(same)
    assert len({fingerprint(data) for data in (first, other, relabelled)}) == 3


LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=40).map(torch.tensor)


@given(
    labels=LABELS,
    batch_size=st.integers(1, 9),
    sampling=st.sampled_from(["sequential", "shuffled"]),
)
def test_every_sample_comes_once(labels, batch_size, sampling):
    sampler = BatchSampler(labels, batch_size, sampling=sampling)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    rows = torch.cat(batches)
    if sampling == "shuffled":
        rows = rows.sort().values
    assert torch.equal(rows, torch.arange(len(labels)))


@given(labels=LABELS, batch_size=st.integers(1, 9))
def test_balanced_epoch_has_each_class_as_often_as_the_largest(labels, batch_size):
    sampler = BatchSampler(labels, batch_size, sampling="balanced")
    batches = list(sampler)
    assert len(batches) == len(sampler)
    rows = torch.cat(batches)
    largest = labels.bincount().max()
    for label in labels.unique():
        times = rows[labels[rows] == label].bincount(minlength=len(labels))[labels == label]
        assert times.sum() == largest
        assert times.max() - times.min() <= 1


@given(labels=LABELS, epoch_size=st.integers(1, 100))
def test_balanced_epoch_of_a_given_size_is_balanced_up_to_chance(labels, epoch_size):
    rows = torch.cat(list(BatchSampler(labels, 4, sampling="balanced", epoch_size=epoch_size)))
    assert len(rows) == epoch_size
    each = -(-epoch_size // len(labels.unique()))
    assert labels[rows].bincount().max() <= each


def test_epochs_differ_and_a_seed_repeats_them():
    sampler = BatchSampler(torch.zeros(50).long(), 10, sampling="shuffled", epoch_size=20)
    torch.manual_seed(0)
    first, second = torch.cat(list(sampler)), torch.cat(list(sampler))
    torch.manual_seed(0)
    assert torch.equal(first, torch.cat(list(sampler)))
    assert len(first) == 20
    assert not torch.equal(first, second)


def test_loader_gives_whole_batches():
    data = samples()
    loader = DataLoader(data, batch_size=None, sampler=BatchSampler(data.labels, 3))
    assert len(loader) == 3
    assert [batch["label"].tolist() for batch in loader] == [[0, 1, 2], [0, 1, 2], [0]]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"sampling": "random"}, "sampling to be one of"),
        ({"batch_size": 0}, "batch_size to be a whole number"),
        ({"epoch_size": 2.5, "sampling": "balanced"}, "epoch_size to be a whole number"),
        ({"epoch_size": 2}, "no epoch_size with sequential"),
        ({"epoch_size": 9, "sampling": "shuffled"}, "at most the 7 samples"),
    ],
)
def test_bad_arguments_are_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        BatchSampler(torch.arange(7), **{"batch_size": 2} | overrides)
