"""Beats from a record: a row of 187 values from 0 to 1 for each annotated beat, in three forms."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

if TYPE_CHECKING:
    from monai_ima.data.ecg.records import Record

CLASSES = ("N", "S", "V", "F", "Q")
_SYMBOLS = {
    "N": "NLRBejn",  # normal, bundle branch block, escape from above the ventricles
    "S": "AaJS",  # premature, from above the ventricles
    "V": "VEr",  # premature, escape and R-on-T, from the ventricles
    "F": "F",  # fusion of a ventricular and a normal beat
    "Q": "/fQ?",  # paced, fusion of a paced and a normal beat, unclassified
}
MEANINGS = {
    "N": "normal, with a bundle branch block, or an escape beat from above the ventricles",
    "S": "premature, from above the ventricles",
    "V": "premature or an escape beat, from the ventricles",
    "F": "fusion of a ventricular and a normal beat",
    "Q": "paced, fusion of a paced and a normal beat, or unclassified",
}
"""The five classes of the AAMI, in words."""
LABELS = {symbol: CLASSES.index(name) for name, symbols in _SYMBOLS.items() for symbol in symbols}
NOT_BEATS = frozenset(" ~|sT*D\"=p^t+u![]@x()'`")  # rhythm, noise, waves, comments
LENGTH = 187
RATE = 125  # samples of a row per second

EDGE = "at the edge of the record"
NO_INTERVAL = "no RR interval in its window"
MISSING = "missing samples"
FLAT = "flat"
CLIPPED = "clipped"
REASONS = (EDGE, NO_INTERVAL, MISSING, FLAT, CLIPPED)

_WINDOW = 10  # seconds
_CLIPPED_SHARE = 0.1

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CutBeats:
    """What became of the annotated beats of a record.

    Attributes:
        rows: ``(K, 187)``, the beats kept.
        positions: ``(B,)``, the sample of each annotated beat, at the record's rate.
        symbols: ``(B,)``, its code.
        reasons: ``(B,)``, why it was excluded, one of ``REASONS``; empty if it was kept.
        shortened: how many of those kept are longer than 187 samples and lost their ends.
    """

    rows: npt.NDArray[np.float32]
    positions: Ints
    symbols: tuple[str, ...]
    reasons: tuple[str, ...]
    shortened: int


@dataclass(frozen=True, eq=False)
class _Plan:
    """Which samples a form takes of each beat.

    A row is ``values[start:stop:step]``; the smallest and the largest of ``values[low:high:step]``
    become 0 and 1.
    """

    values: Floats
    ratio: float  # samples of the record to one of values
    step: int
    starts: Ints
    stops: Ints
    lows: Ints
    highs: Ints
    reasons: list[str]  # what is wrong beside the samples
    clipped_share: float = _CLIPPED_SHARE  # more at the converter's limits are too many


def cut_beats(record: Record, form: str = "kachuee") -> CutBeats:
    """Cut the annotated beats of a record to rows of 187 values from 0 to 1.

    ``kachuee``
        The steps that Kachuee et al. 2018 (arXiv:1805.00794) describe: windows of 10 s, scaled to
        [0, 1]; from each R peak 1.2 times the median RR interval of its window, at 125 Hz; zeros
        behind. Where their text leaves a choice: the R peaks are those annotated, for a beat
        without annotation has no class, and their set has all annotated beats but 48, which local
        maxima above 0.9 of a window's range could not be. The windows lie end to end, and the last
        takes what is left over. A beat that runs over the end of its window is continued, and the
        window is scaled by its smallest and largest value up to there.
    ``kaggle``
        What their published files ``mitbih_train.csv`` and ``mitbih_test.csv`` hold, which is not
        what the text says: from each annotated beat to a fifth of an RR interval behind the next;
        of these every third sample (of 360 Hz, without a filter: 120 Hz); each beat scaled to
        [0, 1] by itself; zeros behind. The last beat of each record, which has no next, is not
        there (48 of 109,494); clipped beats are. Found by looking for rows of the files in the
        records: all seven looked for are equal in every value, and so is the number of beats of
        each class. None of the seven is longer than 187 samples (here the part kept is scaled), the
        last but one of a record (here its fifth is of its own RR interval), or of record 114, whose
        first lead is not MLII.
    ``centred``
        187 samples at 125 Hz with the annotation in the middle, each beat scaled to [0, 1] by
        itself.

    A beat is excluded, with the reason, if it is not wholly within the record, if its window has no
    RR interval, or if of its samples one is missing, all lie within one step of the converter
    (flat) or more than a tenth at its limits (clipped). What is longer than 187 samples loses its
    end.

    Args:
        record: the lead and its annotations; those that are no beats are ignored.
        form: ``"kachuee"``, ``"kaggle"`` or ``"centred"``.

    Raises:
        ValueError: if there is no such form.
    """
    if form not in FORMS:
        raise ValueError(f"expected the form to be one of {', '.join(FORMS)}, got {form!r}")
    annotated = [
        (position, symbol)
        for position, symbol in zip(record.positions, record.symbols, strict=True)
        if symbol in LABELS
    ]
    positions = np.array([position for position, _ in annotated], dtype=np.int64)
    plan = FORMS[form](record, positions)
    reasons = _reasons(record, plan)
    kept = [i for i, reason in enumerate(reasons) if not reason]
    rows = np.zeros((len(kept), LENGTH), dtype=np.float32)
    for row, i in zip(rows, kept, strict=True):
        values = plan.values[plan.starts[i] : plan.stops[i] : plan.step][:LENGTH]
        scale = plan.values[plan.lows[i] : plan.highs[i] : plan.step]
        row[: len(values)] = (values - scale.min()) / np.ptp(scale)
    return CutBeats(
        rows=rows,
        positions=positions,
        symbols=tuple(symbol for _, symbol in annotated),
        reasons=tuple(reasons),
        shortened=int((plan.stops - plan.starts > LENGTH * plan.step)[kept].sum()),
    )


def _kachuee(record: Record, positions: Ints) -> _Plan:
    values = _resampled(record)
    ratio = record.rate / RATE
    windows = int(len(record.signal) // (_WINDOW * record.rate)) or 1
    window = np.minimum(positions // (_WINDOW * record.rate), windows - 1).astype(np.int64)
    intervals = np.full(len(positions), np.nan)  # T, the nominal period
    for number in np.unique(window):
        inside = window == number
        if inside.sum() > 1:
            intervals[inside] = np.median(np.diff(positions[inside]))
    starts = _rounded(positions / ratio)
    stops = starts + _rounded(np.nan_to_num(1.2 * intervals / ratio))
    lows = window * _WINDOW * RATE
    highs = np.where(window == windows - 1, len(values), lows + _WINDOW * RATE)
    for number in np.unique(window):
        inside = window == number
        highs[inside] = np.maximum(highs[inside], _shown(starts, stops, 1)[inside].max())
    return _Plan(
        values=values,
        ratio=ratio,
        step=1,
        starts=starts,
        stops=stops,
        lows=lows,
        highs=highs,
        reasons=[NO_INTERVAL if missing else "" for missing in np.isnan(intervals)],
    )


def _kaggle(record: Record, positions: Ints) -> _Plan:
    step = max(1, round(record.rate / RATE))
    intervals = np.diff(positions)
    following = np.r_[intervals[1:], intervals[-1:]]  # of the last but one beat, its own
    # whole samples are what Python's slices take, and what their rows' lengths agree with
    stops = (positions[1:] + 0.2 * following).astype(np.int64)
    starts = positions[:-1]
    last = positions[-1:]
    stops = np.r_[np.minimum(stops, len(record.signal)), last]
    starts = np.r_[starts, last]
    return _Plan(
        values=_filled(record.signal),
        ratio=1,
        step=step,
        starts=starts,
        stops=stops,
        lows=starts,
        highs=_shown(starts, stops, step),
        reasons=[*[""] * len(intervals), *[EDGE] * len(last)],
        clipped_share=1.0,
    )


def _centred(record: Record, positions: Ints) -> _Plan:
    ratio = record.rate / RATE
    starts = _rounded(positions / ratio) - LENGTH // 2
    stops = starts + LENGTH
    return _Plan(
        values=_resampled(record),
        ratio=ratio,
        step=1,
        starts=starts,
        stops=stops,
        lows=starts,
        highs=stops,
        reasons=[""] * len(positions),
    )


FORMS = {"kachuee": _kachuee, "kaggle": _kaggle, "centred": _centred}


def _reasons(record: Record, plan: _Plan) -> list[str]:
    missing = np.isnan(record.signal)
    at_limit = (record.signal <= record.limits[0]) | (record.signal >= record.limits[1])
    stops = _shown(plan.starts, plan.stops, plan.step)

    def reason(known: str, start: int, stop: int) -> str:
        if known:
            return known
        if start < 0 or stop > len(plan.values):
            return EDGE
        if stop <= start:  # annotations at the same place
            return NO_INTERVAL
        span = slice(int(start * plan.ratio), int(stop * plan.ratio))
        if missing[span].any():
            return MISSING
        if np.ptp(record.signal[span]) <= 1:
            return FLAT
        return CLIPPED if at_limit[span].mean() > plan.clipped_share else ""

    return [reason(*beat) for beat in zip(plan.reasons, plan.starts, stops, strict=True)]


def _shown(starts: Ints, stops: Ints, step: int) -> Ints:
    """Where the beats end in their rows."""
    return np.minimum(stops, starts + LENGTH * step)


def _resampled(record: Record) -> Floats:
    ratio = RATE / Fraction(record.rate).limit_denominator(1000)
    resampled: Floats = resample_poly(
        _filled(record.signal), ratio.numerator, ratio.denominator, padtype="line"
    )
    return resampled


def _filled(signal: Floats) -> Floats:
    """Missing samples bridged, lest a filter spread them over the beats around."""
    present = ~np.isnan(signal)
    if present.all() or not present.any():
        return np.nan_to_num(signal)
    time = np.arange(len(signal))
    return np.interp(time, time[present], signal[present])


def _rounded(values: Floats) -> Ints:
    return np.rint(values).astype(np.int64)
