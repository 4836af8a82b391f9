"""The eyes that synthetic B-scans show: anatomy and lesions, drawn at random.

Lengths are fractions of the image's height; ``u`` is the signed lateral distance from the middle
column, so that the central square is ``abs(u) < 0.5``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]


def _no_bumps() -> Array:
    return np.empty((0, 3))


def _no_ellipses() -> Array:
    return np.empty((0, 4))


@dataclass(frozen=True, eq=False)
class Lesion:
    """How disease departs from the normal retina; the default is no disease.

    A bump is a row ``(centre u, height, half-width)``; an ellipse is a row ``(centre u, depth as a
    fraction of the neural retina, half-width, half-height)``.
    """

    pit_filled: float = 0.0  # fraction of the foveal pit lost
    rpe_damage: float = 0.0  # fraction of the RPE's reflectivity lost where it is broken
    deposit_reflectivity: float = 0.45  # between the raised RPE and Bruch's membrane
    rpe_bumps: Array = field(default_factory=_no_bumps)
    membrane: Array = field(default_factory=_no_bumps)  # bumps of bright material on the RPE
    fluid: Array = field(default_factory=_no_bumps)  # bumps of dark fluid under the retina
    swelling: Array = field(default_factory=_no_bumps)  # bumps of the retina's thickness
    cysts: Array = field(default_factory=_no_ellipses)
    foci: Array = field(
        default_factory=_no_ellipses
    )  # hyperreflective dots: lipid, inflammatory cells


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What the slices of one patient share."""

    position: float  # of Bruch's membrane at the middle column, from the top
    tilt: float  # slope of Bruch's membrane
    curvature: float  # u**2 coefficient; negative lifts the borders
    inner_retina: float  # thickness from the inner limiting membrane to the outer plexiform layer
    outer_nuclear: float  # thickness
    photoreceptors: float  # thickness from the external limiting membrane to the RPE
    rpe: float  # thickness
    nasal: float  # gain of nerve-fibre thickness per u: positive in a right eye
    pit_centre: float
    pit_depth: float  # fraction of the inner retina missing at the pit's centre
    pit_width: float
    choroid_decay: float  # depth over which the signal falls by a factor e
    hyaloid_gap: float  # distance of the detached vitreous face from the retina; 0: attached
    vessels: Array  # rows (u, half-width)
    brightness: float
    gamma: float
    lesion: Lesion


def random_patient(label: str, rng: np.random.Generator) -> Anatomy:
    """Draw the eye of a patient of a class."""
    pit_centre = rng.normal(0, 0.05)
    vessel_count = rng.integers(1, 6)
    return Anatomy(
        position=rng.uniform(0.56, 0.72),
        tilt=rng.normal(0, 0.09),
        curvature=rng.normal(-0.06, 0.14),
        inner_retina=rng.uniform(0.10, 0.16),
        outer_nuclear=rng.uniform(0.045, 0.065),
        photoreceptors=rng.uniform(0.035, 0.045),
        rpe=rng.uniform(0.018, 0.025),
        nasal=rng.choice([-1, 1]) * rng.uniform(0.5, 1.2),
        pit_centre=pit_centre,
        pit_depth=rng.uniform(0.55, 0.9),
        pit_width=rng.uniform(0.08, 0.14),
        choroid_decay=rng.uniform(0.08, 0.2),
        hyaloid_gap=max(0.0, rng.uniform(-0.15, 0.08)),
        vessels=np.column_stack(
            [rng.uniform(-0.8, 0.8, vessel_count), rng.uniform(0.004, 0.012, vessel_count)]
        ),
        brightness=rng.uniform(0.75, 1.1),
        gamma=rng.uniform(0.85, 1.2),
        lesion=LESIONS[label](rng, pit_centre),
    )


def _no_lesion(_rng: np.random.Generator, _fovea: float) -> Lesion:
    return Lesion()


def _drusen(rng: np.random.Generator, _fovea: float) -> Lesion:
    count = int(rng.integers(3, 9))
    heights = rng.uniform(0.012, 0.035, count)
    heights[:2] += 0.012  # two at least stay visible at 64 x 64 pixels
    return Lesion(
        pit_filled=rng.uniform(0, 0.3),
        rpe_damage=rng.uniform(0, 0.3),
        deposit_reflectivity=rng.uniform(0.4, 0.6),
        rpe_bumps=_rows(rng.uniform(-0.38, 0.38, count), heights, rng.uniform(0.014, 0.045, count)),
    )


def _cnv(rng: np.random.Generator, fovea: float) -> Lesion:
    centre = fovea + rng.normal(0, 0.08)
    under_rpe = rng.random()  # 1: detachment under the RPE (type 1), 0: membrane on it (type 2)
    height, width = 0.03 + 0.085 * under_rpe, rng.uniform(0.09, 0.18)
    lobes = int(rng.integers(2, 6))
    cysts = int(rng.integers(1, 4)) if rng.random() < 0.35 else 0
    return Lesion(
        pit_filled=rng.uniform(0.3, 0.9),
        rpe_damage=rng.uniform(0.3, 0.8),
        deposit_reflectivity=rng.uniform(0.15, 0.6),
        rpe_bumps=np.vstack(
            [
                _rows([centre], [height], [width]),
                _rows(
                    centre + rng.uniform(-1.8, 1.8, lobes) * width,
                    rng.uniform(0.4, 0.9, lobes) * height,
                    rng.uniform(0.025, 0.06, lobes),
                ),
            ]
        ),
        membrane=_rows(
            centre + rng.normal(0, 0.05, 2),
            (0.01 + 0.045 * (1 - under_rpe)) * rng.uniform(0.6, 1, 2),
            rng.uniform(0.05, 0.11, 2),
        ),
        fluid=_rows(
            centre + rng.choice([-1, 1], 1) * rng.uniform(0.5, 1.5) * width,
            rng.uniform(0.01, 0.05, 1),
            rng.uniform(0.05, 0.1, 1),
        ),
        swelling=_rows([centre], rng.uniform(0, 0.05, 1), [1.5 * width]),
        cysts=_ellipses(rng, centre, 0.08, cysts, (0.008, 0.025)),
        foci=_ellipses(rng, centre, 0.15, int(rng.integers(0, 5)), (0.004, 0.006)),
    )


def _dme(rng: np.random.Generator, fovea: float) -> Lesion:
    detachments = int(rng.random() < 0.3)
    return Lesion(
        pit_filled=rng.uniform(0.6, 1),
        swelling=np.vstack(
            [
                _rows(
                    [fovea + rng.normal(0, 0.04)],
                    [rng.uniform(0.03, 0.13)],
                    [rng.uniform(0.1, 0.22)],
                ),
                _rows([rng.uniform(-0.4, 0.4)], [rng.uniform(0, 0.06)], [0.25]),
            ]
        ),
        fluid=_rows([fovea], [rng.uniform(0.02, 0.05)], [0.1])[:detachments],
        cysts=np.vstack(
            [
                _ellipses(rng, fovea, 0.05, int(rng.integers(1, 6)), (0.02, 0.06)),
                _ellipses(rng, fovea, 0.17, int(rng.integers(4, 15)), (0.008, 0.025)),
            ]
        ),
        foci=_ellipses(rng, fovea, 0.2, int(rng.integers(0, 12)), (0.004, 0.007)),
    )


LESIONS = {"CNV": _cnv, "DME": _dme, "DRUSEN": _drusen, "NORMAL": _no_lesion}


def _rows(*columns: npt.ArrayLike) -> Array:
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


def _ellipses(
    rng: np.random.Generator, centre: float, spread: float, count: int, radii: tuple[float, float]
) -> Array:
    radius = rng.uniform(*radii, count)
    return _rows(
        rng.normal(centre, spread, count),
        rng.uniform(0.35, 0.8, count),
        radius,
        radius * rng.uniform(0.8, 1.5, count),
    )


def neighbouring_slice(anatomy: Anatomy, rng: np.random.Generator) -> Anatomy:
    """Move to a neighbouring slice: the same eye, the lesion cut a little elsewhere."""

    def cut(shapes: Array) -> Array:
        moved = shapes.copy()
        moved[:, 0] += rng.normal(0, 0.01, len(shapes))
        moved[:, -2:] *= rng.uniform(0.85, 1.1, (len(shapes), 1))
        return moved

    lesion = anatomy.lesion
    return replace(
        anatomy,
        position=anatomy.position + rng.normal(0, 0.01),
        pit_depth=anatomy.pit_depth * rng.uniform(0.85, 1),
        lesion=replace(
            lesion,
            rpe_bumps=cut(lesion.rpe_bumps),
            membrane=cut(lesion.membrane),
            fluid=cut(lesion.fluid),
            swelling=cut(lesion.swelling),
            cysts=cut(lesion.cysts),
            foci=cut(lesion.foci),
        ),
    )
