"""Tables that a spreadsheet shows and does not run."""

import csv

import pytest

from monai_ima.handlers.files import read_csv, write_csv

RUN = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'=1", "'quoted'"]


@pytest.mark.parametrize("text", RUN)
def test_text_that_a_spreadsheet_would_run_is_shown_and_read_back(tmp_path, text):
    write_csv(tmp_path / "samples.csv", [{"id": text, "margin": 0.5}])

    with (tmp_path / "samples.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["id"] == f"'{text}"
    assert read_csv(tmp_path / "samples.csv") == [{"id": text, "margin": "0.5"}]


def test_other_text_and_numbers_are_as_they_were(tmp_path):
    row = {"id": "A/1-2.png", "name": "Müller, x", "empty": "", "number": -1.5}
    write_csv(tmp_path / "samples.csv", [row])

    assert (tmp_path / "samples.csv").read_text("utf-8").splitlines()[1] == (
        'A/1-2.png,"Müller, x",,-1.5'
    )
    assert read_csv(tmp_path / "samples.csv") == [row | {"number": "-1.5"}]


def test_a_damaged_row_is_read_as_it_is(tmp_path):
    (tmp_path / "samples.csv").write_text("id,label\na\nb,c,d\n")

    assert read_csv(tmp_path / "samples.csv") == [
        {"id": "a", "label": None},
        {"id": "b", "label": "c", None: ["d"]},
    ]
