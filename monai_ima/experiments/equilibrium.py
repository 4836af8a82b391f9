"""How near to the middle of two classes in the plane a network's decision boundary lies.

The paper argues (section 2.2) that IMA has an equilibrium. Noisy samples of two classes lie on the
boundary between them; if both classes have the same density there, their mean loss (Eq. 1) is smallest
where the two probabilities are equal (Eq. 2), so that the boundary stays. Both halves are measured
here, in L2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from contourpy import contour_generator
from torch import Tensor, nn

from monai_ima.attacks import bpgd, misclassified
from monai_ima.data import TensorSamples
from monai_ima.data.moons import GAUSSIAN_MEANS, moon
from monai_ima.experiments.result_tables import spread
from monai_ima.experiments.results import by_method
from monai_ima.report import markdown_table, plane_grid
from monai_ima.robustness.measure import probabilities

PIECES = 8  # of the best boundary, between which densities are compared
_DRAWS = 1000  # of shuffled labels
_RESOLUTION = 400  # of the grid on which boundaries are found
_REACH = 0.6  # further than that from the moons, they do not face one another


class Middle(NamedTuple):
    """The best boundary between two classes, where they have samples: midway in L2.

    Attributes:
        points: ``(M, 2)``, in their order along it.
        between: ``(M,)`` bool, where both classes go along it: not around the tip of a moon.
    """

    points: Tensor
    between: Tensor


class Equilibrium(NamedTuple):
    """How a network's boundary lies between its training samples; distances in units of the inputs.

    Attributes:
        accuracy: share of the samples that are classified correctly.
        distance_mean: from a point of the middle to the nearest of the network's boundary, mean.
        distance_along: the same over the points that lie between the classes.
        distance_max: the largest.
        on_boundary: share of the correct samples that B-PGD puts on the boundary within ``eps``:
            the noisy samples.
        density_difference: of the noisy samples of the two classes along the middle, see
            :func:`density_difference`.
        density_chance: what it stays below by chance.
        loss_above_minimum: Eq. 1 of the noisy samples, less the minimum by Eq. 2.
    """

    accuracy: float
    distance_mean: float
    distance_along: float
    distance_max: float
    on_boundary: float
    density_difference: float
    density_chance: float
    loss_above_minimum: float


# Of the table's columns.
HEADINGS = {
    "accuracy": "training accuracy",
    "distance_mean": "from the middle, mean",
    "distance_along": "but tips",
    "distance_max": "largest",
    "on_boundary": "on the boundary",
    "density_difference": "density difference",
    "density_chance": "by chance",
    "loss_above_minimum": "loss above 2 log 2",
}


def gaussian_middle(noise: float) -> Middle:
    """The straight line midway between the Gaussian classes, two deviations to either side.

    Args:
        noise: their standard deviation, in units of the inputs.
    """
    x, y = GAUSSIAN_MEANS[1]
    along = torch.linspace(-2, 2, 201) * noise
    return Middle(along[:, None] * torch.tensor([-y, x]), torch.ones(201, dtype=torch.bool))


def moons_middle() -> Middle:
    """The points as near to one noiseless moon as to the other, where both are near."""
    angles = torch.linspace(0, math.pi, 401)
    moons = [moon(angles, torch.full((401,), label)) for label in (0, 1)]
    grid, _ = plane_grid(torch.cat(moons), _RESOLUTION)
    to_first, to_second = (torch.cdist(grid.flatten(0, 1), curve).amin(dim=1) for curve in moons)
    line = max(level_set(to_first - to_second, grid), key=len)
    line = line[torch.cdist(line, moons[0]).amin(dim=1) < _REACH]
    nearest = torch.stack([torch.cdist(line, curve).argmin(dim=1) for curve in moons])
    return Middle(line, ((nearest > 0) & (nearest < 400)).all(dim=0))


def level_set(values: Tensor, grid: Tensor) -> list[Tensor]:
    """Lines ``(M, 2)`` along which values ``(H W,)`` on a grid ``(H, W, 2)`` are 0."""
    x, y = grid.numpy().transpose(2, 0, 1)
    lines = contour_generator(x, y, values.reshape(grid.shape[:2]).numpy()).lines(0)
    return [torch.tensor(line, dtype=grid.dtype) for line in lines]


def boundary(network: nn.Module, inputs: Tensor) -> Tensor:
    """Points ``(M, 2)`` of a network's decision boundary around the samples ``(N, 2)``."""
    grid, _ = plane_grid(inputs, _RESOLUTION)
    given = probabilities(network, grid.flatten(0, 1))
    return torch.cat(level_set(given[:, 1] - given[:, 0], grid))


def density_difference(noisy: Tensor, labels: Tensor, line: Tensor) -> tuple[float, float]:
    """How far the densities of two classes along a line differ, and how far by chance alone.

    Each sample belongs to the nearest point of the line, which is cut into ``PIECES`` of as many
    samples each. The difference is the total variation: 0 for the same share of each class in every
    piece, 1 if the classes have no piece in common. Chance is its 95 % quantile with the labels
    shuffled.

    Args:
        noisy: ``(N, 2)`` samples.
        labels: ``(N,)`` 0 or 1.
        line: ``(M, 2)`` points in their order.
    """
    place = torch.cdist(noisy, line).argmin(dim=1).double()
    cuts = place.quantile(torch.linspace(0, 1, PIECES + 1, dtype=torch.float64)[1:-1])
    piece = torch.bucketize(place, cuts)

    def difference(labels: Tensor) -> float:
        shares = [
            piece[labels == label].bincount(minlength=PIECES) / (labels == label).sum()
            for label in (0, 1)
        ]
        return float((shares[0] - shares[1]).abs().sum() / 2)

    generator = torch.Generator().manual_seed(0)
    shuffled = [labels[torch.randperm(len(labels), generator=generator)] for _ in range(_DRAWS)]
    return difference(labels), float(torch.tensor([*map(difference, shuffled)]).quantile(0.95))


def measure_equilibrium(
    network: nn.Module, samples: TensorSamples, middle: Middle, eps: float
) -> Equilibrium:
    """Compare a network's boundary with the middle, and its two classes along it.

    Args:
        network: takes ``(N, 2)`` and gives logits ``(N, 2)``.
        samples: that it was trained on.
        middle: of their classes.
        eps: radius in L2 within which a noisy sample may lie.
    """
    away = torch.cdist(middle.points, boundary(network, samples.inputs)).amin(dim=1)
    correct = ~misclassified(network, samples.inputs, samples.labels)
    inputs, labels = samples.inputs[correct], samples.labels[correct]
    found = bpgd(network, inputs, labels, eps=eps, norm="l2", steps=50, bounds=None)
    noisy, classes = found.inputs[found.success], labels[found.success]
    difference, chance = density_difference(noisy, classes, middle.points)
    given = probabilities(network, noisy).log()
    loss = -sum(given[classes == label, label].mean() for label in (0, 1))
    return Equilibrium(
        accuracy=float(correct.float().mean()),
        distance_mean=float(away.mean()),
        distance_along=float(away[middle.between].mean()),
        distance_max=float(away.max()),
        on_boundary=float(found.success.float().mean()),
        density_difference=difference,
        density_chance=chance,
        loss_above_minimum=float(loss) - 2 * math.log(2),
    )


def equilibrium_table(title: str, runs: Sequence[dict[str, Any]]) -> str:
    """A line a method in Markdown: mean over the seeds, and the range.

    Args:
        title: of the column of methods.
        runs: of one data set, with their ``method`` and what :class:`Equilibrium` has.
    """
    lines = [[title, "seeds", *HEADINGS.values()]]
    for method, same in by_method(runs).items():
        cells = (spread(run[measure] for run in same) for measure in HEADINGS)
        lines.append([method, str(len(same)), *cells])
    return markdown_table(lines)
