"""WFDB records: the lead by its name, the annotations, and every damage in words."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from wfdb_record import heartbeat, write_annotations, write_record

from monai_ima.data.ecg import find_records, read_record

ANNOTATIONS = [(18, "+"), (300, "N"), (600, "V"), (900, "N"), (2400, "A")]


@pytest.fixture
def folder(tmp_path):
    leads = {"V5": heartbeat(8, seed=1), "MLII": heartbeat(8), "V1": heartbeat(8, seed=2)}
    write_record(tmp_path, "202", leads, ANNOTATIONS)
    return tmp_path


def test_mlii_is_read_wherever_it_lies(folder):
    record = read_record(folder, "202")

    assert (record.name, record.patient, record.lead, record.rate) == ("202", "201", "MLII", 360)
    np.testing.assert_array_equal(record.signal, np.rint(heartbeat(8)))
    assert record.limits == (0, 2047)
    assert list(zip(record.positions, record.symbols, strict=True)) == ANNOTATIONS


def test_another_lead_is_read_by_its_name(folder):
    np.testing.assert_array_equal(
        read_record(folder, "202", "V1").signal, np.rint(heartbeat(8, seed=2))
    )


@pytest.mark.parametrize(
    ("leads", "chosen"), [(["V5", "V2"], "V5"), (["V1", "II"], "II"), (["II", "MLII"], "MLII")]
)
def test_without_mlii_it_is_lead_two_or_the_first(tmp_path, leads, chosen):
    write_record(tmp_path, "x", {name: heartbeat(2) for name in leads}, [])

    assert read_record(tmp_path, "x").lead == chosen


def test_an_absent_lead_is_named_with_those_there_are(folder):
    with pytest.raises(
        ValueError, match=r"lead V6 in record 202, got V5, MLII, V1 in \S+202.hea; choose one"
    ):
        read_record(folder, "202", "V6")


def test_a_record_without_signals_is_named(folder):
    (folder / "202.hea").write_text("202 0 360 2880\n")

    with pytest.raises(
        ValueError, match=r"lead MLII in record 202, got none in \S+202.hea; choose"
    ):
        read_record(folder, "202")


def test_a_header_may_leave_the_length_to_the_signal(folder):
    header = folder / "202.hea"
    header.write_text(header.read_text().replace("202 3 360 2880", "202 3 360"))

    assert len(read_record(folder, "202").signal) == 2880


def test_missing_samples_are_nan(tmp_path):
    signal = heartbeat(2)
    signal[100:110] = np.nan
    write_record(tmp_path, "x", {"MLII": signal, "V5": heartbeat(2)}, [])

    missing = np.isnan(read_record(tmp_path, "x").signal)

    assert missing[100:110].all()
    assert missing.sum() == 10


def test_a_code_without_a_symbol_is_kept_by_its_number(folder):
    write_annotations(folder / "202.atr", [(300, "N"), (600, 45)])

    assert read_record(folder, "202").symbols == ("N", "code 45")


def test_records_are_found_by_their_files(folder):
    write_record(folder, "100", {"MLII": heartbeat(2)}, [])
    (folder / "RECORDS").write_text("100\n202\n")
    (folder / "._100.dat").touch()  # as macOS leaves them on a foreign disk

    assert find_records(folder) == ["100", "202"]


@pytest.mark.parametrize("suffix", [".hea", ".dat", ".atr"])
def test_a_missing_file_is_named(folder, suffix):
    write_record(folder, "100", {"MLII": heartbeat(2)}, [])
    (folder / f"202{suffix}").unlink()

    with pytest.raises(FileNotFoundError, match=rf"got 1 missing: 202\{suffix} .*move the rest"):
        find_records(folder)


def test_a_folder_without_records_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected WFDB records .*got none; give the"):
        find_records(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no such folder; correct the path"):
        find_records(tmp_path / "absent")


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".dat", lambda content: content[: len(content) // 2]),
        (".dat", lambda content: content[:-3]),
        (".dat", lambda content: content[:3]),
        (".dat", lambda content: b""),
        (".hea", lambda content: b"202 two leads\n"),
        (".hea", lambda content: b""),
        (".atr", lambda content: content[:1]),
        (".atr", lambda content: content[:-10]),
    ],
    ids=[
        *("half a signal", "a sample short", "one sample", "no signal"),
        *("header of words", "no header", "a byte of annotations", "annotations cut off"),
    ],
)
def test_a_damaged_file_is_named(folder, suffix, damage):
    file = folder / f"202{suffix}"
    file.write_bytes(damage(file.read_bytes()))

    with pytest.raises(ValueError, match=rf"expected .*202\{suffix}.* got.*; get the file again"):
        read_record(folder, "202")


def test_a_signal_cut_off_is_told_by_its_bytes(folder):
    file = folder / "202.dat"
    file.write_bytes(file.read_bytes()[:5000])

    with pytest.raises(ValueError, match=r"12,960 bytes in .*202.dat .* got 5,000: it is cut off"):
        read_record(folder, "202")


def test_a_signal_file_under_another_name_is_named(folder):
    header = folder / "202.hea"
    header.write_text(header.read_text().replace("202.dat", "203.dat"))

    with pytest.raises(FileNotFoundError, match=r"203.dat, which the header 202.hea names"):
        read_record(folder, "202")


def on_clock(rate, annotations):
    """Annotations after a note of their own clock, as rdann reads it."""
    text = f"## time resolution: {rate}".encode()
    text += bytes(len(text) % 2)
    return struct.pack("<HH", 22 << 10, 63 << 10 | len(text)) + text + annotations


@pytest.mark.parametrize(("rate", "factor"), [(720, 2), (180, 0.5), (360, 1), (1000, 1000 / 360)])
def test_annotations_on_another_clock_are_put_on_that_of_the_signal(folder, rate, factor):
    file = folder / "202.atr"
    places = [(round(place * factor), symbol) for place, symbol in ANNOTATIONS]
    write_annotations(file, places)
    file.write_bytes(on_clock(rate, file.read_bytes()))

    record = read_record(folder, "202")

    assert record.symbols == tuple("+NVNA")
    np.testing.assert_allclose(record.positions, [18, 300, 600, 900, 2400], atol=0.5 / factor)
    peaks = [record.signal[place - 60 : place + 60].argmax() - 60 for place in (300, 600, 900)]
    assert record.rate == 360
    assert np.abs(peaks).max() <= 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("202 3 360", "202 3 0"),
        ("202 3 360", "202 3 1e9"),
        ("202 3 360", "202 4 360"),
        (" 212 ", " 999 "),
    ],
)
def test_a_changed_header_is_named(folder, old, new):
    header = folder / "202.hea"
    header.write_text(header.read_text().replace(old, new))

    with pytest.raises(ValueError, match=r"202"):
        read_record(folder, "202")


def test_a_header_may_leave_out_the_converter(folder):
    header = folder / "202.hea"
    lines = header.read_text().splitlines()
    short = [lines[0], *(line.split(" 11 ")[0] for line in lines[1:4])]
    header.write_text("\n".join(short) + "\n")

    record = read_record(folder, "202")

    assert (
        record.lead == "signal 1"
    )  # named by its number, lest what is written of it be unreadable
    assert record.limits[0] < record.signal.min() < record.signal.max() < record.limits[1]


def test_a_format_that_there_is_not_is_named(folder):
    header = folder / "202.hea"
    header.write_text(header.read_text().replace(".dat 212 ", ".dat 2 "))

    with pytest.raises(ValueError, match=r"header 202.hea .* got: signals in the format 2, not in"):
        read_record(folder, "202")


def test_no_mutation_of_a_header_ends_in_other_words(folder):
    rng = np.random.default_rng(0)
    header = folder / "202.hea"
    whole = header.read_bytes()
    for _ in range(150):
        changed = bytearray(whole)
        place = rng.integers(len(changed))
        if rng.random() < 0.5:
            changed[place] = rng.choice(list(b"0-./(x\n "))
        else:
            del changed[place : place + rng.integers(1, 6)]
        header.write_bytes(changed)
        try:
            read_record(folder, "202")
        except (ValueError, FileNotFoundError) as error:
            assert "202" in str(error)  # noqa: PT017 - it may as well be read
