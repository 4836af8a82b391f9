"""A comparison in words, as a table and as a figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from monai_ima.counts import counted
from monai_ima.evaluation.comparison import Comparison, NormComparison, Pair, known_patients
from monai_ima.evaluation.folder import Evaluation
from monai_ima.handlers.files import write_whole
from monai_ima.handlers.tables import write_table
from monai_ima.report import NORM_NAMES, markdown_table, markdown_text
from monai_ima.report.palette import MARKERS, series
from monai_ima.robustness.uncertainty import ENOUGH_PATIENTS

SIGNIFICANT = 0.05
# Fewer that differ do so in one direction once in 16 times by chance, or more often.
ENOUGH_DIFFERING = 6
SMALL_PRINT = (
    "The area is the mean accuracy over the levels from 0 to the largest, of all samples alike. "
    "{intervals} The median margin is the noise at which half of the correctly classified samples "
    "are misclassified; none: fewer are, at any level. p is that of McNemar's exact test, adjusted by "
    "Holm's method for all levels and pairs of a norm; below "
    f"{SIGNIFICANT}, a difference is called beyond chance."
)


def write_comparison(comparison: Comparison, folder: Path) -> str:
    """Leave ``compare.md``, ``compare.csv``, ``compare.xlsx`` and ``compare.png``.

    Args:
        comparison: of evaluations.
        folder: where they go; it is made if need be.

    Returns:
        The text of ``compare.md``.
    """
    text = comparison_text(comparison)
    write_whole(folder / "compare.md", lambda path: path.write_text(text, "utf-8"))
    write_table(folder / "compare.csv", _rows(comparison.norms))
    write_whole(folder / "compare.png", comparison_figure(comparison).savefig)
    return text


def comparison_text(comparison: Comparison) -> str:
    """The comparison in Markdown."""
    evaluations = comparison.evaluations
    n, known = len(evaluations[0].labels), known_patients(evaluations)
    unit = "patient" if known else "sample"
    few = f"only {_counted(known)}" if 0 < known < ENOUGH_PATIENTS else ""
    of_patients = f" of {_counted(known)}" if known else ""
    heading = f"# {len(evaluations)} runs on the same {n} samples{of_patients}"
    paragraphs = [heading, *comparison.remarks]
    for one in comparison.norms:
        paragraphs += [
            f"## {NORM_NAMES.get(one.norm, one.norm)}",
            _table(one),
            "\n".join(_verdict(pair, one, few, unit) for pair in one.pairs),
        ]
    intervals = (
        f"No interval of it is given: {few}, and over fewer than {ENOUGH_PATIENTS} it would be too "
        "narrow."
        if few
        else "Its interval, and that of the difference of two areas, are from 1000 bootstrap draws "
        f"of the {_counted(known) if known else 'samples'}, the same for all runs: 95 % each, not "
        "adjusted for the number of pairs."
    )
    paragraphs += ["## How to read this", SMALL_PRINT.format(intervals=intervals)]
    if 0 < known < n:
        paragraphs.append(
            "McNemar's test takes samples for independent, which those of one patient are not: "
            + (
                f"its p may be too small, and with {few} nothing here tells whether a difference "
                "would be found in other patients."
                if few
                else "where tests and areas disagree, trust the areas."
            )
        )
    return "\n\n".join([*paragraphs, "![Accuracy against the noise level](compare.png)"]) + "\n"


def _counted(patients: int) -> str:
    return f"{patients} patient{'s' if patients > 1 else ''}"


def _table(comparison: NormComparison) -> str:
    """A line an evaluation."""
    levels = [f"{eps:g}" if eps else "clean" for eps in comparison.eps]
    lines = [["run", "protocol", "n", *levels, "area (95 % interval)", "median margin"]]
    for row in comparison.rows:
        area = f"{row.area:.3f} ({_range(row.interval)})"
        accuracy = [f"{value:.3f}" for value in row.accuracy]
        margin = "none" if row.median_margin is None else f"{row.median_margin:.3g}"
        margin = margin if row.accuracy[0] else "\N{EN DASH}"  # of no sample
        lines.append([markdown_text(row.name), row.protocol, str(row.n), *accuracy, area, margin])
    return markdown_table(lines)


def _range(interval: tuple[float, float] | None) -> str:
    return "\N{EN DASH}" if interval is None else "{:.3f} to {:.3f}".format(*interval)


def _verdict(pair: Pair, comparison: NormComparison, few_patients: str, unit: str) -> str:
    """By how much the areas of two runs differ, and a sentence for each level beyond chance."""
    first, second = map(markdown_text, pair.names)
    if not any(pair.wins) and not any(pair.losses):
        return (
            f"- **{first} and {second}**: there is no difference, the same samples are robust at each "
            "level"
        )
    lines = [f"- **{first} and {second}**: {_areas(pair, few_patients, unit)}"]
    for eps, wins, losses, p in zip(comparison.eps, pair.wins, pair.losses, pair.p, strict=True):
        if p < SIGNIFICANT:
            better, worse = (first, second) if wins > losses else (second, first)
            lines.append(
                f"  - at {eps:g} ({comparison.norm}) {better} is robust for {max(wins, losses)} "
                f"samples where {worse} is not, the reverse for {min(wins, losses)}: "
                f"p = {p:.2g} (adjusted)"
            )
    if len(lines) == 1:
        smallest = f"{min(pair.p):.2g}"
        lines.append(
            f"  - at no level is a difference beyond chance: p = {smallest} (adjusted)"
            + ("" if smallest == "1" else " or more")
        )
    return "\n".join(lines)


def _areas(pair: Pair, few_patients: str, unit: str) -> str:
    larger, smaller = map(markdown_text, pair.names)
    difference, interval = pair.difference, pair.interval
    if difference < 0:
        larger, smaller, difference = smaller, larger, -difference
        interval = interval and (-interval[1], -interval[0])
    by = f"{difference:.3f}"
    said = (
        f"the areas differ by {by}"
        if float(by) == 0
        else f"the area of {larger} is larger than that of {smaller} by {by}"
    )
    seems_certain = interval is not None and interval[0] > 0
    few = f"only {counted(pair.differing, unit)} tell{'s' * (pair.differing == 1)} them apart"
    if interval is None or (seems_certain and pair.differing < ENOUGH_DIFFERING):
        return (
            f"{said}; {few_patients or few}: too few to tell whether the difference of areas is beyond "
            "chance"
        )
    chance = "beyond chance" if seems_certain else "which chance may explain"
    return f"{said} ({_range(interval)}), {chance}"


def _rows(comparisons: Sequence[NormComparison]) -> Iterator[dict[str, Any]]:
    """One for each norm and run; a level that was not used in its norm stays empty."""
    levels = sorted({level for comparison in comparisons for level in comparison.eps[1:]})
    for comparison in comparisons:
        for row in comparison.rows:
            accuracy = dict(zip(comparison.eps, row.accuracy, strict=True))
            low, high = row.interval or (None, None)
            yield {
                "norm": comparison.norm,
                "run": row.name,
                "protocol": row.protocol,
                "n": row.n,
                "clean_accuracy": row.accuracy[0],
                **{f"accuracy_at_{level:g}": accuracy.get(level) for level in levels},
                "area": row.area,
                "area_low": low,
                "area_high": high,
                "median_margin": row.median_margin,
            }


def comparison_figure(comparison: Comparison) -> Figure:
    """Accuracy against the noise level: a panel a norm, a line with its 95 % band an evaluation."""
    evaluations: Sequence[Evaluation] = comparison.evaluations
    longest = max(len(one.name) for one in evaluations)
    size = (4.4 * len(comparison.norms) + 1.2 + 0.09 * longest, 4.0)
    figure = Figure(size, dpi=150, layout="constrained")
    panels = figure.subplots(1, len(comparison.norms), sharey=True, squeeze=False)[0]
    for axes, norm in zip(panels, [one.norm for one in comparison.norms], strict=True):
        lines = []
        for number, one in enumerate(evaluations):
            curve = one.curves[norm]
            accuracy = curve.robust.double().mean(dim=0).numpy()
            color, marker = series(number), MARKERS[number % len(MARKERS)]
            opacity = 0.6 / (len(evaluations) + 2)  # of many bands, none may hide the others
            axes.fill_between(curve.eps, curve.low, curve.high, color=color, alpha=opacity, lw=0)
            lines += axes.plot(curve.eps, accuracy, color=color, marker=marker, ms=5, clip_on=False)
        axes.set_title(NORM_NAMES.get(norm, norm))
        axes.set_xlabel("noise level (radius, in units of the input)")
        axes.set_ylim(0, 1.02)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy under attack, with 95 % interval")
    legend = figure.legend(
        lines, [one.name for one in evaluations], loc="outside right center", frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure
