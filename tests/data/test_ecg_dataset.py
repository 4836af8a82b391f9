"""The written data set: whole, accounted for, the same when read, and not written twice."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shlex
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import wfdb
from wfdb_record import heartbeat, write_record

from monai_ima.cli.main import main
from monai_ima.cli.prepare_ecg import few_beats
from monai_ima.data.ecg import (
    CLASSES,
    EcgBeats,
    dataset,
    load_ecg,
    load_ecg_beats,
    read_record,
    split_beats,
    write_ecg_beats,
)
from monai_ima.data.ecg.beats import LABELS
from monai_ima.data.ecg.class_counts import fitting_protocols, small_classes
from monai_ima.data.ecg.split import DS1, DS2, PACED

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("MONAI_IMA_DATA", Path(__file__).parents[3] / "shared" / "data"))
MITDB = DATA / "mitdb"
needs_mitdb = pytest.mark.skipif(not MITDB.is_dir(), reason=f"no MIT-BIH records in {MITDB}")


@pytest.fixture
def records(tmp_path):
    """Record 100 of a patient, 201 and 202 of another; all kinds of annotations."""
    folder = tmp_path / "records"
    spoilt = heartbeat(12, seed=3)
    spoilt[2000:2010] = np.nan
    spoilt[2900:3500] = 1024
    write_record(
        folder,
        "100",
        {"V5": heartbeat(12, seed=1), "MLII": spoilt},
        [(18, "+"), *((300 * k, s) for k, s in enumerate("NNAVNQFNNN/NN", start=1)), (4319, "N")],
    )
    write_record(folder, "201", {"MLII": heartbeat(4, seed=4)}, [(300, "N"), (600, "V")])
    write_record(
        folder, "202", {"V1": heartbeat(4, seed=5)}, [(300, "V"), (600, 45), (610, "~"), (900, "N")]
    )
    return folder


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("form", ["kachuee", "kaggle", "centred"])
def test_every_annotation_is_accounted_for(records, tmp_path, form):
    write_ecg_beats(records, tmp_path / "beats", form=form)

    counts = summary(tmp_path / "beats")
    assert counts["annotated"] == {"N": 11, "S": 1, "V": 3, "F": 1, "Q": 2}
    assert counts["not_beats"] == {"+": 1, "~": 1}
    assert counts["unknown_symbols"] == {"code 45": 1}
    assert counts["leads"] == {"MLII": 2, "V1": 1}
    assert (counts["records"], counts["patients"]) == (3, 2)
    total = Counter(counts["written"])
    for excluded in counts["excluded"].values():
        total.update(excluded)
    assert total == counts["annotated"]
    assert counts["excluded"]["missing samples"] != dict.fromkeys(CLASSES, 0)
    beats = load_ecg_beats(tmp_path / "beats")
    assert Counter(CLASSES[label] for label in beats.labels) == {
        name: n for name, n in counts["written"].items() if n
    }


def test_what_is_read_is_what_was_cut(records, tmp_path):
    assert write_ecg_beats(records, tmp_path / "new" / "beats", form="kaggle")

    beats = load_ecg_beats(tmp_path / "new" / "beats")

    of_202 = beats.records == "202"
    assert of_202.tolist() == [False] * (len(of_202) - 1) + [True]
    assert beats.patients[of_202] == beats.patients[beats.records == "201"] == "201"
    assert (beats.positions[of_202], beats.symbols[of_202], beats.leads[of_202]) == (300, "V", "V1")
    assert CLASSES[beats.labels[of_202][0]] == "V"
    assert summary(tmp_path / "new" / "beats")["shortened"] == 1  # this one, of 720 samples
    values = read_record(records, "202").signal[300 : 900 + 120 : 3][:187]
    np.testing.assert_allclose(
        beats.beats[-1], (values - values.min()) / np.ptp(values), rtol=1e-6, atol=1e-7
    )


def test_beats_are_mapped_and_the_file_is_safe(records, tmp_path):
    write_ecg_beats(records, tmp_path / "beats")
    before = (tmp_path / "beats" / "beats.npy").read_bytes()

    beats = load_ecg_beats(tmp_path / "beats").beats
    torch.from_numpy(beats).zero_()

    assert isinstance(beats, np.memmap)
    assert beats.dtype == np.float32
    assert (tmp_path / "beats" / "beats.npy").read_bytes() == before


def test_the_same_is_not_written_twice(records, tmp_path, monkeypatch):
    assert write_ecg_beats(records, tmp_path / "beats")
    before = contents(tmp_path / "beats")
    monkeypatch.delattr(dataset, "cut_beats")

    assert not write_ecg_beats(records, tmp_path / "beats")
    assert contents(tmp_path / "beats") == before


@pytest.mark.parametrize("change", ["form", "lead", "annotations"])
def test_other_settings_or_records_are_refused(records, tmp_path, change):
    write_record(records, "202", {"MLII": heartbeat(4)}, [(300, "V"), (600, "N"), (900, "N")])
    write_ecg_beats(records, tmp_path / "beats")
    before = contents(tmp_path / "beats")
    arguments = {"form": {"form": "centred"}, "lead": {"lead": "MLII"}}.get(change, {})
    if change == "annotations":
        write_record(records, "202", {"MLII": heartbeat(4)}, [(300, "V"), (600, "V"), (900, "N")])

    with pytest.raises(ValueError, match=r"expected .*beats to be written with .*choose another"):
        write_ecg_beats(records, tmp_path / "beats", **arguments)

    assert contents(tmp_path / "beats") == before


def test_settings_that_are_no_text_are_named(records, tmp_path):
    write_ecg_beats(records, tmp_path / "beats")
    (tmp_path / "beats" / "ecg_beats.json").write_bytes(b"{\xff}")

    with pytest.raises(ValueError, match=r"got \{.\} in ecg_beats.json: choose another folder"):
        write_ecg_beats(records, tmp_path / "beats")


def test_nothing_is_left_half_written(records, tmp_path):
    (records / "202.dat").write_bytes(b"123")

    with pytest.raises(ValueError, match=r"202\.dat"):
        write_ecg_beats(records, tmp_path / "beats")

    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_a_users_folder_is_refused(records, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(ValueError, match=r"absent, empty or a folder of ECG beats, got something"):
        write_ecg_beats(records, tmp_path)


def test_records_without_a_beat_are_refused(tmp_path):
    write_record(tmp_path / "records", "x", {"MLII": heartbeat(4)}, [(18, "+"), (600, 45)])

    with pytest.raises(ValueError, match=r"annotated beats .* got none .*among 2 annotations"):
        write_ecg_beats(tmp_path / "records", tmp_path / "beats")


def test_an_unknown_form_is_named(records, tmp_path):
    with pytest.raises(ValueError, match=r"form to be one of kachuee, kaggle, centred, got 'rr'"):
        write_ecg_beats(records, tmp_path / "beats", form="rr")


def test_without_wfdb_it_says_what_to_install(records, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wfdb", None)

    with pytest.raises(ImportError, match=r'install it: pip install "monai-ima\[ecg\]"'):
        write_ecg_beats(records, tmp_path / "beats")


@pytest.mark.parametrize("file", ["beats.npy", "beats.csv", "ecg_beats.json"])
def test_an_incomplete_folder_is_named(records, tmp_path, file):
    write_ecg_beats(records, tmp_path / "beats")
    (tmp_path / "beats" / file).unlink()

    with pytest.raises(
        FileNotFoundError, match=rf"without {file}; write one with monai-ima prepare-ecg"
    ):
        load_ecg_beats(tmp_path / "beats")


def test_a_table_that_does_not_fit_is_named(records, tmp_path):
    write_ecg_beats(records, tmp_path / "beats")
    table = tmp_path / "beats" / "beats.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]))

    with pytest.raises(ValueError, match=r"as many beats of 187 .* got an array of \(\d+, 187\)"):
        load_ecg_beats(tmp_path / "beats")


def changed_beats(folder, change):
    beats = np.load(folder / "beats.npy")
    np.save(folder / "beats.npy", change(beats))


def with_value(value):
    def change(beats):
        beats[4, 7] = value
        return beats

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_value(np.nan), r"from 0 to 1 in .*beats.npy, got nan in row 5; remove the folder"),
        (with_value(np.inf), r"beats.npy, got inf in row 5"),
        (with_value(-0.1), r"beats.npy, got -0.1\d* in row 5"),
        (with_value(1.5), r"beats.npy, got 1.5 in row 5"),
        (lambda beats: beats.astype(np.int64), r"beats.npy to hold .* got int64"),
        (lambda beats: beats.astype(complex), r"beats.npy to hold .* got complex128"),
        (lambda beats: beats[:, 1:], r"as many beats of 187 .* got an array of \(\d+, 186\)"),
        (lambda beats: np.array([None]), r"beats.npy to be an array, got: "),
    ],
)
def test_beats_that_mean_nothing_are_named_by_their_row(records, tmp_path, change, message):
    write_ecg_beats(records, tmp_path / "beats")
    changed_beats(tmp_path / "beats", change)

    with pytest.raises(ValueError, match=message):
        load_ecg_beats(tmp_path / "beats")


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'"])
def test_a_file_that_is_no_array_is_named(records, tmp_path, content):
    write_ecg_beats(records, tmp_path / "beats")
    (tmp_path / "beats" / "beats.npy").write_bytes(content)

    with pytest.raises(ValueError, match=r"beats.npy to be an array, got"):
        load_ecg_beats(tmp_path / "beats")


def test_double_precision_is_read_in_single(records, tmp_path):
    write_ecg_beats(records, tmp_path / "beats")
    before = np.array(load_ecg_beats(tmp_path / "beats").beats)
    changed_beats(tmp_path / "beats", lambda beats: beats.astype(np.float64))
    (tmp_path / "beats" / "sha256.json").unlink()

    beats = load_ecg_beats(tmp_path / "beats").beats

    assert beats.dtype == np.float32
    np.testing.assert_array_equal(beats, before)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("100,100,300,N,N", r"6 values in row 2 of .*beats.csv, got \['100', .*; remove"),
        ("100,100,300,N,N,MLII,x", r"6 values in row 2"),
        ("100,100,x,N,N,MLII", r"a position, .* in row 2"),
        ("100,100,-3,N,N,MLII", r"a position, .* in row 2"),
        ("100,100,3.5,N,N,MLII", r"a position, .* in row 2"),
        (f"100,100,{'9' * 30},N,N,MLII", r"a position, .* in row 2"),
        ("100,100,300,N,X,MLII", r"a class \(N, S, V, F, Q\) in row 2"),
        ("100,100,300,N,,MLII", r"a class \(N, S, V, F, Q\) in row 2"),
        ("100,100,300,N,V,MLII", r"the class of the symbol N in row 2"),
        ("100,100,300,:,Q,MLII", r"the class of the symbol : in row 2"),
        (",100,300,N,N,MLII", r"a record, a patient and a lead in row 2"),
        ("100,,300,N,N,MLII", r"a record, a patient and a lead in row 2"),
        ('100,100,300,N,"N,MLII', r"beats.csv to be a table, got: unexpected end"),
        (b"100,100,300,N,\xff,MLII", r"beats.csv to be a table, got: 'utf-8'"),
    ],
)
def test_a_row_that_means_nothing_is_named(records, tmp_path, row, message):
    write_ecg_beats(records, tmp_path / "beats")
    table = tmp_path / "beats" / "beats.csv"
    lines = table.read_bytes().splitlines()
    lines[2] = row if isinstance(row, bytes) else row.encode()
    table.write_bytes(b"\r\n".join(lines) + b"\r\n")

    with pytest.raises(ValueError, match=message):
        load_ecg_beats(tmp_path / "beats")


def test_a_place_twice_and_other_columns_are_named(records, tmp_path):
    write_ecg_beats(records, tmp_path / "beats")
    table = tmp_path / "beats" / "beats.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:2], lines[1], *lines[3:]]))
    with pytest.raises(ValueError, match=r"no other row of that place in row 2 of .*beats.csv"):
        load_ecg_beats(tmp_path / "beats")
    table.write_text("\n".join(["record,patient,position,symbol,class", *lines[1:]]))
    with pytest.raises(ValueError, match=r"beats.csv to have the columns record, .*, lead, got"):
        load_ecg_beats(tmp_path / "beats")
    table.write_text("")
    with pytest.raises(ValueError, match=r"the columns record, .*, got none"):
        load_ecg_beats(tmp_path / "beats")


# --- the command ----------------------------------------------------------------------------------


def test_of_a_thousand_changed_values_none_is_read(records, tmp_path):
    """Those to another valid value as well: another label, patient, place or beat."""
    folder = tmp_path / "beats"
    write_ecg_beats(records, folder)
    draw = random.Random(0)
    files = {name: (folder / name).read_bytes() for name in ("beats.csv", "beats.npy")}
    for trial in range(1000):
        name = draw.choice(list(files))
        content = bytearray(files[name])
        place = draw.randrange(len(content))
        if trial % 2:
            content[place] ^= 1 << draw.randrange(8)
        else:
            content[place] = draw.choice([c for c in b"NSVFQ0123456789" if c != content[place]])
        (folder / name).write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(str(folder / name))):
            load_ecg_beats(folder)
        (folder / name).write_bytes(files[name])
    load_ecg_beats(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"beats.npy": 3}', "\x00"])
def test_digests_that_are_none_are_named(records, tmp_path, content):
    write_ecg_beats(records, tmp_path / "beats")
    (tmp_path / "beats" / "sha256.json").write_text(content)
    with pytest.raises(ValueError, match=r"expected .*beats.npy to be as .* remove sha256.json if"):
        load_ecg_beats(tmp_path / "beats")


def test_a_folder_of_an_earlier_version_is_read_and_that_is_said(records, tmp_path, caplog):
    folder = tmp_path / "beats"
    write_ecg_beats(records, folder)
    before = np.array(load_ecg_beats(folder).beats)
    assert caplog.messages == []
    (folder / "sha256.json").unlink()

    np.testing.assert_array_equal(load_ecg_beats(folder).beats, before)
    (message,) = caplog.messages
    assert message.startswith(f"{folder} has no sha256.json, as of earlier versions: ")


@pytest.fixture
def prepare(capsys):
    def run(*arguments):
        main(["prepare-ecg", *map(str, arguments)])
        return capsys.readouterr().out

    return run


def test_the_command_prints_counts_and_says_when_it_is_done(records, tmp_path, prepare):
    arguments = ("--records", records, "--output", tmp_path / "beats", "--beats", "kaggle")
    said, *counts = prepare(*arguments).splitlines()
    again, *same = prepare(*arguments).splitlines()

    assert said.endswith("beats: written")
    assert again.endswith("beats: is there already, left as it is")
    assert counts == same
    table = {line[:30].strip(): [int(n) for n in line[30:].split()] for line in counts[2:9]}
    annotated, *excluded, written = table.values()
    assert annotated == [11, 1, 3, 1, 2, 18]
    assert np.subtract(annotated, np.sum(excluded, axis=0)).tolist() == written
    assert "annotations with an unknown symbol: code 45 1" in counts


def test_the_command_ends_with_the_next_ones(records, tmp_path, prepare, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = prepare("--records", records, "--output", "my beats").splitlines()

    *_, plan, new, train, split = said
    assert plan.startswith("monai-ima plan --bundle ecg_ima --dataset_dir 'my beats'  proposes")
    assert new == "monai-ima new my_study --from ecg_ima"
    assert train == (
        "python -m monai.bundle run --config_file my_study/train.json --dataset_dir 'my beats'"
    )
    assert split.startswith("add --split inter_patient")


def test_a_class_of_few_beats_is_named_before_a_training_stops_at_it(records, tmp_path, prepare):
    said = prepare("--records", records, "--output", tmp_path / "beats")

    (of_random,) = [line for line in said.splitlines() if "beats of F:" in line]
    assert of_random.startswith("  LOOK  --split random: beats of F: training ")
    assert of_random.endswith("and stops; add records that have F")
    assert "  LOOK  --split inter_patient: no training, expected beats for training" in said
    with pytest.raises(ValueError, match=r"expected beats of every class in the .* none of .*F"):
        load_ecg(tmp_path / "beats")


def test_few_beats_are_said_and_enough_are_not():
    labels = np.repeat(np.arange(5), [400, 400, 400, 60, 400])
    beats = EcgBeats(
        beats=np.zeros((len(labels), 187), np.float32),
        labels=labels,
        records=np.full(len(labels), "x"),
        patients=np.full(len(labels), "x"),
        positions=np.arange(len(labels)),
        symbols=np.full(len(labels), "N"),
        leads=np.full(len(labels), "MLII"),
    )

    assert fitting_protocols(beats) == ("random",)
    (small,) = small_classes(beats, "random")
    assert small.name == "F"
    assert sum(small.beats.values()) == 60
    assert small.beats["validation"] < 10
    (line,) = few_beats(beats, "random")
    assert line.endswith("too few to learn F from, or to tell how well it is recognised")


@pytest.mark.parametrize("what", ["prepared", "kaggle", "records"])
def test_datalist_leads_on_from_heartbeats(records, tmp_path, what, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = records
    if what == "prepared":
        folder = tmp_path / "beats"
        write_ecg_beats(records, folder)
    elif what == "kaggle":
        folder = tmp_path / "kaggle"
        folder.mkdir()
        for name in ("mitbih_train.csv", "mitbih_test.csv"):
            (folder / name).touch()
    with pytest.raises(SystemExit, match="2"):
        main(["datalist", str(folder)])

    said = capsys.readouterr().err.splitlines()
    if what == "records":
        main(shlex.split(said[-1])[1:])  # the command that is named
        assert "annotated beats" in capsys.readouterr().out
    else:
        assert f"got heartbeats in {folder}" in said[0]
        assert shlex.split(said[-1])[-2:] == ["--dataset_dir", str(folder)]


def test_the_commands_errors_are_words(records, tmp_path, prepare, capsys):
    (records / "100.atr").unlink()

    with pytest.raises(SystemExit, match="2"):
        prepare("--records", records, "--output", tmp_path / "beats")

    said = capsys.readouterr().err
    assert said.startswith("monai-ima prepare-ecg: expected the files .hea, .dat, .atr of every")


# --- the real database ----------------------------------------------------------------------------


@needs_mitdb
def test_annotated_beats_of_ds1_and_ds2():
    counts = {
        names: Counter(
            CLASSES[LABELS[symbol]]
            for name in names
            for symbol in wfdb.rdann(str(MITDB / name), "atr").symbol
            if symbol in LABELS
        )
        for names in (DS1, DS2, PACED)
    }

    assert [len(set(names)) for names in counts] == [22, 22, 4]
    assert len({*DS1, *DS2, *PACED}) == 48
    assert counts[DS1] == {"N": 45_866, "S": 944, "V": 3_788, "F": 415, "Q": 8}
    assert counts[DS2] == {"N": 44_259, "S": 1_837, "V": 3_221, "F": 388, "Q": 7}
    total = counts[DS1] + counts[DS2] + counts[PACED]
    assert total == {"N": 90_631, "S": 2_781, "V": 7_236, "F": 803, "Q": 8_043}


@needs_mitdb
@pytest.mark.slow  # trains nothing, but reads all 48 records
def test_the_whole_database(tmp_path):
    write_ecg_beats(MITDB, tmp_path / "beats", form="kaggle")

    counts = summary(tmp_path / "beats")
    assert counts["annotated"] == {"N": 90_631, "S": 2_781, "V": 7_236, "F": 803, "Q": 8_043}
    # the published files' numbers
    assert counts["written"] == {"N": 90_589, "S": 2_779, "V": 7_236, "F": 803, "Q": 8_039}
    excluded = {reason: sum(by_class.values()) for reason, by_class in counts["excluded"].items()}
    assert {reason: n for reason, n in excluded.items() if n} == {"at the edge of the record": 48}
    assert (counts["records"], counts["patients"]) == (48, 47)
    assert counts["leads"] == {"MLII": 46, "V5": 2}
    assert counts["unknown_symbols"] == {}

    beats = load_ecg_beats(tmp_path / "beats")
    split = split_beats(beats, "random")
    sizes = [len(split.training), len(split.validation), len(split.test)]
    assert sizes == [70_043, 17_511, 21_892]  # the paper's
    honest = split_beats(beats, "inter_patient")
    assert len(honest.test) == 49_712 - len(DS2)
    assert set(beats.records[honest.test]) == set(DS2)
    with (tmp_path / "beats" / "beats.csv").open() as stream:
        assert sum(1 for _ in csv.reader(stream)) == 109_446 + 1
