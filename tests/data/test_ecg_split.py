"""The protocols: the paper's shares by chance, or no patient on two sides."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from monai_ima.data.ecg import CLASSES, EcgBeats, split_beats
from monai_ima.data.ecg.split import DS1, DS2, PACED

SETS = ("training", "validation", "test")


def beats_of(records, labels):
    """Beats with nothing but a record, and the patient as the reader of records names it."""
    records = np.asarray(records)
    count = len(records)
    return EcgBeats(
        beats=np.zeros((count, 187), dtype=np.float32),
        labels=np.asarray(labels),
        records=records,
        patients=np.where(records == "202", "201", records),
        positions=np.arange(count),
        symbols=np.full(count, "N"),
        leads=np.full(count, "MLII"),
    )


@pytest.fixture(scope="module")
def database():
    """All records, of different length and mixture, in no order."""
    rng = np.random.default_rng(0)
    names = [*DS1, *DS2, *PACED]
    sizes = rng.integers(20, 200, len(names))
    records = np.repeat(names, sizes)
    labels = rng.choice(5, len(records), p=[0.8, 0.05, 0.08, 0.02, 0.05])
    order = rng.permutation(len(records))
    return beats_of(records[order], labels[order])


@pytest.mark.parametrize("protocol", ["random", "inter_patient"])
def test_sets_are_disjoint_and_with_those_left_out_all(database, protocol):
    split = split_beats(database, protocol)

    chosen = np.concatenate([getattr(split, name) for name in SETS])
    assert len(set(chosen)) == len(chosen)
    assert len(chosen) + sum(split.left_out.values()) == len(database.labels)
    for name in SETS:
        assert (np.diff(getattr(split, name)) > 0).all()
    assert split.protocol == protocol


@pytest.mark.parametrize("protocol", ["random", "inter_patient"])
def test_a_split_is_a_function_of_its_seed(database, protocol):
    one, same = (split_beats(database, protocol, seed=5) for _ in range(2))

    for name in SETS:
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))


def test_another_seed_draws_other_beats(database):
    one, other = (split_beats(database, "random", seed=seed).test for seed in (0, 1))

    assert len(np.intersect1d(one, other)) < 0.3 * len(one)


def test_random_has_the_papers_sizes_and_every_class_its_share():
    labels = np.repeat(np.arange(5), [90_589, 2_779, 7_236, 803, 8_039])
    beats = beats_of(np.full(len(labels), "100"), labels)

    split = split_beats(beats, "random")

    assert [len(getattr(split, name)) for name in SETS] == [70_043, 17_511, 21_892]
    for name, share in zip(SETS, (0.64, 0.16, 0.2), strict=True):
        counts = np.bincount(labels[getattr(split, name)])
        np.testing.assert_allclose(counts, share * np.bincount(labels), atol=3)


def test_random_warns_of_patients_on_both_sides(database):
    warning = split_beats(database, "random").warning

    assert "beats of 47 of the 47 patients of the whole test set are also in training" in warning
    assert "do not hold for new patients" in warning


def test_inter_patient_is_de_chazals_without_record_201(database):
    split = split_beats(database, "inter_patient")

    records = {name: set(database.records[getattr(split, name)]) for name in SETS}
    assert records["test"] == set(DS2)
    assert records["training"] | records["validation"] == set(DS1) - {"201"}
    assert not records["training"] & records["validation"]
    size = Counter(database.records)
    assert split.left_out == {
        "paced record": sum(size[name] for name in PACED),
        "record 201, same subject as 202": size["201"],
    }
    assert split.warning == ""


def test_inter_patient_validates_on_a_fifth_of_each_class(database):
    split = split_beats(database, "inter_patient")

    learnt = np.concatenate([split.training, split.validation])
    share = len(split.validation) / len(learnt)
    assert share == pytest.approx(0.2, abs=0.05)
    by_class = np.bincount(database.labels[split.validation]) / np.bincount(database.labels[learnt])
    assert len(by_class) == len(CLASSES)
    np.testing.assert_allclose(by_class, 0.2, atol=0.1)


def test_a_patient_on_two_sides_is_refused(database):
    patients = database.patients.astype("U5")
    patients[np.isin(database.records, ["100", "101"])] = "Smith"

    with pytest.raises(
        ValueError, match=r"no patient on two sides .*Smith of the records 100, 101"
    ):
        split_beats(replace(database, patients=patients), "inter_patient")


def test_records_of_another_database_are_named(database):
    records = np.where(database.records == "100", "e0103", database.records)

    with pytest.raises(ValueError, match=r"MIT-BIH .*inter_patient, got 1 others: e0103; leave"):
        split_beats(replace(database, records=records), "inter_patient")


def test_an_empty_set_is_named():
    beats = beats_of(["101"] * 5 + ["106"] * 5, [0] * 10)

    with pytest.raises(ValueError, match=r"under the protocol inter_patient, got .* 0 for test"):
        split_beats(beats, "inter_patient")
    with pytest.raises(ValueError, match=r"got .*0 for validation"):
        split_beats(beats_of(["100"] * 2, [0, 0]), "random")


def test_an_unknown_protocol_is_named(database):
    with pytest.raises(ValueError, match=r"one of random, inter_patient, got 'intra'"):
        split_beats(database, "intra")
