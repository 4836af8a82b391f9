"""Two classes in the plane, where a decision boundary can be looked at."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from monai_ima.data.list_checks import check_class_count
from monai_ima.data.tensors import TensorDatalist, TensorSamples

PlaneShape: TypeAlias = Literal["moons", "gaussians"]

CLASSES = ("blue", "orange")
GAUSSIAN_MEANS = (
    (-0.8, -0.6),
    (0.8, 0.6),
)  # at distance 1 from the boundary, whose normal they are
# Of a point drawn from both noiseless moons, each coordinate's mean and standard deviation.
_MOONS_MEAN = (0.5, 0.25)
_MOONS_SPREAD = (math.sqrt(3) / 2, math.sqrt(9 / 16 - 1 / math.pi))


def load_plane(
    shape: PlaneShape = "moons",
    *,
    num_classes: int = 2,
    noise: float = 0.1,
    training: int = 1000,
    validation: int = 500,
    test: int = 2000,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> TensorDatalist:
    """Draw points of two classes of equal size, inputs ``(N, 2)``.

    Args:
        shape: ``"moons"``, two half circles that reach into one another, standardized (by
            ``moon``), or ``"gaussians"``, two round classes around ``GAUSSIAN_MEANS``, for
            which the best boundary in L2 is the straight line midway.
        num_classes: how many classes the network has; two are needed.
        noise: standard deviation of each coordinate; that of moons before they are standardized.
        training: number of training samples, even, as the next two.
        validation: number of validation samples.
        test: number of test samples.
        seed: seed of all that is drawn.
        device: where the tensors are to be.

    Raises:
        ValueError: if an argument does not fit.
    """
    if shape not in get_args(PlaneShape):
        raise ValueError(f"expected shape to be one of {get_args(PlaneShape)}, got {shape!r}")
    check_class_count(CLASSES, num_classes, "the plane", "take other data")
    if not 0 <= noise < math.inf:
        raise ValueError(f"expected a finite noise, not below 0, got {noise}")
    for name, count in {"training": training, "validation": validation, "test": test}.items():
        if type(count) is not int or count < 2 or count % 2:
            raise ValueError(f"expected {name} to be an even whole number >= 2, got {count!r}")
    generator = torch.Generator().manual_seed(seed)

    def samples(name: str, count: int) -> TensorSamples:
        labels = torch.arange(count) % 2
        offsets = noise * torch.randn(count, 2, generator=generator)
        if shape == "moons":
            angles = math.pi * torch.rand(count, generator=generator)
            inputs = moon(angles, labels) + offsets / torch.tensor(_MOONS_SPREAD)
        else:
            inputs = torch.tensor(GAUSSIAN_MEANS)[labels] + offsets
        ids = [f"{name}:{place}" for place in range(count)]
        return TensorSamples(inputs, labels, ids=ids, device=device)

    return TensorDatalist(
        training=samples("training", training),
        validation=samples("validation", validation),
        test=samples("test", test),
        classes=CLASSES,
    )


def moon(angles: Tensor, labels: Tensor) -> Tensor:
    """Points ``(N, 2)`` of the noiseless moons, shifted and scaled to mean 0 and deviation 1.

    Each is a half circle of radius 1: class 0 the upper one around the origin, class 1 the lower one
    around (1, 0.5). The published table of IMA on moons does not say how its moons were scaled;
    unscaled ones are too close to one another for it. Standardized and with noise 0.1, the boundary
    midway between them has the table's accuracies to within 1.4 points at every level.

    Args:
        angles: ``(N,)`` from 0 to pi.
        labels: ``(N,)`` 0 or 1.
    """
    upper = torch.stack([angles.cos(), angles.sin()], dim=1)
    lower = torch.stack([1 - angles.cos(), 0.5 - angles.sin()], dim=1)
    points = torch.where(labels[:, None] == 0, upper, lower)
    return (points - torch.tensor(_MOONS_MEAN)) / torch.tensor(_MOONS_SPREAD)
