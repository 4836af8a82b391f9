"""Whether a case is as bright, and has as much to see, as what a model was validated on."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

Levels = Mapping[str, tuple[float, float]]
"""By name of a measure, its smallest and its largest value among samples."""

_TIMES = 2.0  # beyond the range of the samples, from which a case is unlike all of them


def levels_of(inputs: Tensor, low: float) -> Levels:
    """The range of mean and standard deviation among samples.

    Args:
        inputs: ``(N, C, *)`` of the samples, as the network takes them.
        low: smallest valid value, from which means are counted.
    """
    measured = [_measures(values, low) for values in inputs]
    return {
        name: (min(one[name] for one in measured), max(one[name] for one in measured))
        for name in measured[0]
    }


def unlike(inputs: Tensor, levels: Levels, low: float) -> str:
    """What tells a case from all of the samples, in words; empty from half to twice what they have.

    Such is an image of 12 bits in a file of 16 for a model of 8 bits, one that is shown inverted, or one
    with nothing in it: a network answers each with much confidence.

    Args:
        inputs: ``(C, *)`` of the case.
        levels: of samples.
        low: smallest valid value.
    """
    said = [
        f"{name} {value:.2g}, of the validation samples {least:.2g} to {most:.2g}"
        for name, value in _measures(inputs, low).items()
        if name in levels
        for least, most in [levels[name]]
        if value < least / _TIMES or value > most * _TIMES
    ]
    if not said:
        return ""
    return f"unlike the validation samples: {'; '.join(said)}; its range of values may be another"


def _measures(values: Tensor, low: float) -> dict[str, float]:
    values = values.double()
    return {
        "mean": float(values.mean()) - low,
        "standard deviation": float(values.std(correction=0)),
    }
