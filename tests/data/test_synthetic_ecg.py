"""The synthetic heartbeats: reproducible to the byte, and with the signs of their classes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from folders import contents

from monai_ima.data import synthetic_ecg
from monai_ima.data.ecg import CLASSES, EcgBeats, Record, load_ecg, load_ecg_beats, split_beats
from monai_ima.data.synthetic_ecg import gaussian_trace, synthetic_record, write_synthetic_ecg

SMALL = {"patients": 8, "beats_per_patient": 50}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By default."""
    return write_synthetic_ecg(tmp_path_factory.mktemp("data") / "ecg")


@pytest.fixture(scope="module")
def beats(folder: Path) -> EcgBeats:
    return load_ecg_beats(folder)


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """Two patients of each kind."""
    return [synthetic_record(patient, 400, seed=3) for patient in range(16)]


def around(record: Record, symbol: str, offsets: list[int]) -> npt.NDArray[np.float64]:
    """``(B, len(offsets))``: the trace, in mV, so many samples from each beat of a symbol."""
    positions = record.positions[np.array(record.symbols) == symbol]
    return (record.signal[positions[:, None] + offsets] - 1024) / 200


def mean_beat(record: Record, symbol: str) -> npt.NDArray[np.float64]:
    """From 20 samples before the annotation to 40 behind, over the trace's median, in mV."""
    baseline = (np.median(record.signal) - 1024) / 200
    return around(record, symbol, list(range(-20, 41))).mean(axis=0) - baseline


def width(record: Record, symbol: str) -> float:
    """Milliseconds for which the mean beat is more than half as far out as at its annotation."""
    beat = mean_beat(record, symbol)
    return float((beat / beat[20] > 0.5).sum() / 0.36)


def intervals(record: Record, symbol: str) -> tuple[npt.NDArray[np.float64], ...]:
    """Before and behind each beat of a symbol between two normal ones, in medians of the record."""
    symbols = np.array(record.symbols)
    length = np.diff(record.positions) / np.median(np.diff(record.positions))
    middle = np.flatnonzero(
        (symbols[1:-1] == symbol) & (symbols[:-2] == "N") & (symbols[2:] == "N")
    )
    return length[middle], length[middle + 1]


def test_one_gaussian_is_that_gaussian_and_two_are_their_sum() -> None:
    time = np.arange(500) / 250
    first = gaussian_trace(np.array([[1.5, 1.001, 0.05]]), 500, 250)
    np.testing.assert_allclose(
        first, 1.5 * np.exp(-((time - 1.001) ** 2) / (2 * 0.05**2)), atol=1e-7
    )
    assert first.sum() / 250 == pytest.approx(1.5 * 0.05 * np.sqrt(2 * np.pi), rel=1e-6)
    both = gaussian_trace(np.array([[1.5, 1.001, 0.05], [-0.5, 1.1, 0.02]]), 500, 250)
    np.testing.assert_allclose(
        both - first, -0.5 * np.exp(-(((time - 1.1) / 0.02) ** 2) / 2), atol=1e-7
    )


def test_a_wave_at_the_edge_is_cut_off() -> None:
    trace = gaussian_trace(np.array([[1.0, 0.0, 0.1], [2.0, 5.0, 0.1]]), 100, 100)
    np.testing.assert_allclose(trace, np.exp(-((np.arange(100) / 10) ** 2) / 2), atol=1e-7)


def test_same_seed_same_bytes_other_seed_other_beats(tmp_path: Path) -> None:
    first, again, other = (
        contents(write_synthetic_ecg(tmp_path / name, seed=seed, **SMALL))
        for name, seed in (("a", 11), ("b", 11), ("c", 12))
    )
    assert first == again
    assert set(first) == {
        "beats.npy", "beats.csv", "summary.json", "sha256.json", "ecg_beats.json",
    }  # fmt: skip
    assert all(first[name] != other[name] for name in first)


def test_a_patient_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    few = load_ecg_beats(write_synthetic_ecg(tmp_path / "few", **SMALL))
    many = load_ecg_beats(write_synthetic_ecg(tmp_path / "many", **{**SMALL, "patients": 9}))
    np.testing.assert_array_equal(few.beats, many.beats[: len(few.beats)])
    assert few.symbols.tolist() == many.symbols[: len(few.beats)].tolist()
    assert not (many.beats[-50:] == many.beats[:50]).all(axis=1).any()


def test_no_beat_is_lost_and_the_counts_are_those_announced(folder: Path, beats: EcgBeats) -> None:
    written = json.loads((folder / "summary.json").read_text())["written"]
    assert Counter(CLASSES[label] for label in beats.labels) == written
    assert sum(written.values()) == len(beats.beats) == 20_000
    assert set(Counter(beats.patients.tolist()).values()) == {500}
    assert len(set(beats.records.tolist())) == len(set(beats.patients.tolist())) == 40
    assert 0.7 < written["N"] / 20_000 < 0.85
    assert written["N"] > written["V"] > written["S"] > max(written["F"], written["Q"])
    assert min(written.values()) > 300


def test_beats_are_scaled_padded_and_not_flat(beats: EcgBeats) -> None:
    rows = beats.beats
    assert rows.shape == (20_000, 187)
    assert np.isfinite(rows).all()
    assert rows.min() == 0
    assert rows.max() == 1
    assert np.ptp(rows, axis=1).min() > 0.1
    lengths = 187 - (rows[:, ::-1] != 0).argmax(axis=1)
    assert lengths.min() > 50
    assert lengths.max() < 187
    within = np.arange(187) < lengths[:, None]
    assert (rows[within] == 0).mean() < 0.01  # what is zero, is so for padding
    for patient in set(beats.patients.tolist()):
        assert len(set(lengths[beats.patients == patient].tolist())) > 1  # by window


def test_the_folder_is_read_as_one_of_real_beats_is(folder: Path, beats: EcgBeats) -> None:
    datalist = load_ecg(folder)
    sizes = [len(part) for part in (datalist.training, datalist.validation, datalist.test)]
    assert sum(sizes) == 20_000
    assert "of 40 of the 40 patients" in datalist.warning
    assert set(beats.leads.tolist()) == {"synthetic"}
    assert "synthetic_ecg" in (folder / "ecg_beats.json").read_text()
    with pytest.raises(ValueError, match=r"got 40 others: synthetic-0, .*use the protocol random"):
        split_beats(beats, "inter_patient")


def test_premature_beats_are_early_and_only_the_ventricular_are_compensated(
    records: list[Record],
) -> None:
    sums = {}
    for symbol in "AV":
        before, behind = np.hstack([intervals(record, symbol) for record in records[:3]])
        assert len(before) > 20
        assert before.max() < 0.95
        sums[symbol] = before + behind
    assert np.median(sums["V"]) == pytest.approx(2, abs=0.05)
    assert np.median(sums["A"]) < 1.93


def test_ventricular_beats_are_wide(records: list[Record]) -> None:
    for record in records[:3]:
        assert width(record, "N") < 50
        assert width(record, "V") > 60


def test_fusion_beats_are_mixtures_of_the_patients_normal_and_ventricular(
    records: list[Record],
) -> None:
    offsets = list(range(-20, 36))
    for record in [record for record in records if record.symbols.count("F") > 5][:4]:
        normal = "NLR"["LR".find(next(s for s in record.symbols if s in "NLR")) + 1]
        n, v, f = (
            np.median(beats - beats.mean(axis=1, keepdims=True), axis=0)
            for beats in (around(record, symbol, offsets) for symbol in (normal, "V", "F"))
        )
        shares, *_ = np.linalg.lstsq(np.stack([n, v], axis=1), f, rcond=None)
        assert shares.sum() == pytest.approx(1, abs=0.15)
        assert (shares > 0.2).all()
        assert np.abs(np.stack([n, v], axis=1) @ shares - f).max() < 0.15 * np.ptp(f)


def test_paced_beats_have_a_spike_and_no_other_beat_has(records: list[Record]) -> None:
    def fall(symbol: str) -> npt.NDArray[np.float64]:
        """The drop within 8 ms of the peak in terms of that within 17 ms."""
        offsets = [-6, -3, 0, 3, 6]
        far, near, peak, near_too, far_too = np.concatenate(
            [around(r, symbol, offsets) for r in records if symbol in r.symbols]
        ).T
        return (2 * peak - near - near_too) / (2 * peak - far - far_too)

    assert np.quantile(fall("/"), 0.05) > 0.7
    assert np.quantile(fall("N"), 0.95) < 0.6
    paced = [i for i, record in enumerate(records) if "/" in record.symbols]
    assert paced == [7, 15]


def test_bundle_branch_blocks_are_labelled_normal(records: list[Record]) -> None:
    kinds = [{s for s in record.symbols if s in "NLR"} for record in records]
    assert kinds == [{"N"}, {"N"}, {"N"}, {"L"}, {"N"}, {"N"}, {"R"}, {"N"}] * 2
    narrow, left, right = (records[patient] for patient in (0, 3, 6))
    assert width(left, "L") > 60
    assert width(right, "R") < 50  # of R alone
    late = [
        mean_beat(record, symbol)[38:52].min() for record, symbol in ((right, "R"), (narrow, "N"))
    ]
    assert late[0] < late[1] - 0.2  # mV, 50 to 90 ms behind R


def test_classes_can_be_learnt_within_patients_but_not_at_a_glance(beats: EcgBeats) -> None:
    """By the nearest class mean of each patient, which a network has to surpass."""
    right: dict[int, list[bool]] = {label: [] for label in range(5)}
    for patient in set(beats.patients.tolist()):
        own = beats.patients == patient
        rows, labels = beats.beats[own], beats.labels[own]
        known = np.arange(len(rows)) % 2 == 0
        names = [label for label in range(5) if (labels[known] == label).any()]
        means = np.stack([rows[known & (labels == label)].mean(axis=0) for label in names])
        distance = ((rows[~known, None] - means) ** 2).sum(axis=2)
        for label, guess in zip(labels[~known], distance.argmin(axis=1), strict=True):
            right[int(label)].append(names[guess] == label)
    recalls = [float(np.mean(right[label])) for label in range(5)]
    assert 0.5 < np.mean(recalls) < 0.95
    assert min(recalls) > 0.3


def test_the_same_settings_reuse_the_folder_and_others_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_synthetic_ecg(tmp_path / "new" / "ecg", seed=5, **SMALL)
    (root / "beats.csv").write_text("a user's own")
    before = contents(root)
    monkeypatch.delattr(synthetic_ecg, "synthetic_record")  # nothing is drawn a second time
    assert write_synthetic_ecg(str(root), seed=5, **SMALL) == root
    with pytest.raises(ValueError, match=r'expected .*"seed": 6.* got .*"seed": 5.*choose another'):
        write_synthetic_ecg(root, seed=6, **SMALL)
    assert contents(root) == before


def test_a_users_files_are_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"got something without ecg_beats\.json: choose"):
        write_synthetic_ecg(tmp_path, **SMALL)
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"patients": 7}, "patients to be a whole number >= 8, got 7"),
        ({"patients": 8.0}, "patients .* got 8.0"),
        ({"beats_per_patient": 49}, "beats_per_patient to be a whole number >= 50, got 49"),
        ({"beats_per_patient": "60"}, "beats_per_patient .* got '60'"),
        ({"seed": -1}, "seed .* >= 0, got -1"),
        ({"seed": True}, "seed .* got True"),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_synthetic_ecg(tmp_path / "ecg", **{**SMALL, **wrong})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
