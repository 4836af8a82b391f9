"""The plane of two classes: a network's decision boundary, and what it has learned margins from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch, Rectangle
from torch import Tensor

from monai_ima.report.drawing import NORM_NAMES

_COLORS = ("#1f5a85", "#b4581c")
_TINTS = LinearSegmentedColormap.from_list("plane", ["#a9c9e2", "#ffffff", "#f3c7a6"])
Extent = tuple[float, float, float, float]


def plane_figure(
    inputs: Tensor,
    labels: Tensor,
    probability: Tensor,
    extent: Extent,
    *,
    classes: Sequence[str],
    margins: Tensor | None = None,
    norm: str = "l2",
    shown: Tensor | None = None,
    title: str = "",
) -> Figure:
    """Samples over the probability of class 1, the boundary where it is a half, and margins as balls.

    Args:
        inputs: ``(N, 2)`` samples.
        labels: ``(N,)`` 0 or 1.
        probability: ``(H, W)`` of class 1, on a grid over the extent, its first row at the bottom.
        extent: left, right, bottom, top.
        classes: names of the two classes.
        margins: ``(N,)`` radii, in units of the inputs.
        norm: name of the norm that they are measured in: balls are circles in L2, squares in Linf.
        shown: ``(M,)`` samples whose balls are drawn; by default all.
        title: above all.
    """
    left, right, bottom, top = extent
    figure = Figure(figsize=(6, 0.7 + 6 * (top - bottom) / (right - left)), dpi=100)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1 - 0.4 / figure.get_figheight()))
    grid = probability.double().cpu().numpy()
    axes.imshow(
        grid, extent=extent, origin="lower", cmap=_TINTS, vmin=0, vmax=1, interpolation="bilinear"
    )
    if grid.min() < 0.5 < grid.max():
        axes.contour(grid, levels=[0.5], extent=extent, colors="black", linewidths=1.8)
    rows = torch.arange(len(labels)) if shown is None else shown.cpu()
    points, labels = inputs.double().cpu(), labels.cpu()
    for label, color in enumerate(_COLORS):
        x, y = points[labels == label].T.numpy()
        axes.scatter(x, y, s=5, color=color, alpha=0.35, linewidths=0)
        chosen = rows[labels[rows] == label]
        if margins is not None:
            _draw_balls(axes, points[chosen], margins.cpu()[chosen], norm, color)
            x, y = points[chosen].T.numpy()
            axes.scatter(x, y, s=14, color=color, linewidths=0, zorder=3)
        axes.scatter([], [], s=20, color=color, label=classes[label])
    axes.plot([], [], color="black", lw=1.8, label="decision boundary")
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    axes.set_axis_off()
    handles, names = axes.get_legend_handles_labels()
    if margins is not None:
        handles.append(Patch(fc="0.7", ec="0.3", alpha=0.5))
        names.append(f"margin ({NORM_NAMES.get(norm, norm)})")
    axes.legend(
        handles, names, loc="lower left", fontsize="small", framealpha=0.85, edgecolor="none"
    )
    figure.text(0.015, 1 - 0.27 / figure.get_figheight(), title, fontsize="medium")
    return figure


def plane_grid(inputs: Tensor, width: int, border: float = 0.4) -> tuple[Tensor, Extent]:
    """Points ``(H, W, 2)`` that cover samples ``(N, 2)`` and a border, and their extent.

    Args:
        inputs: ``(N, 2)`` samples.
        width: number of points along the first coordinate; equally dense along the second.
        border: in units of the inputs.
    """
    (left, bottom), (right, top) = (inputs.amin(dim=0) - border), (inputs.amax(dim=0) + border)
    height = round(width * float((top - bottom) / (right - left)))
    x, y = torch.linspace(left, right, width), torch.linspace(bottom, top, height)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    return grid.to(inputs), (float(left), float(right), float(bottom), float(top))


def spread_out(inputs: Tensor, count: int) -> Tensor:
    """That many rows of samples ``(N, *)``, each as far as can be from those before it."""
    points = inputs.flatten(1)
    rows = [0]
    distance = (points - points[0]).norm(dim=1)
    while len(rows) < count:
        rows.append(int(distance.argmax()))
        distance = distance.minimum((points - points[rows[-1]]).norm(dim=1))
    return torch.tensor(rows)


def _draw_balls(axes: Axes, centers: Tensor, radii: Tensor, norm: str, color: str) -> None:
    balls = [
        Rectangle((x - r, y - r), 2 * r, 2 * r) if norm == "linf" else Circle((x, y), r)
        for (x, y), r in zip(centers.tolist(), radii.tolist(), strict=True)
    ]
    axes.add_collection(PatchCollection(balls, fc=color, ec="none", alpha=0.08))
    axes.add_collection(PatchCollection(balls, fc="none", ec=color, alpha=0.6, lw=0.8))
