"""A selection in words, as files and as a figure."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from monai_ima import __version__
from monai_ima.handlers.files import write_whole
from monai_ima.report import NORM_NAMES, markdown_table
from monai_ima.report.palette import RED
from monai_ima.selection import RESULTS, EpochCurve, Selection, reaches


def write_selection(selection: Selection) -> None:
    """Leave the chosen weights, the figure, and all figures in one file, which comes last."""
    assert selection.epoch is not None
    content = {
        "version": __version__,
        "min_clean_accuracy": selection.threshold,
        "accuracy": "balanced",
        "chosen_on": "validation set, protocol screen",
        "shown_on": "test set, protocol minimum_norm",
        "epoch": selection.epoch,
        "last_epoch": max(selection.weights),
        "validation": [_plain(curve) for curve in selection.validation],
        "test": [_plain(curve) for curve in selection.test],
    }
    figures, figure, weights = (selection.folder / name for name in RESULTS)
    chosen = selection.weights[selection.epoch]
    write_whole(weights, lambda path: shutil.copyfile(chosen, path))
    write_whole(figure, selection_figure(selection).savefig)
    write_whole(
        figures, lambda path: path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    )


def _plain(curve: EpochCurve) -> dict[str, Any]:
    return asdict(curve) | {"area": curve.balanced_area}


def selection_text(selection: Selection) -> str:
    """The kept epochs, which was chosen, what it is worth on the test set, and where all is."""
    table = f"\n{epoch_table(selection.validation)}\n"
    if selection.epoch is None:
        best = max(selection.validation, key=lambda one: (one.accuracy[0], one.balanced_area))
        return (
            f"{table}\nNo kept epoch has a balanced clean accuracy of {selection.threshold:g} on "
            f"the {best.n} validation samples; the best, epoch {best.epoch}, has "
            f"{best.accuracy[0]:.3f} (balanced area {best.balanced_area:.3f}). Nothing is selected: "
            "lower --min-clean-accuracy, or train anew"
        )
    (best,) = (one for one in selection.validation if one.epoch == selection.epoch)
    shown = selection.test[0]
    choice = (
        f"Epoch {best.epoch} is the most robust of the kept epochs with a balanced clean accuracy of "
        f"at least {selection.threshold:g}: it has {best.accuracy[0]:.3f}, and the balanced area "
        f"{best.balanced_area:.3f} ({best.n} validation samples, protocol screen, "
        f"{NORM_NAMES[best.norm]})."
    )
    lines = [
        table,
        choice,
        "\nBalanced accuracy on the test set:\n",
        curves_table(selection.epoch, selection.test),
        f"\n{evaluated(__version__, shown)}\n",
    ]
    if not reaches(shown.accuracy[0], selection.threshold):
        lines.append(
            f"On the test set its clean accuracy is {shown.accuracy[0]:.3f}, below "
            f"{selection.threshold:g}: the validation set is a sample too. Where the threshold must "
            "hold, ask for more.\n"
        )
    if shown.warning:
        lines.append(f"WARNING: {shown.warning}\n")
    if len(selection.test) == 1:
        lines.append("It is the last epoch.\n")
    else:
        folders = (selection.folder / f"selection/test/epoch_{m.epoch:04}" for m in selection.test)
        lines.append(f"monai-ima compare {shlex.join(map(str, folders))}  what is chance")
    lines.append(f"{selection.folder / 'model_selected.pt'}  its weights")
    lines.append(f"{selection.folder / 'selection.png'}  the trade-off; .json with all figures")
    return "\n".join(lines)


def epoch_table(curves: Sequence[EpochCurve]) -> str:
    """A line an epoch, on the validation set."""
    rows = [
        (
            str(one.epoch),
            f"{one.accuracy[0]:.3f}",
            f"{one.plain_accuracy[0]:.3f}",
            f"{one.balanced_area:.3f}",
        )
        for one in curves
    ]
    return markdown_table([("epoch", "balanced clean accuracy", "plain", "balanced area"), *rows])


def curves_table(chosen: int, curves: Sequence[EpochCurve]) -> str:
    """A line for the chosen epoch and one for the last, a column a level."""
    rows = [
        (_name(one, chosen), *(f"{value:.3f}" for value in (*one.accuracy, one.balanced_area)))
        for one in curves
    ]
    return markdown_table([("", *(f"{eps:g}" for eps in curves[0].eps), "balanced area"), *rows])


def evaluated(version: str, curve: EpochCurve) -> str:
    """By what a model was evaluated, and on how many samples, in a sentence."""
    return (
        f"Evaluated by `{curve.protocol}`, version {curve.protocol_version} (monai_ima {version}), "
        f"on {curve.n:,} samples."
    )


def _name(curve: EpochCurve, chosen: int) -> str:
    """What an epoch is called in table and figure."""
    return f"{'selected' if curve.epoch == chosen else 'last'}, epoch {curve.epoch}"


def selection_figure(selection: Selection) -> Figure:
    """The trade-off, a point an epoch, and the curves of the chosen and the last one."""
    assert selection.epoch is not None
    figure = Figure(figsize=(9.6, 4), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_trade_off(left, selection.threshold, selection.epoch, selection.validation)
    for one in selection.test:
        color, label = RED if one.epoch == selection.epoch else "0.5", _name(one, selection.epoch)
        right.plot(one.eps, one.accuracy, "o-", ms=4, color=color, label=label)
    right.set_xlabel(f"noise level ({NORM_NAMES[selection.test[0].norm]})")
    right.set_ylabel("balanced accuracy under attack")
    right.set_title("test set", loc="left", fontsize="medium")
    right.set_ylim(0, 1.02)
    right.set_xlim(left=0)
    right.locator_params(axis="x", nbins=5)
    right.xaxis.set_major_formatter("{x:g}")
    right.grid(alpha=0.3)
    right.legend(frameon=False)
    return figure


def _draw_trade_off(
    axes: Axes, threshold: float, chosen: int, curves: Sequence[EpochCurve]
) -> None:
    """Area under the curve against clean accuracy, on the validation set."""
    accuracy, area = [one.accuracy[0] for one in curves], [one.balanced_area for one in curves]
    axes.plot(accuracy, area, color="0.8", lw=1, zorder=1)
    points = axes.scatter(accuracy, area, c=[one.epoch for one in curves], cmap="viridis", s=28)
    axes.figure.colorbar(points, ax=axes, label="epoch", ticks=MaxNLocator(integer=True))
    (best,) = (one for one in curves if one.epoch == chosen)
    axes.scatter(
        [best.accuracy[0]], [best.balanced_area], s=130, facecolors="none", edgecolors=RED,
        linewidths=2, label=f"selected, epoch {chosen}",
    )  # fmt: skip
    axes.axvline(threshold, color="0.3", ls=":", label=f"threshold {threshold:g}")
    axes.set_xlabel("balanced clean accuracy")
    axes.set_ylabel("area under the balanced curve")
    axes.set_title("validation set", loc="left", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
