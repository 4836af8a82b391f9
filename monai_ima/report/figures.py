"""Figures of a run, drawn off screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

_NORM_NAMES = {"linf": "L∞", "l2": "L2"}


def curve_figure(curves: Mapping[int, Mapping[str, Any]]) -> Figure:
    """Accuracy against the noise level: the last epoch with its interval, earlier ones in grey.

    Args:
        curves: epoch to ``RobustnessCurve.to_dict()``, in order.
    """
    figure = Figure(figsize=(5.2, 3.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    *earlier, last = curves
    for epoch in earlier:
        axes.plot(curves[epoch]["eps"], curves[epoch]["accuracy"], color="0.8", lw=1)
    if earlier:
        label = "epoch " + ", ".join(map(str, earlier))
        axes.plot([], [], color="0.8", lw=1, label=label if len(earlier) < 6 else "earlier epochs")
    curve = curves[last]
    axes.fill_between(curve["eps"], curve["low"], curve["high"], color="C3", alpha=0.15, lw=0)
    axes.plot(
        curve["eps"],
        curve["accuracy"],
        "o-",
        color="C3",
        label=f"epoch {last}, with 95 % interval, n = {curve['n']}",
    )
    axes.annotate(
        f"clean {curve['accuracy'][0]:.3f}",
        (0, curve["accuracy"][0]),
        xytext=(8, 8),
        textcoords="offset points",
        color="C3",
    )
    norm = _NORM_NAMES.get(curve["norm"], curve["norm"])
    axes.set_xlabel(f"noise level ({norm} radius, in units of the input)")
    axes.set_ylabel("accuracy under attack")
    axes.set_title(f"Robustness, area under the curve {curve['auc']:.3f}", fontsize="medium")
    axes.set_ylim(0, 1.08)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", fontsize="small", frameon=False)
    return figure


def examples_figure(
    clean: Tensor,
    attacked: Tensor,
    clean_probabilities: Tensor,
    attacked_probabilities: Tensor,
    labels: Tensor,
    *,
    class_names: Sequence[str],
    title: str,
) -> Figure:
    """Samples side by side: clean, the perturbation magnified, attacked, with what the model says.

    Args:
        clean: ``(N, 1, H, W)`` images in [0, 1].
        attacked: the same, attacked.
        clean_probabilities: ``(N, C)`` of the clean images.
        attacked_probabilities: ``(N, C)`` of the attacked images.
        labels: ``(N,)`` true class indices.
        class_names: names of the C classes.
        title: above all.
    """
    perturbation = attacked - clean
    gain = 0.5 / max(float(perturbation.abs().max()), 1e-12)
    shown = [clean, 0.5 + gain * perturbation, attacked]
    headings = ["clean", f"perturbation x {gain:.0f}", "attacked"]
    figure = Figure(figsize=(5.0, 0.4 + 1.75 * len(clean)), dpi=120, layout="constrained")
    figure.suptitle(title, fontsize="medium")
    grid = figure.subplots(len(clean), len(shown), squeeze=False)
    for row, label in enumerate(labels.tolist()):
        said = [
            _verdict(clean_probabilities[row], label, class_names),
            "",
            _verdict(attacked_probabilities[row], label, class_names),
        ]
        for column, images in enumerate(shown):
            axes = grid[row, column]
            axes.imshow(images[row, 0].cpu().numpy(), cmap="gray", vmin=0, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([])
            text, color = said[column] or ("", "black")
            axes.set_xlabel(text, fontsize="small", color=color)
            if row == 0:
                axes.set_title(headings[column], fontsize="small")
        grid[row, 0].set_ylabel(f"true: {class_names[label]}", fontsize="small")
    return figure


def _verdict(probabilities: Tensor, label: int, class_names: Sequence[str]) -> tuple[str, str]:
    predicted = int(probabilities.argmax())
    color = "tab:green" if predicted == label else "tab:red"
    return f"{class_names[predicted]} {probabilities[predicted]:.2f}", color


def as_image(figure: Figure) -> NDArray[np.uint8]:
    """The figure as ``(H, W, 3)`` pixels, for TensorBoard."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
