"""Train and evaluate methods on one data set, and print the paper's table.

    python scripts/reproduce.py ecg --norm linf --methods ce adv0.1 ima --seeds 0 1 2 --dataset_dir FOLDER
    python scripts/reproduce.py ecg --norm linf

The first command makes one JSON file a run below ``results``; a run whose file is there is not made
again, and one that was cut off goes on from its last epoch and its last evaluated samples, to the same
figures. Both print the table of all runs that are there, and draw their curves beside them.

Options of the bundle (``--max_epochs 10``) may follow, and are kept in the file. ``--budget MINUTES``
chooses ``max_epochs`` for each training instead: one epoch is timed, and as many are made as fit into
that time, up to the bundle's own number; if fewer than MIN_EPOCHS fit, the training samples are
reduced in proportion as well. What was chosen is in the file.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
MIN_EPOCHS = 10
DRAWS = 2000
CHEAP = ["--eval_steps", "1", "--eval_restarts", "1", "--robust_interval", "0"]
OBJECTIVES_OWN = "--(adv|ddn|iaat|trades)_"
CURVE_ONLY = ["--check_samples", "0", "--noise_draws", "0", "--auroc_steps", "0"]


class DataSet(NamedTuple):
    """What differs between the data sets of the paper.

    Attributes:
        bundle: folder of the bundle.
        levels: noise levels of each norm.
        eps_max: largest margin in each norm.
        samples: the bundle's setting that limits the training samples, and what it is by default.
        accuracy: the accuracy that the paper's table has.
    """

    bundle: str
    levels: dict[str, list[float]]
    eps_max: dict[str, float]
    samples: tuple[str, int | None]
    accuracy: str = "accuracy"


DATA = {
    "ecg": DataSet(
        "ecg_ima",
        {"linf": [0, 0.01, 0.03, 0.05, 0.1, 0.2, 0.3], "l2": [0, 0.05, 0.15, 0.25, 0.5, 1, 1.5]},
        {"linf": 0.3, "l2": 1.5},
        ("training_per_class", 2000),
        accuracy="balanced_accuracy",
    ),
    "fashion_mnist": DataSet(
        "fashion_mnist_ima",
        {"linf": [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3], "l2": [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5]},
        {"linf": 0.3, "l2": 1.5},
        ("training_samples", None),
    ),
    "oct": DataSet(
        "oct_ima",
        {"linf": [0, 0.0025, 0.005, 0.01, 0.015, 0.02], "l2": [0, 0.1, 0.25, 0.5, 0.75, 1]},
        {"linf": 0.02, "l2": 1},
        ("samples_per_class", None),
    ),
    "svhn": DataSet(
        "svhn_ima",
        {
            "linf": [0, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1],
            "l2": [0, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2],
        },
        {"linf": 0.1, "l2": 2},
        ("training_samples", None),
    ),
    "moons": DataSet(
        "moons_ima",
        {"linf": [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3], "l2": [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]},
        {"linf": 0.3, "l2": 0.3},
        ("training_samples", None),
    ),
}


def main() -> None:
    """Make the runs that are missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--norm", choices=["linf", "l2"], default="linf")
    parser.add_argument(
        "--methods", nargs="*", default=[], help="ce, ima, adv0.1, trades1, ddn, ..."
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--name", default="default", help="of the size, in the results' file names")
    parser.add_argument("--budget", type=float, help="minutes for each training")
    parser.add_argument("--output", type=Path, help="folder of the results")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "reproduce")
    arguments, overrides = parser.parse_known_args()
    output = arguments.output or ROOT / "results" / arguments.data
    for seed in arguments.seeds:
        for method in arguments.methods:
            name = f"{arguments.name}_{arguments.norm}_{method}_seed{seed}"
            path = output / f"{name}.json"
            if path.exists():
                continue
            folder = arguments.runs / arguments.data / name
            options = ["--norm", arguments.norm, "--seed", str(seed), *overrides]
            result = run(
                DATA[arguments.data], method, arguments.norm, folder, options, arguments.budget
            )
            identity = {"data": arguments.data, "size": arguments.name, "seed": seed}
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".draft")
            draft.write_text(json.dumps(identity | result) + "\n")
            draft.replace(path)
    runs = read(output, arguments.name, arguments.norm)
    if not runs:
        raise SystemExit(
            f"no results {arguments.name} in {arguments.norm} in {output}; add --methods"
        )
    accuracy = DATA[arguments.data].accuracy
    draw(runs, accuracy).savefig(output / f"{arguments.name}_{arguments.norm}.png")
    print(table(runs, accuracy))
    print()
    print(area_table(runs, accuracy))


# One run


def run(
    data: DataSet, method: str, norm: str, folder: Path, options: list[str], budget: float | None
) -> dict[str, Any]:
    """Train and evaluate through the commands that a user types."""
    bundle = ROOT / "bundles" / data.bundle
    train = [str(bundle / "train.json")]
    kind, strength = split_method(method)
    if kind != "ima":
        train.append(str(ROOT / "bundles" / "objectives" / f"{kind}.json"))
    options = ["--eps_max", str(data.eps_max[norm]), *options, *strength]
    options += ["--noise_levels", str(data.levels[norm])]
    if budget is not None:
        options += within(budget, data, train, options, folder)
    training = folder / "training"
    seconds = command(train, [*options, *CHEAP, "--output_dir", str(training), *resumed(training)])
    levels = str({norm: data.levels[norm]})
    evaluated = ["--output_dir", str(training), "--evaluation_dir", str(folder / "evaluation")]
    evaluated += ["--evaluation_levels", levels, "--method", method, *CURVE_ONLY]
    command([*train[:1], str(bundle / "evaluate.json")], [*given(options), *evaluated])
    result = collected(method, norm, folder, options)
    return result | {"budget_minutes": budget, "seconds": round(seconds)}


def split_method(method: str) -> tuple[str, list[str]]:
    """Name of the objective's file, and its strength as an option: adv0.1, trades6."""
    kind, strength = re.fullmatch(r"([a-z]+)([0-9.]*)", method).groups()
    return kind, [f"--{kind}_{'beta' if kind == 'trades' else 'eps'}", strength] if strength else []


def given(options: list[str]) -> list[str]:
    """The options that an evaluation, which has no training objective, knows as well."""
    pairs = zip(options[::2], options[1::2], strict=True)
    return [text for pair in pairs if not re.match(OBJECTIVES_OWN, pair[0]) for text in pair]


def resumed(folder: Path) -> list[str]:
    """Go on where an earlier call was cut off."""
    return ["--resume", "true"] if (folder / "checkpoint.pt").exists() else []


def command(configs: Sequence[str], options: Iterable[str]) -> float:
    """Run a bundle, and say how many seconds it took."""
    start = time.perf_counter()
    files = str(list(configs)) if len(configs) > 1 else configs[0]
    full = [sys.executable, "-m", "monai.bundle", "run", "--config_file", files, *options]
    subprocess.run(full, check=True, cwd=ROOT)
    return time.perf_counter() - start


def within(
    minutes: float, data: DataSet, train: list[str], options: list[str], folder: Path
) -> list[str]:
    """Epochs, and if need be samples, of a training that takes about that long."""
    chosen = folder / "budget.json"
    if not chosen.exists():
        probe = folder / "probe"
        one = [*options, *CHEAP, "--output_dir", str(probe)]
        # the second epoch: the first call also reads the data and compiles
        first, both = (command(train, [*one, "--max_epochs", str(n)]) for n in (1, 2))
        shutil.rmtree(probe)
        own = json.loads(Path(train[0]).read_text())["max_epochs"]
        epochs = min(own, int(60 * minutes / max(both - first, 0.1)))
        found = ["--max_epochs", str(max(epochs, MIN_EPOCHS))]
        if epochs < MIN_EPOCHS:
            setting, samples = data.samples
            if samples is None:
                raise SystemExit(
                    f"expected a budget for {MIN_EPOCHS} epochs, got {minutes:g} minutes for "
                    f"{epochs}; give {setting} as a number, or a larger budget"
                )
            found += [f"--{setting}", str(max(1, samples * epochs // MIN_EPOCHS))]
        chosen.parent.mkdir(parents=True, exist_ok=True)
        chosen.write_text(json.dumps(found))
    found: list[str] = json.loads(chosen.read_text())
    return found


def collected(method: str, norm: str, folder: Path, options: list[str]) -> dict[str, Any]:
    """What a run leaves, in one dictionary of plain values."""
    training = json.loads((folder / "training" / "robustness.json").read_text())
    report = json.loads((folder / "evaluation" / "robustness.json").read_text())
    (curve,) = report["curves"]
    private = {"--dataset_dir", "--datalist_file"}
    pairs = zip(options[::2], options[1::2], strict=True)
    rows = samples(folder / "evaluation" / "samples.csv", report["classes"], norm)
    return {
        "method": method,
        "norm": norm,
        "options": {name[2:]: value for name, value in pairs if name not in private},
        "settings": training["settings"],
        "attack": report["attack"],
        "classes": report["classes"],
        "curve": curve,
        **rows,
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "versions": {name: version(name) for name in ("torch", "monai", "monai-ima")},
    }


def samples(path: Path, classes: list[str], norm: str) -> dict[str, list[Any]]:
    """Label, margin and class that the closest error was given, of each sample.

    There is neither margin nor class where no error was found.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    margins, given = ([row[f"{key}_{norm}"] for row in rows] for key in ("margin", "broken_as"))
    return {
        "labels": [classes.index(row["label"]) for row in rows],
        "margins": [float(f"{float(margin):.5g}") if margin else None for margin in margins],
        "broken_as": [classes.index(name) if name else None for name in given],
    }


# All runs of one size and norm


def read(folder: Path, name: str, norm: str) -> list[dict[str, Any]]:
    """The runs of that name, in the order of their methods, IMA last."""
    runs = [json.loads(path.read_text()) for path in folder.glob(f"{name}_{norm}_*_seed*.json")]
    return sorted(runs, key=lambda run: (rank(run["method"]), run["seed"]))


def rank(method: str) -> tuple[int, str]:
    """Place of a method in the tables."""
    return {"ce": 0, "ima": 2}.get(method, 1), method


def by_method(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The runs of each method."""
    methods = dict.fromkeys(run["method"] for run in runs)
    return {method: [run for run in runs if run["method"] == method] for method in methods}


def table(runs: list[dict[str, Any]], accuracy: str) -> str:
    """The paper's table: accuracy at each level, a line a method.

    Mean and range over its seeds; of one run, with half the width of its 95 % interval.
    """
    levels = [f"{eps:g}" for eps in runs[0]["curve"]["eps"]]
    heading = ["method", "runs", *levels, "area", "minutes"]
    lines = [heading, ["---"] * len(heading)]
    for method, same in by_method(runs).items():
        columns = list(zip(*(run["curve"][accuracy] for run in same), strict=True))
        cells = [spread(column) for column in columns]
        if len(same) == 1:
            halves = half_widths(same[0], accuracy).tolist()
            cells = [f"{cell} ± {half:.3f}" for cell, half in zip(cells, halves, strict=True)]
        areas = [area(per_sample(run), weights(run, accuracy)).item() for run in same]
        minutes = f"{mean(run['seconds'] for run in same) / 60:.1f}"
        lines.append([method, str(len(same)), *cells, spread(areas), minutes])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def area_table(runs: list[dict[str, Any]], accuracy: str) -> str:
    """Area under IMA's curve less that of each other method, on the same samples, and its interval.

    Seed by seed the same samples are drawn for both; the mean over the seeds is what varies.
    """
    methods = by_method(runs)
    ours = {run["seed"]: run for run in methods.get("ima", [])}
    lines = ["| IMA less | seeds | area | 95 % interval |", "| --- | --- | --- | --- |"]
    for method, theirs in methods.items():
        pairs = [(ours[run["seed"]], run) for run in theirs if run["seed"] in ours]
        if method == "ima" or not pairs:
            continue
        draws = torch.stack([differences(*pair, accuracy) for pair in pairs]).mean(dim=0)
        low, high = draws[1:].quantile(draws.new_tensor([0.025, 0.975])).tolist()
        lines.append(
            f"| {method} | {len(pairs)} | {draws[0].item():+.3f} | {low:+.3f} to {high:+.3f} |"
        )
    return "\n".join(lines)


def differences(ours: dict[str, Any], theirs: dict[str, Any], accuracy: str) -> Tensor:
    """Difference of the areas, and those of bootstrap draws of the samples, class by class."""
    if ours["labels"] != theirs["labels"]:
        raise SystemExit(
            f"expected the same test samples in {ours['method']} and {theirs['method']}"
        )
    labels, weight = torch.tensor(ours["labels"]), weights(ours, accuracy)
    difference = per_sample(ours) - per_sample(theirs)
    generator = torch.Generator().manual_seed(ours["seed"])
    drawn = torch.zeros(DRAWS, dtype=torch.float64)
    for label in labels.unique():
        own = (labels == label).nonzero()[:, 0]
        rows = own[torch.randint(len(own), (DRAWS, len(own)), generator=generator)]
        drawn += (difference * weight)[rows].sum(dim=1)
    return torch.cat([area(difference, weight)[None], drawn])


def half_widths(run: dict[str, Any], accuracy: str) -> Tensor:
    """``(L,)`` half the 95 % interval of the accuracy, from the variance within each class."""
    labels, robust = torch.tensor(run["labels"]), standing(run)
    weight = weights(run, accuracy)
    variance = torch.zeros(robust.shape[1], dtype=torch.float64)
    for label in labels.unique():
        rows = robust[labels == label]
        share = weight[labels == label].sum() ** 2
        variance += share * rows.var(dim=0, correction=0) / len(rows)
    return 1.959964 * variance.sqrt()


def per_sample(run: dict[str, Any]) -> Tensor:
    """Area under each sample's own curve, which is 1 up to its margin and 0 beyond."""
    eps = torch.tensor(run["curve"]["eps"], dtype=torch.float64)
    return torch.trapezoid(standing(run), eps, dim=1) / eps[-1]


def standing(run: dict[str, Any]) -> Tensor:
    """``(N, L)`` 1 where a sample stands at a level."""
    eps = torch.tensor(run["curve"]["eps"], dtype=torch.float64)
    margins = [torch.inf if margin is None else margin for margin in run["margins"]]
    return (torch.tensor(margins, dtype=torch.float64)[:, None] > eps).double()


def weights(run: dict[str, Any], accuracy: str) -> Tensor:
    """What each sample counts, so that the weighted sum is the accuracy or the balanced one."""
    labels = torch.tensor(run["labels"])
    if accuracy == "accuracy":
        return torch.full(labels.shape, 1 / len(labels), dtype=torch.float64)
    counts = labels.bincount().double()
    return 1 / (counts[labels] * (counts > 0).sum())


def area(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum."""
    return (values * weight).sum()


def spread(values: Iterable[float]) -> str:
    """Mean, and the range where there is more than one value."""
    values = list(values)
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def draw(runs: list[dict[str, Any]], accuracy: str) -> Figure:
    """Accuracy against the noise level, a line a method, with the range over its seeds."""
    figure = Figure(figsize=(6.4, 4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for number, (method, same) in enumerate(by_method(runs).items()):
        color = {"ce": "0.5", "ima": "C3"}.get(method, f"C{(number - 1) % 10}")
        curves = torch.tensor([run["curve"][accuracy] for run in same], dtype=torch.float64)
        eps = same[0]["curve"]["eps"]
        width = 2.2 if method == "ima" else 1.2
        axes.plot(eps, curves.mean(dim=0), "o-", ms=3, lw=width, color=color, label=method)
        low, high = curves.amin(dim=0), curves.amax(dim=0)
        axes.fill_between(eps, low, high, color=color, alpha=0.15, lw=0)
    norm = {"linf": "L∞", "l2": "L2"}[runs[0]["norm"]]
    axes.set_xlabel(f"noise level ({norm})")
    axes.set_ylabel(accuracy.replace("_", " ") + " under attack")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
