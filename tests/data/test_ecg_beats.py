"""Beats: known answers on signals made by hand, and rows of the published files on real ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from monai_ima.data.ecg import CLASSES, Record, cut_beats, read_record
from monai_ima.data.ecg.beats import LABELS

DATA = Path(os.environ.get("MONAI_IMA_DATA", Path(__file__).parents[3] / "shared" / "data"))
MITDB = DATA / "mitdb"
needs_mitdb = pytest.mark.skipif(not MITDB.is_dir(), reason=f"no MIT-BIH records in {MITDB}")
FORMS = ["kachuee", "kaggle", "centred"]


def record(signal, positions, symbols=None, rate=360):
    return Record(
        name="x",
        patient="x",
        lead="MLII",
        rate=rate,
        signal=np.asarray(signal, dtype=float),
        limits=(0, 2047),
        positions=np.asarray(positions),
        symbols=tuple(symbols or "N" * len(positions)),
    )


def slow_wave(samples, seed=0):
    """Smooth over a resampling to 125 Hz, all values different."""
    time = np.arange(samples)
    phases = np.random.default_rng(seed).uniform(0, 6, 5)
    waves = (np.sin(time * 0.003 * (k + 1) ** 2 + phase) for k, phase in enumerate(phases))
    return 1024 + 100 * sum(waves)


def at_125_hz(signal, start, count):
    """What lies between the samples of a smooth signal, from a sample on."""
    first = np.rint(start / 2.88)
    return np.interp((first + np.arange(count)) * 2.88, np.arange(len(signal)), signal)


def test_every_symbol_of_a_beat_has_its_aami_class():
    classes = {symbol: CLASSES[label] for symbol, label in LABELS.items()}

    assert classes == {
        **dict.fromkeys("NLRBejn", "N"),
        **dict.fromkeys("AaJS", "S"),
        **dict.fromkeys("VEr", "V"),
        "F": "F",
        **dict.fromkeys("/fQ?", "Q"),
    }


# --- the three forms on signals made by hand ------------------------------------------------------


def test_kachuee_takes_the_median_interval_and_scale_of_ten_seconds():
    signal = slow_wave(7200)
    signal[3600:] = 2 * signal[3600:] - 1024
    early, late = [1000, 1300, 1640], [4000, 4200, 4410, 4600]  # medians 320 and 200

    cut = cut_beats(record(signal, early + late), "kachuee")

    for rows, positions, period, window in (
        (cut.rows[:3], early, 320, signal[:3600]),
        (cut.rows[3:], late, 200, signal[3600:]),
    ):
        count = round(1.2 * period / 2.88)
        assert 0 < count < 187
        for row, position in zip(rows, positions, strict=True):
            expected = (at_125_hz(signal, position, count) - window.min()) / np.ptp(window)
            np.testing.assert_allclose(row[:count], expected, atol=0.003)
            assert (row[count:] == 0).all()


def test_kachuee_continues_a_beat_into_the_next_window_and_scales_by_both():
    signal = 512 + slow_wave(7200) / 2
    signal[3000:3700] += np.arange(700)  # on to the next window, where it is largest

    cut = cut_beats(record(signal, [2900, 3200, 3500]), "kachuee")

    window = signal[: 3500 + 360]
    assert window.argmax() > 3600
    for row, position in zip(cut.rows, [2900, 3200, 3500], strict=True):
        expected = (at_125_hz(signal, position, 125) - window.min()) / np.ptp(window)
        np.testing.assert_allclose(row[:60], expected[:60], atol=0.02)  # before the step
    assert cut.rows[2].max() == 1


def test_the_rest_of_a_record_belongs_to_the_last_window():
    signal = slow_wave(9000)  # 25 s
    signal[8700:] += np.arange(300)

    cut = cut_beats(record(signal, [4000, 4300, 7300, 8000]), "kachuee")

    period = np.median([300, 3000, 700])
    count = 187
    assert 1.2 * period / 2.88 > count
    window = signal[3600:]
    expected = (at_125_hz(signal, 7300, count) - window.min()) / np.ptp(window)
    np.testing.assert_allclose(cut.rows[2], expected, atol=0.003)
    assert cut.shortened == 4


def test_kaggle_ends_a_fifth_of_an_interval_behind_the_next_beat():
    signal = np.random.default_rng(0).integers(800, 1200, 3000)
    positions = [100, 404, 651, 1000, 2990]

    cut = cut_beats(record(signal, positions), "kaggle")

    stops = [int(404 + 0.2 * 247), int(651 + 0.2 * 349), 1000 + 398, 3000]
    for row, start, stop in zip(cut.rows, positions, stops, strict=False):
        values = signal[start:stop:3][:187]
        np.testing.assert_array_equal(
            row[: len(values)], ((values - values.min()) / np.ptp(values)).astype(np.float32)
        )
        assert (row[len(values) :] == 0).all()
    assert cut.reasons == ("", "", "", "", "at the edge of the record")
    assert cut.shortened == 2  # those with 747 and 2,000 samples


def test_centred_has_the_annotation_in_the_middle():
    signal = slow_wave(3000)
    signal[1440] += 200  # a sample that both rates have

    cut = cut_beats(record(signal, [1440]), "centred")

    row = cut.rows[0]
    assert row[93] - row[[92, 94]].mean() > 0.05
    assert (row.min(), row.max()) == (0, 1)
    smooth = at_125_hz(slow_wave(3000), 1440, 187 - 93)[10:]
    assert np.corrcoef(row[103:], smooth)[0, 1] > 0.9999


def test_a_record_at_125_hz_is_not_resampled():
    signal = slow_wave(600)

    cut = cut_beats(record(signal, [300], rate=125), "centred")

    values = signal[300 - 93 : 300 + 94]
    np.testing.assert_allclose(cut.rows[0], (values - values.min()) / np.ptp(values), atol=1e-6)


# --- exclusions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_annotations_that_are_no_beats_are_not_counted_as_beats(form):
    cut = cut_beats(record(slow_wave(3600), [900, 1000, 1200, 1300], "+V~A"), form)

    assert cut.symbols == ("V", "A")
    np.testing.assert_array_equal(cut.positions, [1000, 1300])


@pytest.mark.parametrize("form", FORMS)
def test_a_record_without_beats_gives_none(form):
    cut = cut_beats(record(slow_wave(3600), [900], "+"), form)

    assert cut.rows.shape == (0, 187)
    assert cut.reasons == ()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda signal: signal[1500:1510].fill(np.nan), "missing samples"),
        (lambda signal: signal[1150:1900].fill(1024), "flat"),
        (lambda signal: np.put(signal, np.arange(1150, 1900), [1024, 1025]), "flat"),
        (lambda signal: signal[1450:1550].fill(2047), "clipped"),
        (lambda signal: signal[1450:1550].fill(0), "clipped"),
    ],
    ids=["missing", "constant", "one step", "upper limit", "lower limit"],
)
def test_a_spoilt_beat_is_excluded_with_the_reason_and_its_neighbours_stay(form, change, reason):
    signal = slow_wave(3600)
    change(signal)
    if (form, reason) == ("kaggle", "clipped"):
        reason = ""  # as in the published files
    positions = [300, 600, 1450, 1700, 2600, 2900]

    cut = cut_beats(record(signal, positions), form)

    assert cut.reasons[2] == reason
    assert cut.reasons[0] == cut.reasons[4] == ""
    assert len(cut.rows) == cut.reasons.count("")
    assert ((cut.rows >= 0) & (cut.rows <= 1)).all()


@pytest.mark.parametrize("form", FORMS)
def test_beats_beside_missing_samples_are_as_without(form):
    signal = slow_wave(3600)
    positions = [300, 600, 1200, 2400, 2600]
    whole = cut_beats(record(signal, positions), form)
    signal[1450:1454] = np.nan

    cut = cut_beats(record(signal, positions), form)

    assert cut.reasons.count("missing samples") == 1
    kept = [i for i, reason in enumerate(whole.reasons) if not reason]
    rows = whole.rows[[cut.reasons[i] == "" for i in kept]]
    np.testing.assert_allclose(cut.rows, rows, atol=0.01)


def test_a_clipped_peak_is_not_a_clipped_beat():
    signal = slow_wave(3600)
    signal[1500:1520] = 2047

    assert cut_beats(record(signal, [1200, 1500, 1800]), "centred").reasons[1] == ""


@pytest.mark.parametrize(
    ("form", "positions", "reasons"),
    [
        ("kachuee", [10, 310, 610, 3300], "...E"),
        ("kachuee", [1000, 1300, 4000], "..E"),
        ("centred", [264, 270, 3320, 3340], "E..E"),
        ("centred", [1000, 4000], ".E"),
        ("kaggle", [0, 3599], ".E"),
    ],
)
def test_a_beat_not_wholly_in_the_record_is_excluded(form, positions, reasons):
    cut = cut_beats(record(slow_wave(3600), positions), form)

    edge = "at the edge of the record"
    assert cut.reasons == tuple(edge if r == "E" else "" for r in reasons)


def test_a_window_with_one_beat_has_no_interval():
    cut = cut_beats(record(slow_wave(7200), [1000, 1300, 5000]), "kachuee")

    assert cut.reasons == ("", "", "no RR interval in its window")


@pytest.mark.parametrize("form", ["kachuee", "kaggle"])
def test_annotations_at_one_place_have_no_interval(form):
    cut = cut_beats(record(slow_wave(3600), [1000, 1000, 1000, 1000]), form)

    assert cut.reasons[0] == "no RR interval in its window"


def test_an_unknown_form_is_named():
    with pytest.raises(ValueError, match=r"one of kachuee, kaggle, centred, got 'rr'"):
        cut_beats(record(slow_wave(3600), [1000]), "rr")


# --- real records ---------------------------------------------------------------------------------

# Rows of mitbih_train.csv (the first) and mitbih_test.csv (its first three, and further ones): where
# they begin, their first values as published, and how many values come before the zeros.
PUBLISHED = {
    "122": (82213, [0.9779411554336548, 0.9264705777168274, 0.6813725233078003], 100),
    "103": (322111, [1.0, 0.7582644820213318, 0.1115702465176582], 124),
    "203": (608260, [0.9084249138832092, 0.7838827967643738, 0.5311355590820312], 100),
    "222": (58685, [0.7300884723663330, 0.2123893797397614, 0.0], 109),
    "118": (58350, [0.9094076752662659, 0.9756097793579102, 0.5331010222434998], 116),
    "115": (262416, [0.9278033971786499, 0.8663594722747803, 0.2995391786098480], 129),
    "230": (87351, [1.0, 0.9142300486564636, 0.4736842215061188], 100),
}


@needs_mitdb
@pytest.mark.parametrize("name", PUBLISHED)
def test_kaggles_rows_are_found_in_the_records(name):
    position, head, count = PUBLISHED[name]

    cut = cut_beats(read_record(MITDB, name), "kaggle")

    row = cut.rows[cut.positions.tolist().index(position)]
    np.testing.assert_allclose(row[:3], head, rtol=1e-7)
    assert np.flatnonzero(row)[-1] + 1 == count


@needs_mitdb
def test_beats_of_a_real_record_are_its_signal():
    real = read_record(MITDB, "100")
    raw = real.signal
    peaks = raw[[77, 370, 662]]  # the record's first three beats, by any viewer of it
    assert real.positions[1:4].tolist() == [77, 370, 662]
    assert (peaks > 1150).all()

    cut = cut_beats(real, "kachuee")

    # 13 beats in the first 10 s: 77 370 662 946 1231 1515 1809 2044 2402 2706 2998 3282 3560
    count = round(
        1.2 * np.median([293, 292, 284, 285, 284, 294, 235, 358, 304, 292, 284, 278]) / 2.88
    )
    window = raw[: 3560 + round(count * 2.88)]
    for index, position in enumerate([77, 370, 662]):
        expected = (at_125_hz(raw, position, count) - window.min()) / np.ptp(window)
        # the raw signal between its samples, against a filter: apart at the flanks of the R peak
        np.testing.assert_allclose(cut.rows[index][3 : count - 20], expected[3:-20], atol=0.05)
        np.testing.assert_allclose(cut.rows[index][0], expected[0], atol=0.15)
        assert (cut.rows[index][count:] == 0).all()


@needs_mitdb
def test_clipped_beats_of_a_real_record_are_excluded():
    cut = cut_beats(read_record(MITDB, "116"), "kachuee")

    clipped = [p for p, r in zip(cut.positions, cut.reasons, strict=True) if r == "clipped"]
    assert clipped == [360550, 360826, 500625, 500886, 505459, 505723]
