"""The ROC curve of two classes."""

from __future__ import annotations

from matplotlib.figure import Figure
from torch import Tensor

from monai_ima.report.drawing import literal
from monai_ima.report.palette import BLUE, RED
from monai_ima.robustness.operating_point import roc_points


def roc_figure(
    scores: Tensor, positive: Tensor, *, name: str, point: tuple[float, float]
) -> Figure:
    """Sensitivity against 1 - specificity at every threshold, with the operating point.

    Args:
        scores: ``(N,)`` of the positive class, that rank as its probabilities do.
        positive: ``(N,)`` bool, the truth.
        name: of the positive class.
        point: sensitivity and specificity of the operating point.
    """
    _, sensitivity, specificity = roc_points(scores, positive)
    figure = Figure(figsize=(4.2, 3.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.75", lw=1, label="by chance")
    axes.plot((1 - specificity).numpy(), sensitivity.numpy(), color=BLUE, label=literal(name))
    axes.plot(1 - point[1], point[0], "o", color=RED, label="operating point")
    axes.set_xlabel("1 - specificity: negative cases called positive")
    axes.set_ylabel("sensitivity: positive cases found")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", fontsize="small", frameon=False)
    return figure
