"""Tables that a spreadsheet of any country shows as they are."""

import logging
import re
from zipfile import ZipFile

import openpyxl
import pytest

from monai_ima.handlers import tables
from monai_ima.handlers.files import read_csv
from monai_ima.handlers.tables import write_table

ROW = {"id": "A/1.png", "patient": "0017", "probability": 0.91, "n": 12, "changes to": ""}


def sheet_of(path):
    return openpyxl.load_workbook(path).active


def test_the_workbook_has_numbers_where_the_csv_has_their_text(tmp_path):
    other = ROW | {"id": "B/2.png", "probability": 0.025, "changes to": "B"}

    written = write_table(tmp_path / "samples.csv", iter([ROW, other]))

    assert written == [tmp_path / "samples.csv", tmp_path / "samples.xlsx"]
    assert read_csv(written[0])[1]["probability"] == "0.025"
    sheet = sheet_of(written[1])
    assert sheet.title == "samples"
    assert list(sheet.iter_rows(values_only=True)) == [
        ("id", "patient", "probability", "n", "changes to"),
        ("A/1.png", "0017", 0.91, 12, None),
        ("B/2.png", "0017", 0.025, 12, "B"),
    ]
    assert sheet.freeze_panes == "A2"
    assert sheet["A1"].font.bold
    assert [cell.data_type for cell in sheet[3]] == ["s", "s", "n", "n", "s"]


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ([0.91, 0.025], "0.0000"),
        ([0.0123, 0.002], "0.00000"),
        ([100.0, 3.25], "0.0"),
        ([1234.0], "0"),
        ([1e-12], "0.000E+00"),
        ([0.0, float("inf")], "General"),
    ],
)
def test_the_largest_number_of_a_column_shows_four_digits(tmp_path, numbers, shown):
    _, book = write_table(tmp_path / "a.csv", [{"margin": number} for number in numbers])

    assert sheet_of(book)["A2"].number_format == shown


def test_columns_are_as_wide_as_what_they_show(tmp_path):
    rows = [{"id": "x" * 30, "margin": 0.123456789, "error": "e" * 500}]

    _, book = write_table(tmp_path / "a.csv", rows)

    widths = [sheet_of(book).column_dimensions[letter].width for letter in "ABC"]
    assert widths == [32, 8, 60]


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "#N/A", "+1", "0.025", "2024-01-02"])
def test_text_stays_text_and_is_never_run(tmp_path, text):
    _, book = write_table(tmp_path / "a.csv", [{"id": text}])

    cell = sheet_of(book)["A2"]
    assert (cell.value, cell.data_type) == (text, "s")


def test_what_a_workbook_cannot_hold_is_left_out(tmp_path):
    row = {"id": "a\x00b\x1fc", "margin": float("inf"), "other": float("nan"), "known": None}

    _, book = write_table(tmp_path / "a.csv", [row])

    assert [cell.value for cell in sheet_of(book)[2]] == ["a\ufffdb\ufffdc", None, None, None]


def test_too_long_a_table_has_no_workbook_of_an_earlier_one(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tables, "MOST_ROWS", 3)
    short, long = ([ROW] * length for length in (3, 5))
    assert len(write_table(tmp_path / "a.csv", short)) == 2

    with caplog.at_level(logging.INFO):
        assert write_table(tmp_path / "a.csv", iter(long)) == [tmp_path / "a.csv"]

    assert not (tmp_path / "a.xlsx").exists()
    assert len(read_csv(tmp_path / "a.csv")) == 5
    assert "has more than 3 rows: no workbook" in caplog.text


def test_a_workbook_says_nothing_of_when_it_was_written(tmp_path):
    _, book = write_table(tmp_path / "a.csv", [{"case": "a", "margin": 0.5}])
    with ZipFile(book) as parts:
        assert {part.date_time for part in parts.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        dates = re.findall(rb"\d{4}-\d\d-\d\dT[^<]+", parts.read("docProps/core.xml"))
    assert set(dates) == {b"1980-01-01T00:00:00Z"}
    assert openpyxl.load_workbook(book).active["B2"].value == 0.5
