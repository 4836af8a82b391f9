"""Small WFDB records with annotations, as PhysioNet's are written."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import wfdb

RATE = 360
GAIN, ZERO = 200, 1024  # steps per millivolt, and the step of 0 mV: MIT-BIH's
CODES = {"N": 1, "V": 5, "F": 6, "A": 8, "/": 12, "Q": 13, "~": 14, "+": 28}


def heartbeat(seconds, period=300, seed=0):
    """Steps of a signal with an R peak every ``period`` samples from ``period`` on."""
    time = np.arange(round(seconds * RATE))
    phase = (time + period // 2) % period - period // 2
    wave = 200 * np.exp(-((phase / 8) ** 2)) + 40 * np.exp(-(((phase - 90) / 30) ** 2))
    noise = np.random.default_rng(seed).normal(0, 3, len(time))
    return np.where(time < period // 2, 0, wave) + noise + ZERO


def write_record(folder, name, leads, annotations):
    """Write a record in MIT-BIH's form.

    Args:
        leads: the steps of each lead, by its name; NaN where missing.
        annotations: pairs of position and symbol, or code.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    steps = np.stack([np.asarray(lead, dtype=float) for lead in leads.values()], axis=1)
    count = steps.shape[1]
    wfdb.wrsamp(
        name,
        fs=RATE,
        units=["mV"] * count,
        sig_name=list(leads),
        p_signal=(np.rint(steps) - ZERO) / GAIN,
        fmt=["212"] * count,
        adc_gain=[GAIN] * count,
        baseline=[ZERO] * count,
        write_dir=str(folder),
    )
    header = Path(folder) / f"{name}.hea"
    # 11 bits around 1024, which wrsamp has no argument for
    header.write_text(header.read_text().replace("/mV 12 0 ", f"/mV 11 {ZERO} "))
    write_annotations(Path(folder) / f"{name}.atr", annotations)


def write_annotations(file, annotations):
    """Write MIT's format by hand, since wfdb refuses what a test of errors needs."""
    content, last = b"", 0
    for position, symbol in annotations:
        step = position - last
        if step >= 1 << 10:
            long = struct.pack("<i", step)
            content += struct.pack("<H", 59 << 10) + long[2:] + long[:2]
            step = 0
        content += struct.pack("<H", (CODES.get(symbol, symbol) << 10) | step)
        last = position
    file.write_bytes(content + b"\0\0")
