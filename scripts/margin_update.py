"""Margins from the attacks of the training steps, beside the paper's pass of Algorithm 2.

    python scripts/margin_update.py

prints the table of docs/margin.md from the files in results/margin_update, which are made by the commands
that the page names. Of each data set: the mean curve over the seeds, the area under it, and the area of one
less that of the other on the same seed, with the 95 % interval of Student's t over the seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import t

from monai_ima.experiments import DATA_SETS
from monai_ima.experiments.areas import area
from monai_ima.experiments.results import read_results
from monai_ima.report import markdown_table

RESULTS = Path(__file__).resolve().parents[1] / "results" / "margin_update"
WAYS = {"pass": "a pass (the paper)", "step": "the steps"}


def main() -> None:
    """Print a table for each data set."""
    for data in sorted(folder.name for folder in RESULTS.iterdir()):
        print(table(data), end="\n\n")


def table(data: str) -> str:
    """A line for each way, and one for the difference of areas."""
    accuracy = DATA_SETS[data].accuracy
    runs = {way: read_results(RESULTS / data, way, "linf") for way in WAYS}
    seeds = sorted(set.intersection(*({run["seed"] for run in found} for found in runs.values())))
    areas = {
        way: [area(run, accuracy) for run in found if run["seed"] in seeds]
        for way, found in runs.items()
    }
    levels = runs["pass"][0]["curve"]["eps"]
    rows = [["margins by", "seeds", *(f"{level:g}" for level in levels), "area", "minutes"]]
    for way, found in runs.items():
        same = [run for run in found if run["seed"] in seeds]
        curves = zip(*(run["curve"][accuracy] for run in same), strict=True)
        minutes = sorted(run["seconds"] / 60 for run in same)
        rows.append(
            [
                WAYS[way],
                str(len(seeds)),
                *(f"{mean(values):.3f}" for values in curves),
                f"{mean(areas[way]):.3f} ({min(areas[way]):.3f} to {max(areas[way]):.3f})",
                f"{minutes[0]:.1f} to {minutes[-1]:.1f}",
            ]
        )
    low, middle, high = interval(
        [ours - theirs for ours, theirs in zip(areas["step"], areas["pass"], strict=True)]
    )
    rows.append(
        [
            "steps less pass",
            *[""] * (1 + len(levels)),
            f"{middle:+.3f}, {low:+.3f} to {high:+.3f}",
            "",
        ]
    )
    return markdown_table(rows)


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """95 % interval of the mean over seeds, and the mean in its middle."""
    middle: Any = mean(differences)
    half = t.ppf(0.975, len(differences) - 1) * stdev(differences) / len(differences) ** 0.5
    return middle - half, middle, middle + half


if __name__ == "__main__":
    main()
