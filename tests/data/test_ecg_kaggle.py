"""Kaggle's CSV files: read as they are, every other file in words."""

from __future__ import annotations

import numpy as np
import pytest

from monai_ima.data.ecg import load_kaggle_csv, split_beats


def rows(count, seed):
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.random((count, 187)), np.arange(count) % 5])


def write(file, table):
    np.savetxt(file, table, delimiter=",")  # as the published files were: 18 decimals
    return file


@pytest.fixture
def files(tmp_path):
    return (
        write(tmp_path / "mitbih_train.csv", rows(20, 0)),
        write(tmp_path / "mitbih_test.csv", rows(7, 1)),
    )


def test_values_labels_and_places_are_read(files):
    beats = load_kaggle_csv(*files)

    expected = np.concatenate([rows(20, 0), rows(7, 1)])
    np.testing.assert_allclose(beats.beats, expected[:, :187], rtol=1e-6)
    assert beats.beats.dtype == np.float32
    np.testing.assert_array_equal(beats.labels, expected[:, 187])
    assert beats.records.tolist() == ["mitbih_train"] * 20 + ["mitbih_test"] * 7
    assert beats.positions.tolist() == [*range(20), *range(7)]
    assert set(beats.patients) == {""}


def test_the_published_test_set_is_kept(files):
    beats = load_kaggle_csv(*files)

    split = split_beats(beats, "random", seed=3)

    assert split.test.tolist() == list(range(20, 27))
    assert sorted([*split.training, *split.validation]) == list(range(20))
    assert len(split.validation) == 4
    assert "patients who are not known" in split.warning


def test_without_patients_there_is_no_inter_patient_split(files):
    with pytest.raises(ValueError, match=r"inter_patient, got 2 others: mitbih_test, mitbih_train"):
        split_beats(load_kaggle_csv(*files), "inter_patient")


def changed(row, column, value):
    table = rows(20, 0)
    table[row, column] = value
    return table


BAD_FILES = {
    "a column short": (rows(20, 0)[:, 1:], r"rows of 187 values .* got 187 columns; get mitbih"),
    "a column more": (np.hstack([rows(20, 0), np.ones((20, 1))]), r"got 189 columns"),
    "label too large": (changed(4, 187, 5), r"from 0 to 4 \(N, S, .*got the label 5 in row 5"),
    "label negative": (changed(0, 187, -1), r"got the label -1 in row 1"),
    "label between": (changed(2, 187, 0.5), r"got the label 0.5 in row 3"),
    "label missing": (changed(2, 187, np.nan), r"got the label nan in row 3"),
    "value too large": (changed(6, 50, 1.5), r"from 0 to 1 .*got the value 1.5 in row 7"),
    "value missing": (changed(6, 50, np.nan), r"got the value nan in row 7"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_table_is_named(files, case):
    table, message = BAD_FILES[case]
    write(files[0], table)

    with pytest.raises(ValueError, match=message):
        load_kaggle_csv(*files)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "an empty file"), ("a,b,c\n", "could not convert"), ("1,2\n1\n", "number of columns")],
    ids=["empty", "header", "ragged"],
)
def test_a_file_that_is_no_table_is_named(files, text, message):
    files[1].write_text(text)

    with pytest.raises(ValueError, match=rf"expected .*mitbih_test.csv to have .*got.*{message}"):
        load_kaggle_csv(*files)


def test_an_absent_file_is_named(files):
    files[1].unlink()

    with pytest.raises(FileNotFoundError, match=r"mitbih_test.csv: no such file; get mitbih_train"):
        load_kaggle_csv(*files)
