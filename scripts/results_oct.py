"""Train the OCT bundle with each method and seed, and keep one JSON file a run.

    python scripts/results_oct.py --name synthetic --seeds 0 1 2
    python scripts/results_oct.py --name kermany --dataset_dir FOLDER --max_epochs 40

A run whose file is there is not repeated. At the end the table of all runs of that name is printed,
in Markdown, and their curves are drawn beside the files; without a number after ``--seeds``, nothing
else happens.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {
    "ce": ["bundles/oct_ima/train.json", "bundles/objectives/ce.json"],
    "ima": ["bundles/oct_ima/train.json"],
}


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", required=True, help="of the data set, in the results' file names")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "oct")
    arguments, overrides = parser.parse_known_args()
    for seed in arguments.seeds:
        for method in CONFIGS:
            path = arguments.output / f"{arguments.name}_{method}_seed{seed}.json"
            if not path.exists():
                result = train(arguments.name, method, [*overrides, "--seed", str(seed)])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"data": arguments.name, **result}, indent=2) + "\n")
    runs = read(arguments.output, arguments.name)
    draw(runs).savefig(arguments.output / f"{arguments.name}.png")
    print(table(runs))


def train(name: str, method: str, overrides: list[str]) -> dict[str, Any]:
    """One run of the bundle, through the command that a user types."""
    output = ROOT / "runs" / "results" / name / method
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(CONFIGS[method])]
    command += [*overrides, "--output_dir", str(output), "--robust_interval", "0"]
    start = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT)
    seconds = time.perf_counter() - start
    report = json.loads((output / "robustness.json").read_text())
    named = [text for text in overrides if not text.startswith(os.sep) and ".." not in text]
    return {
        "method": method,
        "overrides": [text for text in named if text != "--dataset_dir"],
        "settings": report["settings"],
        "attack": report["attack"],
        "classes": report["classes"],
        "curve": report["curves"][-1],
        "seconds": round(seconds),
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "versions": {name: version(name) for name in ("torch", "monai", "monai-ima")},
    }


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    """All runs of that name."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"{name}_*.json"))]


def table(runs: list[dict[str, Any]]) -> str:
    """Accuracy at each level, a line a method, the mean over its seeds with their range."""
    levels = [f"{eps:g}" for eps in runs[0]["curve"]["eps"]]
    heading = ["method", "runs", *levels, "area", "minutes"]
    lines = [heading, ["---"] * len(heading)]
    for method in CONFIGS:
        same = [run for run in runs if run["method"] == method]
        columns = zip(*(run["curve"]["accuracy"] for run in same), strict=True)
        area = spread([run["curve"]["auc"] for run in same])
        minutes = f"{mean(run['seconds'] for run in same) / 60:.1f}"
        lines.append([method, str(len(same)), *map(spread, columns), area, minutes])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw(runs: list[dict[str, Any]]) -> Figure:
    """Accuracy against the noise level, a line a run."""
    figure = Figure(figsize=(5.2, 3.4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for color, method in zip(("0.5", "C3"), CONFIGS, strict=True):
        curves = [run["curve"] for run in runs if run["method"] == method]
        for number, curve in enumerate(curves):
            label = f"{method}, n = {curve['n']}" if number == 0 else None
            axes.plot(curve["eps"], curve["accuracy"], "o-", color=color, label=label, alpha=0.8)
            axes.fill_between(curve["eps"], curve["low"], curve["high"], color=color, alpha=0.08)
    axes.set_xlabel("noise level (L∞ radius, pixels in [0, 1])")
    axes.set_ylabel("accuracy under attack")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def spread(values: Any) -> str:
    """Mean, and the range where there is more than one value."""
    values = list(values)
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
