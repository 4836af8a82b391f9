"""The number that a label of a list means."""

import csv
import json

import pytest
from PIL import Image

from monai_ima.data import list_samples, load_datalist


@pytest.fixture
def folder(tmp_path):
    for number in range(12):
        Image.new("L", (3, 2)).save(tmp_path / f"{number}.png")
    return tmp_path


def write_csv(folder, labels):
    file = folder / "list.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "class"])
        writer.writerows((f"{number}.png", label) for number, label in enumerate(labels))
    return file


def write_json(folder, labels, declared=None):
    file = folder / "list.json"
    items = [{"image": f"{number}.png", "label": label} for number, label in enumerate(labels)]
    file.write_text(json.dumps({"test": items} | ({"labels": declared} if declared else {})))
    return file


def labels(samples):
    return [item["label"] for item in samples.items]


def test_whole_floats_are_numbers(folder):
    samples = list_samples(folder, datalist=write_csv(folder, [f"{n}.0" for n in range(12)]))

    assert labels(samples) == list(range(12))
    assert samples.classes == tuple(map(str, range(12)))
    assert labels(list_samples(folder, datalist=write_json(folder, [0.0, 2.0, 1.0]))) == [0, 2, 1]


def test_other_decimals_are_names(folder):
    samples = list_samples(folder, datalist=write_csv(folder, ["1.5", "1.0", "2.0"]))

    assert samples.classes == ("1.0", "1.5", "2.0")
    assert labels(samples) == [1, 0, 2]


def test_whole_floats_mean_classes_that_are_named(folder):
    order = ["A", "B", "C"]
    listed = write_csv(folder, ["2.0", "0.0", "1"])

    assert labels(list_samples(folder, datalist=listed, classes=order)) == [2, 0, 1]


def test_numbers_that_lack_samples_keep_their_places(folder):
    listed = write_csv(folder, ["1", "3"])

    samples = list_samples(folder, datalist=listed, num_classes=4)

    assert labels(samples) == [1, 3]
    assert samples.classes == ("0", "1", "2", "3")


def test_gaps_between_numbers_are_closed_and_said(folder, caplog):
    samples = list_samples(folder, datalist=write_csv(folder, ["10", "9", "10"]))

    assert samples.classes == ("9", "10")
    assert labels(samples) == [1, 0, 1]
    assert "not numbered 0 to 1 and are now: 9 is 0; 10 is 1" in caplog.text


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"1": "A", "2": "B"}, "A, 1 in the list, is 0; B, 2 in the list, is 1"),
        ({"0": "A", "2": "B"}, "A, 0 in the list, is 0; B, 2 in the list, is 1"),
        ({"A": 1, "B": 2}, "A, 1 in the list, is 0; B, 2 in the list, is 1"),
        ({"A": 0, "B": 1}, ""),
        ({"1": "B", "0": "A"}, ""),
    ],
)
def test_declared_numbers_keep_their_names(folder, declared, said, caplog):
    numbers = [int(value) for pair in declared.items() for value in pair if str(value).isdecimal()]
    first, second = sorted(numbers)
    listed = write_json(folder, [second, first, "B", f"{first}.0"], declared)

    samples = list_samples(folder, datalist=listed)

    assert samples.classes == ("A", "B")
    assert labels(samples) == [1, 0, 1, 0]
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)


def test_a_number_that_is_not_declared_is_refused(folder):
    listed = write_json(folder, [1, 2, 0], {"1": "A", "2": "B"})

    with pytest.raises(ValueError, match=r"one of A, B or one of the numbers 1, 2, got 0; correct"):
        list_samples(folder, datalist=listed)


@pytest.mark.parametrize("label", [1e9, 10**9, 10**30])
def test_a_huge_number_is_refused_at_once(folder, label):
    listed = write_json(folder, [0, 1, label])

    with pytest.raises(
        ValueError, match=r"at most 10,000 classes .*got the label 1\d+ in .*list.j"
    ):
        list_samples(folder, datalist=listed)
    with pytest.raises(ValueError, match=r"a number from 0 to 1, got 1\d+; correct"):
        list_samples(folder, datalist=listed, num_classes=2)


def test_a_training_maps_them_alike(folder):
    items = [{"image": f"{n}.png", "label": n % 2 + 1, "patient": n} for n in range(12)]
    listed = folder / "list.json"
    listed.write_text(json.dumps({"labels": {"1": "A", "2": "B"}, "training": items}))

    datalist = load_datalist(folder, num_classes=2, datalist=listed)

    assert datalist.classes == ("A", "B")
    for item in datalist.training + datalist.validation + datalist.test:
        assert item["label"] == int(item["patient"]) % 2
