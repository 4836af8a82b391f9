"""Synthetic retinal OCT B-scans in the four classes of Kermany 2018, for demonstration and tests.

The classes differ in the signs that a grader looks for, on a retina whose position, tilt,
thickness, foveal pit, vessels, brightness and contrast vary alike in all of them:

* ``CNV``: an irregular pigment epithelial detachment and bright material under the retina, a broken
  retinal pigment epithelium (RPE), often subretinal fluid;
* ``DME``: a thickened retina with dark cysts, the foveal pit filled in, a smooth RPE;
* ``DRUSEN``: several small bumps of the RPE over deposits on Bruch's membrane;
* ``NORMAL``: smooth layers, an intact pit, a smooth RPE.

Lengths are fractions of the image's height; ``u`` is the signed lateral distance from the middle
column, so that the central square is ``abs(u) < 0.5``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.filters import gaussian

from monai_ima.data.whole_folder import write_whole

__all__ = ["CLASSES", "synthetic_bscan", "write_synthetic_oct"]

CLASSES = ("CNV", "DME", "DRUSEN", "NORMAL")
GENERATOR_VERSION = 1  # raise it whenever the pixels of any image change
SETTINGS_FILE = "synthetic_oct.json"

Array: TypeAlias = npt.NDArray[np.float64]

VITREOUS = 0.05  # reflectivities are on a scale where the RPE is near 1
FLUID = 0.07


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


def synthetic_bscan(
    label: str, rng: np.random.Generator, size: tuple[int, int] = (128, 160)
) -> npt.NDArray[np.uint8]:
    """Draw one patient of a class and render one slice.

    Args:
        label: one of ``CLASSES``.
        rng: what draws the randomness; the image depends on nothing else.
        size: ``(H, W)`` in pixels. The signs of disease lie in the central square.

    Returns:
        ``(H, W)`` grey values, vitreous at the top.

    Raises:
        ValueError: the class is unknown or the size is not two integers of at least 32.
    """
    if label not in CLASSES:
        raise ValueError(f"expected label to be one of {CLASSES}, got {label!r}")
    _check_size(size)
    return _render(_slice(_patient(label, rng), rng), rng, size)


def write_synthetic_oct(
    root: str | Path,
    *,
    patients_per_class: int,
    images_per_patient: int = 2,
    seed: int = 0,
    size: tuple[int, int] = (128, 160),
) -> Path:
    """Write a data set in the form of Kermany's: ``root/CLASS/CLASS-PATIENT-N.png``.

    An image depends on the seed, class, patient and ``N`` alone, not on how many are asked for. No
    two patients share a number, whatever their classes, and ``N`` counts from 1. The folder appears
    whole or not at all; one that was written with the same settings is reused untouched.

    Args:
        root: the folder to write; its parents are made.
        patients_per_class: how many, at least 1.
        images_per_patient: slices of each patient, at least 1.
        seed: what all randomness derives from, at least 0.
        size: ``(H, W)`` in pixels.

    Returns:
        ``root`` as a path.

    Raises:
        ValueError: an argument is out of range, or ``root`` holds anything else.
    """
    _check_int("patients_per_class", patients_per_class, minimum=1)
    _check_int("images_per_patient", images_per_patient, minimum=1)
    _check_int("seed", seed, minimum=0)
    _check_size(size)
    root = Path(root)
    settings = {
        "generator": "monai_ima.data.synthetic_oct",
        "version": GENERATOR_VERSION,
        "patients_per_class": patients_per_class,
        "images_per_patient": images_per_patient,
        "seed": seed,
        "size": list(size),
    }

    def write(folder: Path) -> None:
        for class_index, label in enumerate(CLASSES):
            (folder / label).mkdir()
            for patient in range(patients_per_class):
                key = [seed, class_index, patient]
                anatomy = _patient(label, np.random.default_rng([*key, 0]))
                number = patient * len(CLASSES) + class_index + 1
                for n in range(1, images_per_patient + 1):
                    rng = np.random.default_rng([*key, n])
                    image = _render(_slice(anatomy, rng), rng, size)
                    Image.fromarray(image).save(folder / label / f"{label}-{number}-{n}.png")

    write_whole(
        root, settings, settings_file=SETTINGS_FILE, kind="a synthetic OCT data set", write=write
    )
    return root


def _check_int(name: str, value: object, minimum: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"expected {name} to be an integer of at least {minimum}, got {value!r}")


def _check_size(size: tuple[int, int]) -> None:
    if len(size) != 2:
        raise ValueError(f"expected size to be (H, W), got {size!r}")
    for name, value in zip(("the height", "the width"), size, strict=True):
        _check_int(name, value, minimum=32)


def _patient(label: str, rng: np.random.Generator) -> Anatomy:
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


def _slice(anatomy: Anatomy, rng: np.random.Generator) -> Anatomy:
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


def _render(
    anatomy: Anatomy, rng: np.random.Generator, size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    rows, columns = size
    depth = (np.arange(rows)[:, None] + 0.5) / rows
    u = (np.arange(columns) + 0.5 - columns / 2) / rows

    bruch = anatomy.position + anatomy.tilt * u + anatomy.curvature * u**2
    layers = _layers(anatomy, u, rng, rows)
    thickness = np.array([np.broadcast_to(t, u.shape) for t, _ in layers.values()])
    tops = bruch - np.cumsum(thickness[::-1], axis=0)[::-1]
    top = dict(zip(layers, tops, strict=True))

    image = np.full(size, VITREOUS)
    above: Array | float = VITREOUS
    for name, (_, reflectivity) in layers.items():
        image += (reflectivity - above) * _below(depth, top[name])
        above = reflectivity
    image += (_choroid(anatomy, u, depth - bruch, rng) - above) * _below(depth, bruch)

    retina = _below(depth, top["nerve fibres"] + 0.01) - _below(depth, top["ellipsoid"] - 0.01)
    neural = top["nerve fibres"], top["external limiting membrane"]
    lesion = anatomy.lesion
    image += (FLUID - image) * _inside(lesion.cysts, u, depth, *neural, rng) * retina
    image += (0.95 - image) * _inside(lesion.foci, u, depth, *neural, rng) * retina
    image *= 1 - _vessel_shadows(anatomy.vessels, u) * _below(depth, top["nerve fibres"] + 0.02)
    return _acquire(image, anatomy, rng)


def _layers(
    anatomy: Anatomy, u: Array, rng: np.random.Generator, rows: int
) -> dict[str, tuple[Array | float, Array | float]]:
    """Return each layer's thickness and reflectivity along ``u``, down to Bruch's membrane."""
    lesion = anatomy.lesion
    deposit = _elevation(u, lesion.rpe_bumps) * (1 + 0.12 * lesion.rpe_damage * _texture(rng, u, 2))
    membrane = _elevation(u, lesion.membrane)
    fluid = _elevation(u, lesion.fluid)
    raised = deposit + membrane + fluid
    # the retina drapes over what raises it: broad domes lift it, small bumps dent its outer layers
    lift = _smooth(raised, 0.06 * rows)
    swelling = _elevation(u, lesion.swelling)

    pit = (1 - lesion.pit_filled) * np.exp(-(((u - anatomy.pit_centre) / anatomy.pit_width) ** 2))
    periphery = 1 - 0.5 * (u - anatomy.pit_centre) ** 2
    inner = anatomy.inner_retina * (1 - anatomy.pit_depth * pit) * periphery
    fibres = np.clip(0.16 + 0.15 * anatomy.nasal * u, 0.08, 0.4) * (1 - 0.8 * pit)
    onl = anatomy.outer_nuclear * (1 + 0.35 * pit) + 0.5 * swelling + lift - raised
    onl = np.maximum(onl, 0.3 * anatomy.outer_nuclear)

    # photoreceptors and RPE are lost over neovascular tissue, in patches
    sick = np.clip((deposit + membrane) / 0.03, 0, 1) * lesion.rpe_damage
    patches = np.clip(0.5 + 0.6 * _texture(rng, u, 3), 0, 1)
    segments = anatomy.photoreceptors * (1 - 0.5 * sick)
    rest = inner * (1 - fibres) + 0.5 * swelling
    return {
        "hyaloid": (0.006 * (anatomy.hyaloid_gap > 0), 0.2),
        "retrohyaloid": (anatomy.hyaloid_gap * (1 + 2 * u**2), VITREOUS),
        "nerve fibres": (inner * fibres, 0.62),
        "ganglion cells": (rest * 0.5, 0.42),
        "inner nuclear": (rest * 0.25, 0.28),
        "outer plexiform": (rest * 0.25, 0.4),
        "outer nuclear": (onl, 0.22),
        "external limiting membrane": (segments * 0.15, 0.38),
        "myoid": (segments * 0.25, 0.26),
        "ellipsoid": (segments * 0.35, 0.8 - 0.5 * sick),
        "outer segments": (segments * 0.25, 0.45),
        "fluid": (fluid, FLUID),
        "membrane": (membrane, 0.66 + 0.08 * _texture(rng, u, 2)),
        "rpe": (anatomy.rpe, 0.98 * (1 - sick * patches)),
        "deposit": (deposit, lesion.deposit_reflectivity),
    }


def _elevation(u: Array, bumps: Array) -> Array:
    """Return the height along ``u`` of the union of domes."""
    centre, height, width = bumps.T[..., None]
    domes = height * np.exp(-(np.abs((u - centre) / width) ** 2.5))
    highest: Array = np.max(domes, axis=0, initial=0.0)
    return highest


def _below(depth: Array, boundary: Array) -> Array:
    """Return the part of each pixel that lies below the boundary: an anti-aliased step."""
    part: Array = np.clip((depth - boundary) * len(depth) + 0.5, 0, 1)
    return part


def _inside(
    ellipses: Array, u: Array, depth: Array, ilm: Array, elm: Array, rng: np.random.Generator
) -> Array:
    """Return the part of each pixel that lies in an ellipse; thin walls part those that meet."""
    centre, level, width, height = ellipses.T[..., None, None]
    middle = ilm + level * (elm - ilm)
    distance = np.hypot((u - centre) / width, (depth - middle) / height)
    outside = np.full((2, len(depth), len(u)), 10.0)
    nearest, next_nearest = np.partition(np.concatenate([distance, outside]), 1, axis=0)[:2]
    irregular = nearest * (1 + 0.12 * _texture(rng, nearest, 2))
    wall = np.exp(-(((next_nearest - nearest) / 0.2) ** 2))
    inside: Array = np.clip(3 * (1 - irregular) + 0.5, 0, 1) * (1 - 0.8 * wall)
    return inside


def _choroid(anatomy: Anatomy, u: Array, below: Array, rng: np.random.Generator) -> Array:
    """Return the choroid: fading, with dark vessels, shaded by deposits, lit through RPE breaks."""
    lesion = anatomy.lesion
    texture = _texture(rng, below, 2.5)
    vessels = (
        np.clip(texture - 0.5, 0, 1)
        * np.clip((below - 0.01) / 0.02, 0, 1)
        * np.exp(-np.maximum(below, 0) / 0.1)
    )
    blocked = _smooth(np.clip(_elevation(u, lesion.rpe_bumps) / 0.07, 0, 1), 2)
    passed = 1 - 0.3 * blocked + 0.5 * lesion.rpe_damage * blocked * _texture(rng, u, 4)
    fade = np.exp(-np.maximum(below, 0) / anatomy.choroid_decay)
    return VITREOUS + 0.4 * fade * passed * (1 + 0.1 * texture - 0.7 * vessels)


def _vessel_shadows(vessels: Array, u: Array) -> Array:
    """Return the fraction of light that retinal vessels take away along ``u``."""
    centre, width = vessels.T[..., None]
    shadows: Array = np.max(0.35 * np.exp(-(((u - centre) / width) ** 2)), axis=0)
    return shadows


def _acquire(image: Array, anatomy: Anatomy, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Blur by the optics, multiply by speckle, add the detector's floor, map to grey values."""
    speckle = rng.gamma(30, 1 / 30, image.shape)
    floor = 0.05 * rng.gamma(1.5, 1 / 1.5, image.shape)
    seen = _smooth(_smooth(image, 0.5) * speckle + floor, 0.35)
    shown = 230 * anatomy.brightness * np.clip(seen, 0, 2) ** anatomy.gamma
    return np.clip(np.rint(shown), 0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator, like: Array, sigma: float) -> Array:
    """Draw smooth noise of the shape of ``like``: mean 0, variance 1, ``sigma`` in pixels."""
    noise = _smooth(rng.standard_normal(like.shape), sigma)
    unit: Array = (noise - noise.mean()) / noise.std()
    return unit


def _smooth(values: Array, sigma: float) -> Array:
    smoothed: Array = gaussian(values, sigma)  # type: ignore[no-untyped-call]
    return smoothed
