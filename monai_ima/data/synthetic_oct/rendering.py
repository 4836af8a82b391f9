"""A B-scan of an eye: layers by their reflectivity, lesions, shadows, speckle and noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage.filters import gaussian

from monai_ima.data.synthetic_oct.anatomy import Anatomy, Array

VITREOUS = 0.05  # reflectivities are on a scale where the RPE is near 1
FLUID = 0.07


def rendered(
    anatomy: Anatomy, rng: np.random.Generator, size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Draw a slice as ``(H, W)`` grey values."""
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
