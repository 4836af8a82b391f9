"""Synthetic heartbeats in the five AAMI classes, for demonstration and tests.

Each beat is a sum of Gaussians, one a wave, as in McSharry et al. 2003
(doi:10.1109/TBME.2003.808805). They integrate a differential equation that moves the trace along
its cycle; here the sum itself is evaluated, at times relative to the beat, P and T being drawn out
with the square root of the interval before as theirs are with the heart rate. The
forms other than normal are not theirs; by class:

* ``N``: P, Q, R, S, T; in some patients with a bundle branch block, left (wide, notched, T
  inverted) or right (a late broad S);
* ``S``: early, another P, the QRS a little aberrant, then a pause that does not compensate;
* ``V``: early, without P, wide, upright or inverted, T opposed to it, then a pause that does;
* ``F``: the patient's normal and ventricular waves at once, 3 : 7 to 7 : 3;
* ``Q``: a pacing spike, then a wide QRS, for stretches of some patients' records.

Every patient has waves, rhythm, baseline wander and noise of their own. The trace is
recorded as by the MIT-BIH database's converter, annotated at R or at the spike, as there, and cut
like its records, in the form ``kachuee``.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from monai_ima.counts import checked_count
from monai_ima.data.ecg.beats import CLASSES, LABELS, cut_beats
from monai_ima.data.ecg.dataset import (
    BEATS_FILE,
    SETTINGS_FILE,
    SUMMARY_FILE,
    TABLE_FILE,
    write_digests,
)
from monai_ima.data.ecg.records import Record
from monai_ima.data.whole_folder import write_whole

__all__ = ["gaussian_trace", "synthetic_record", "write_synthetic_ecg"]

GENERATOR_VERSION = 1  # raise it whenever any value of a beat changes

Array: TypeAlias = npt.NDArray[np.float64]

RATE = 360  # samples a second, as MIT-BIH's
MARGIN = 2.0  # seconds before the first beat and behind the last, so that all can be cut
STEPS = 200  # of the converter to one millivolt
LIMITS = (0.0, 2047.0)
KINDS = ("narrow", "narrow", "narrow", "left", "narrow", "narrow", "right", "paced")  # in turn
NORMAL = {"narrow": "N", "left": "L", "right": "R", "paced": "N"}  # symbols, by conduction

SINUS, ATRIAL, VENTRICULAR, PACED = range(4)  # forms of beats
P, Q, R, S, LATE, T = range(6)  # waves of a form; LATE is what a wide QRS has beside the others

# rows: a wave's height in mV, its centre and its standard deviation in seconds
NARROW = np.array(
    [
        (0.14, -0.16, 0.022),
        (-0.10, -0.028, 0.008),
        (1.2, 0.0, 0.011),
        (-0.25, 0.028, 0.010),
        (0.0, 0.05, 0.015),
        (0.28, 0.27, 0.045),
    ]
)


def write_synthetic_ecg(
    output: str | Path, *, patients: int = 40, beats_per_patient: int = 500, seed: int = 0
) -> Path:
    """Write a folder of beats as ``write_ecg_beats`` does: by default 20,000 in a few seconds.

    About four in five are normal, one in ten is V, one in twenty S, and fewer Q and F;
    ``summary.json`` has the counts. Every eighth patient is paced at times, one in four has a bundle
    branch block, and the rates of ectopic beats differ. A patient's beats depend on the seed, the patient and ``beats_per_patient`` alone. The
    folder appears whole or not at all; one that was written with the same settings is reused
    untouched.

    Args:
        output: the folder to write; its parents are made.
        patients: how many, at least 8, so that one is paced.
        beats_per_patient: how many, at least 50.
        seed: what all randomness derives from, at least 0.

    Returns:
        ``output`` as a path, for :func:`~monai_ima.data.load_ecg`.

    Raises:
        ValueError: if an argument is out of range, or ``output`` holds anything else.
    """
    checked_count("patients", patients, at_least=len(KINDS))
    checked_count("beats_per_patient", beats_per_patient, at_least=50)
    checked_count("seed", seed, at_least=0)
    settings = {
        "generator": "monai_ima.data.synthetic_ecg",
        "version": GENERATOR_VERSION,
        "patients": patients,
        "beats_per_patient": beats_per_patient,
        "seed": seed,
    }

    def write(draft: Path) -> None:
        rows = []
        table = []
        for patient in range(patients):
            record = synthetic_record(patient, beats_per_patient, seed)
            cut = cut_beats(record)
            rows.append(cut.rows)
            place = record.name, record.patient
            table += [
                (*place, position, symbol, CLASSES[LABELS[symbol]], record.lead)
                for position, symbol in zip(cut.positions, cut.symbols, strict=True)
            ]
        classes = [row[4] for row in table]
        summary = {
            "form": "kachuee",
            "records": patients,
            "patients": patients,
            "leads": {"synthetic": patients},
            "written": {name: classes.count(name) for name in CLASSES},
        }
        np.save(draft / BEATS_FILE, np.concatenate(rows))
        with (draft / TABLE_FILE).open("w", newline="", encoding="utf-8") as stream:
            header = ("record", "patient", "position", "symbol", "class", "lead")
            csv.writer(stream).writerows([header, *table])
        (draft / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")
        write_digests(draft)

    write_whole(
        Path(output),
        settings,
        settings_file=SETTINGS_FILE,
        kind="a folder of ECG beats",
        write=write,
    )
    return Path(output)


def synthetic_record(patient: int, beats: int, seed: int) -> Record:
    """Draw one patient's record.

    Args:
        patient: its number, which also decides how the heart conducts: every eighth is paced.
        beats: how many.
        seed: what else all randomness derives from.
    """
    rng = np.random.default_rng([seed, patient])
    kind = KINDS[patient % len(KINDS)]
    symbols = _symbols(kind, beats, rng)
    intervals = _intervals(symbols, rng)
    times = MARGIN + np.cumsum(intervals) - intervals[0]
    count = int((times[-1] + MARGIN) * RATE)
    trace = gaussian_trace(_waves(kind, symbols, times, intervals, rng), count, RATE)
    trace += _disturbance(count, rng)
    return Record(
        name=f"synthetic-{patient}",
        patient=f"synthetic-{patient}",
        lead="synthetic",
        rate=float(RATE),
        signal=np.clip(np.rint(trace * STEPS + 1024), *LIMITS),
        limits=LIMITS,
        positions=np.rint(times * RATE).astype(np.int64),
        symbols=tuple(symbols.tolist()),
    )


def gaussian_trace(waves: Array, count: int, rate: float) -> Array:
    """Sum Gaussians at the times 0, 1 / rate, 2 / rate, ...

    Args:
        waves: ``(K, 3)``, rows ``(height, centre, standard deviation)``, the last two in seconds. A
            wave ends at six standard deviations, ``1.5e-8`` of its height, or further out.
        count: of samples.
        rate: samples per second.

    Returns:
        ``(count,)``, in the unit of the heights.
    """
    height, centre, deviation = waves.T[..., None]
    reach = int(np.ceil(6 * deviation.max() * rate))
    samples = np.rint(centre * rate).astype(np.int64) + np.arange(-reach, reach + 1)
    values = height * np.exp(-(((samples / rate - centre) / deviation) ** 2) / 2)
    inside = (samples >= 0) & (samples < count)
    trace = np.zeros(count)
    np.add.at(trace, samples[inside], values[inside])
    return trace


def _symbols(kind: str, beats: int, rng: np.random.Generator) -> npt.NDArray[np.str_]:
    """The annotation of each beat."""
    rates = rng.gamma(1.2, (0.055, 0.085, 0.025))  # of A, V and F
    chance = rng.random(beats)
    symbols = np.full(beats, NORMAL[kind])
    for symbol, rate, before in zip("AVF", rates, np.cumsum(rates) - rates, strict=True):
        symbols[(chance >= before) & (chance < before + rate)] = symbol
    if kind == "paced":  # on demand, for stretches of 20 beats on average
        stretches = np.repeat(rng.random(beats) < 0.4, rng.geometric(1 / 20, beats))[:beats]
        symbols[stretches & (symbols == NORMAL[kind])] = "/"
    return symbols


def _intervals(symbols: npt.NDArray[np.str_], rng: np.random.Generator) -> Array:
    """Seconds from the beat before to each."""
    count = len(symbols)
    period = rng.uniform(0.6, 1.05)
    breathing = 0.03 * np.sin(2 * np.pi * (np.arange(count) * period / 4 + rng.random()))
    sinus = period * (1 + breathing + rng.normal(0, rng.uniform(0.01, 0.04), count))
    early = {"A": rng.uniform(0.6, 0.85), "V": rng.uniform(0.55, 0.75), "F": 0.95}
    intervals = sinus * rng.normal(1, 0.03, count)
    for symbol, share in early.items():
        intervals[symbols == symbol] *= share
    intervals[symbols == "/"] = 1.05 * period  # the pacemaker waits a little longer, and is exact
    resumed = np.isin(symbols[1:], [*NORMAL.values()])
    after_v = np.flatnonzero((symbols[:-1] == "V") & resumed) + 1
    after_s = np.flatnonzero((symbols[:-1] == "A") & resumed) + 1
    intervals[after_v] = 2 * sinus[after_v] - intervals[after_v - 1]  # the sinus node is not reset
    intervals[after_s] *= rng.uniform(1.05, 1.2)  # it is
    return intervals


def _forms(kind: str, rng: np.random.Generator) -> Array:
    """A patient's waves, ``(4, 6, 3)``: sinus, atrial, ventricular and paced beats."""
    sinus = NARROW.copy()
    if kind == "left":
        sinus[[Q, S], 0] = 0
        sinus[R, 2] = 0.022
        sinus[LATE] = 0.9, 0.06, 0.022
        sinus[T, 0] *= -1
    elif kind == "right":
        sinus[S] = -0.15, 0.03, 0.010
        sinus[LATE] = -0.5, 0.065, 0.022
    sinus[:, 0] *= rng.lognormal(0, 0.3, len(sinus))
    sinus[:, 1] *= rng.normal(1, 0.08, len(sinus))
    sinus[:, 2] *= rng.lognormal(0, 0.12, len(sinus))

    atrial = sinus.copy()
    atrial[P, 0] *= rng.uniform(-1, 0.6)
    atrial[P, 1] *= rng.uniform(0.7, 0.9)
    atrial[[R, T], 0] *= rng.uniform(0.7, 1.0, 2)
    atrial[[Q, R, S, LATE], 2] *= rng.uniform(1.1, 1.4)
    atrial[S, 0] *= rng.uniform(1.3, 2)

    ventricular = np.zeros_like(sinus)
    upright = rng.choice([1.0, -1.0], p=[0.65, 0.35])
    height = upright * rng.uniform(0.9, 2.2)
    ventricular[R] = height, 0, rng.uniform(0.028, 0.04)
    ventricular[S] = -height * rng.uniform(0, 0.3), rng.uniform(-0.1, -0.07), 0.02
    ventricular[LATE] = height * rng.uniform(-0.8, 0.6), rng.uniform(0.07, 0.1), 0.03
    ventricular[T] = -height * rng.uniform(0.2, 0.45), rng.uniform(0.3, 0.36), 0.065

    paced = np.zeros_like(sinus)
    paced[Q] = rng.uniform(0.7, 1.5), 0, 0.004  # the spike, in the place of Q
    depth = rng.uniform(0.5, 1.8) * rng.choice([1, -1], p=[0.25, 0.75])
    paced[R] = depth, rng.uniform(0.08, 0.12), rng.uniform(0.028, 0.038)
    paced[LATE] = rng.uniform(0.2, 0.8), 0.025, 0.016
    paced[T] = -depth * rng.uniform(0.2, 0.45), rng.uniform(0.33, 0.4), 0.06
    return np.stack([sinus, atrial, ventricular, paced])


def _waves(
    kind: str,
    symbols: npt.NDArray[np.str_],
    times: Array,
    intervals: Array,
    rng: np.random.Generator,
) -> Array:
    """The waves of a record, as rows for ``gaussian_trace``."""
    forms = _forms(kind, rng)
    weights = np.zeros((len(symbols), len(forms)))
    weights[:, SINUS] = symbols == NORMAL[kind]
    weights[:, ATRIAL] = symbols == "A"
    weights[:, VENTRICULAR] = symbols == "V"
    weights[:, PACED] = symbols == "/"
    fused = symbols == "F"
    share = rng.uniform(0.3, 0.7, fused.sum())
    weights[np.ix_(fused, [SINUS, VENTRICULAR])] = np.stack([share, 1 - share], axis=1)

    shape = len(symbols), *forms.shape[:2]
    height, centre, deviation = (np.broadcast_to(forms[..., i], shape).copy() for i in range(3))
    height *= weights[..., None] * rng.normal(1, 0.07, shape)
    height *= 1 + 0.06 * np.sin(2 * np.pi * times / 4)[:, None, None]  # the chest moves
    deviation *= rng.normal(1, 0.05, shape)
    drawn_out = np.sqrt(intervals)[:, None, None]
    centre[..., [P, T]] *= drawn_out
    deviation[..., [P, T]] *= drawn_out
    centre += times[:, None, None]
    rows: Array = np.stack([height, centre, deviation], axis=-1)[height != 0]
    return rows


def _disturbance(count: int, rng: np.random.Generator) -> Array:
    """Baseline wander, mains hum and the noise of muscles, in mV."""
    time = np.arange(count) / RATE
    phases = rng.random((6, 1))
    frequency = np.r_[rng.uniform(0.2, 0.35), rng.uniform(0.02, 0.15, 3), 60, 0.03][:, None]
    *wander, hum, activity = np.sin(2 * np.pi * (frequency * time + phases))
    amplitude = rng.lognormal(np.log(0.05), 0.6, len(wander))
    noise = rng.lognormal(np.log(0.012), 0.5) * np.exp(0.7 * activity)
    hum_amplitude = 0.02 * rng.random() ** 2
    trace: Array = amplitude @ np.array(wander) + hum_amplitude * hum
    trace += noise * rng.normal(size=count)
    return trace
