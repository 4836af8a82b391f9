"""Print every table of docs/results/ecg.md, from the runs in results/ecg.

    python scripts/results_ecg.py

The runs are made by ``monai-ima reproduce ecg``; their names say what was trained:

    random          the default size of bundles/ecg_ima, the paper's split
    inter_patient   the default size, no patient on two sides: --split inter_patient
    large           the largest training made, the paper's split
    unsampled       plain training on all beats in their natural proportions, whole test set
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from monai_ima.errors import RejectedError
from monai_ima.experiments import evaluated, read_results, results_figure
from monai_ima.experiments.class_tables import class_table, plain_table
from monai_ima.experiments.result_tables import area_table, curve_table

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("random", "inter_patient", "large", "unsampled")
NORMS = ("linf", "l2")
SHOWN = {"linf": (0, 0.05, 0.1, 0.2), "l2": (0, 0.25, 0.5, 1)}


def main() -> None:
    """Print the tables, each under its name, and draw the figures beside the runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "ecg")
    results = parser.parse_args().results
    try:
        for name, norm in ((name, norm) for name in NAMES for norm in NORMS):
            if runs := read_results(results, name, norm):
                results_figure(runs, "balanced_accuracy").savefig(results / f"{name}_{norm}.png")
                for kind, text in tables(runs).items():
                    print(f"<!-- {name} {norm} {kind} -->\n{text}\n")
    except RejectedError as reason:
        parser.exit(2, f"results_ecg.py: {reason}\n")


def tables(runs: list[dict[str, Any]]) -> dict[str, str]:
    """All tables of runs that share data, size and norm."""
    return {
        "balanced": curve_table(runs, "balanced_accuracy"),
        "evaluated": evaluated(runs),
        "areas": area_table(runs, "balanced_accuracy"),
        "plain": plain_table(runs),
        "classes": class_table(runs, SHOWN[runs[0]["norm"]]),
    }


if __name__ == "__main__":
    main()
