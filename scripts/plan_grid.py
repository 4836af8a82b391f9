"""Whether the radius that monai-ima plan proposes is a good one: beside quarter, half, twice, four times.

    python scripts/plan_grid.py oct_64 --dataset_dir FOLDER --seeds 0 1 2
    python scripts/plan_grid.py

For each seed, which chooses the split of the data too, the first command plans a training and trains with five
eps_max, the proposal's among them. It keeps the margins of test samples in
results/plan/oct_64.json, run by run; what is there is not made again. Both print the tables of
docs/results/plan.md from all files there: the plans, the areas of all seeds, and those of the seeds that had
no part in deciding what --trials tries and takes.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import nibabel
import numpy as np
import torch
from scipy.stats import t
from torch import Tensor

from monai_ima import __version__
from monai_ima.cli.settings import settings_values
from monai_ima.handlers.files import write_whole
from monai_ima.installed_bundles import bundle_folder
from monai_ima.planning import Proposal, TrainingParts, make_plan
from monai_ima.planning.pilot import measured_margins, samples_of
from monai_ima.planning.trials import (
    MULTIPLES,
    largest_not_worse,
    of_size,
    standard_error,
    trial,
)
from monai_ima.report import markdown_table
from monai_ima.robustness import area_under, get_protocol

RESULTS = Path(__file__).resolve().parents[1] / "results" / "plan"
FACTORS = (0.25, 0.5, 1, 2, 4)
PROTOCOL = get_protocol("minimum_norm", steps=40)
UNSEEN = {"ecg": 6, "fashion_mnist": 6, "oct_64": 6, "oct_224": 6, "hippocampus": 21}
"""The first of the seeds that were run when the rule of --trials was decided, with the others' test areas known."""


class Task(NamedTuple):
    """A data set at a size for a CPU, and how its trainings are compared."""

    bundle: str
    settings: dict[str, Any]
    samples: int = 400  # at most, of validation and test


# Classes are nearly even in each of them.
BY_STEPS: dict[str, Any] = {"objective#margin_update": "step", "best_by": "accuracy"}
SHORT: dict[str, Any] = {"attack_steps": 6, "bisections": 6}
TASKS = {
    "ecg": Task(
        "ecg_ima",
        {**BY_STEPS, "training_per_class": 600, "evaluation_per_class": 100, "epoch_size": 3000},
    ),
    "fashion_mnist": Task(
        "fashion_mnist_ima",
        {
            **BY_STEPS,
            "training_samples": 1000,
            "validation_samples": 400,
            "test_samples": 400,
            "batch_size": 32,
            "learning_rate": 0.004,
            "image_size": [32, 32],
            "network_def": {"_target_": "monai_ima.networks.small_cnn", "num_classes": "@num_classes"},
        },
    ),
    "oct_64": Task("oct_ima", {**BY_STEPS, "fractions": [0.5, 0.25, 0.25]}),
    "oct_224": Task(
        "oct_ima",
        {
            **BY_STEPS,
            **SHORT,
            "fractions": [0.5, 0.25, 0.25],
            "image_size": [224, 224],
            "batch_size": 16,
            # a convolution that halves the image, then the network of the small images
            "network_def": "$torch.nn.Sequential(torch.nn.Conv2d(1, 8, 5, stride=2, padding=2), "
            "torch.nn.ReLU(), monai_ima.networks.small_cnn(8, @num_classes))",
        },
    ),
    "hippocampus": Task("volume_ima", {**BY_STEPS, **SHORT, "num_classes": 2, "fractions": [0.5, 0.25, 0.25]}),
}  # fmt: skip


def main() -> None:
    """Make the runs that are asked for and missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", choices=TASKS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments, others = parser.parse_known_args()
    if arguments.data is not None:
        make_runs(arguments.data, arguments.seeds, settings_values(others))
    results = read()
    print(plans(results), areas(results), areas(unseen(results)), sep="\n\n")


def read() -> dict[str, dict[str, Any]]:
    """The result files, by the names of their data sets."""
    paths = [RESULTS / f"{name}.json" for name in TASKS]
    return {path.stem: json.loads(path.read_text("utf-8")) for path in paths if path.exists()}


def unseen(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each file the runs of the seeds that had no part in deciding the rule of --trials."""
    return {
        name: {**found, "runs": [run for run in found["runs"] if run["seed"] >= UNSEEN[name]]}
        for name, found in results.items()
    }


def make_runs(data: str, seeds: list[int], where: dict[str, Any]) -> None:
    """Plan and train with each ``eps_max`` from each seed, and keep what is found, run by run."""
    task, path = TASKS[data], RESULTS / f"{data}.json"
    if data == "hippocampus":
        where = {**where, "datalist_file": str(hippocampus_list(Path(where["dataset_dir"])))}
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    found = {"version": __version__, "protocol": PROTOCOL.name, "plans": {}, "runs": [], **found}
    for seed in seeds:
        made = {run["factor"] for run in found["runs"] if run["seed"] == seed}
        if made.issuperset(FACTORS):
            continue
        settings = {**task.settings, "seed": seed}
        parts = TrainingParts([bundle_folder(task.bundle) / "train.json"], **settings, **where)
        if str(seed) not in found["plans"]:
            plan = make_plan(parts, samples=task.samples).to_dict()
            plan["given"] = settings  # without the paths of whoever made it
            for name in ("reasons", "warnings", "quicker", "trials"):  # which follow from the rest
                del plan[name]
            found["plans"][str(seed)] = plan
            keep(path, found)
        plan = found["plans"][str(seed)]
        proposal = Proposal(
            **plan["proposal"], margin=plan["plain_network"]["median_margin"], nearer=math.nan
        )
        for factor in sorted(set(FACTORS) - made, key=lambda factor: abs(math.log(factor))):
            run = trained(parts, task, proposal, factor * proposal.eps_max, seed)
            found["runs"].append({"seed": seed, "factor": factor, **run})
            keep(path, found)
            print(data, seed, factor, run["seconds"], flush=True)


def hippocampus_list(folder: Path) -> Path:
    """A task for the hippocampus volumes: is it one of the larger, or of the smaller third?

    By how many voxels are labelled. Those in between are left out.
    """
    images, names = (
        f"{name}Tr" if (folder / f"{name}Tr").is_dir() else name for name in ("images", "labels")
    )
    labels = sorted((folder / names).glob("*.nii.gz"))
    volumes: list[Any] = [nibabel.load(path) for path in labels]
    sizes = [int((np.asanyarray(volume.dataobj) > 0).sum()) for volume in volumes]
    low, high = np.quantile(sizes, [1 / 3, 2 / 3])
    rows = ["path,class,patient"]
    for path, size in zip(labels, sizes, strict=True):
        if not low <= size <= high:
            name = path.name.partition(".")[0]
            rows.append(f"{images}/{path.name},{'large' if size > high else 'small'},{name}")
    listed = Path("runs", "plan", "hippocampus.csv")
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("\n".join(rows) + "\n", "utf-8")
    return listed


def keep(path: Path, content: object) -> None:
    """All of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda draft: draft.write_text(json.dumps(content) + "\n", "utf-8"))


def trained(
    parts: TrainingParts, task: Task, proposal: Proposal, eps_max: float, seed: int
) -> dict[str, Any]:
    """Train with one eps_max, and measure the margins of test samples at the best epoch."""
    start = time.process_time()
    radius = of_size(proposal, eps_max, parts["margin_interval"])
    parts.begin_anew(seed, **radius)
    validation, test = (
        samples_of(parts, section, task.samples, seed) for section in ("validate", "robustness")
    )
    inputs, labels = validation
    found = trial(parts, proposal, inputs, labels, seed=seed, **radius)
    seconds = time.process_time() - start
    kept = parts["objective"].margins.margins
    return {
        **radius,
        "best_epoch": found.epoch,
        "seconds": round(seconds, 1),
        "training_margins": [round(float(value), 6) for value in (kept.mean(), kept.max())],
        "validation_area": round(found.area, 6),
        "margins": finite(measured_margins(parts, *test, PROTOCOL)),
    }


def finite(margins: Tensor) -> list[float | None]:
    """For JSON, which knows no infinity: ``None`` where no error was found."""
    return [None if math.isinf(margin) else margin for margin in margins.tolist()]


def area(margins: list[float | None], levels: list[float]) -> float:
    """Mean accuracy over noise levels."""
    known = [math.inf if margin is None else margin for margin in margins]
    eps = torch.tensor(levels, dtype=torch.float64)
    robust = torch.tensor(known, dtype=torch.float64)[:, None] > eps
    return float(area_under(robust.double().mean(dim=0), eps))


def complete_seeds(content: dict[str, Any]) -> list[int]:
    """Those of which each multiple was trained."""
    runs = {(run["seed"], run["factor"]) for run in content["runs"]}
    seeds = sorted({seed for seed, _ in runs})
    return [seed for seed in seeds if all((seed, factor) in runs for factor in FACTORS)]


def by_factor(content: dict[str, Any]) -> dict[float, list[float]]:
    """The areas of each multiple of the proposed ``eps_max``, a number a complete seed."""
    runs = {(run["seed"], run["factor"]): run["margins"] for run in content["runs"]}
    seeds, proposed = complete_seeds(content), content["plans"]
    return {
        factor: [
            area(runs[seed, factor], proposed[str(seed)]["proposal"]["noise_levels"])
            for seed in seeds
        ]
        for factor in FACTORS
    }


def loss(areas: dict[float, list[float]], ours: list[float]) -> tuple[float, float, float, float]:
    """The best multiple on average, and how much of its area ours lack.

    Returns:
        The multiple, the mean over the seeds of what is lacking, as a share of the best one's mean area,
        and its 95 % interval by Student's t (NaN of one seed).
    """
    best = max(areas, key=lambda factor: mean(areas[factor]))
    whole = mean(areas[best])
    lacking = [(theirs - our) / whole for our, theirs in zip(ours, areas[best], strict=True)]
    middle, seeds = mean(lacking), len(lacking)
    if seeds == 1:
        return best, middle, math.nan, math.nan
    half = float(t.ppf(0.975, seeds - 1)) * stdev(lacking) / seeds**0.5
    return best, middle, middle - half, middle + half


def by_trials(content: dict[str, Any], samples_at_most: int) -> list[float]:
    """The areas of the multiples that validation samples choose, a number a complete seed."""
    areas = by_factor(content)
    validated = {(run["seed"], run["factor"]): run["validation_area"] for run in content["runs"]}
    found = []
    for row, seed in enumerate(complete_seeds(content)):
        samples = min(content["plans"][str(seed)]["samples"]["validation"], samples_at_most)
        by_validation = {each: validated[seed, each] for each in MULTIPLES}
        error = standard_error(max(by_validation.values()), samples)
        found.append(areas[largest_not_worse(by_validation, error)][row])
    return found


def plans(results: dict[str, dict[str, Any]]) -> str:
    """What was planned for each data set, in Markdown."""
    rows = [
        [
            "data", "seed", "training, validation, test", "plain accuracy", "median margin",
            "noise of flat regions", "highest level", "eps_max", "delta", "epochs",
        ]
    ]  # fmt: skip
    plans = [(name, plan) for name, found in results.items() for plan in found["plans"].values()]
    for name, plan in plans:
        proposal, plain = plan["proposal"], plan["plain_network"]
        sizes = [plan["samples"][section] for section in ("training", "validation", "test")]
        noise = plan["reference_noise"]
        rows.append(
            [
                name,
                str(plan["given"]["seed"]),
                ", ".join(map(str, sizes)),
                f"{plain['accuracy']:.3f}",
                f"{plain['median_margin']:.2g}",
                "" if noise is None else f"{noise:.2g}",
                f"{proposal['noise_levels'][-1]:.2g}",
                f"{proposal['eps_max']:.2g}",
                f"{proposal['delta']:.2g}",
                str(proposal["max_epochs"]),
            ]
        )
    return markdown_table(rows)


def areas(results: dict[str, dict[str, Any]]) -> str:
    """The areas of each multiple of the proposal, and what the proposal lacks, in Markdown."""
    multiples = [f"{factor:g} x" for factor in FACTORS]
    rows = [["data", "seeds", *multiples, "best", "proposal lacks", "with `--trials` it lacks"]]
    for name, content in results.items():
        found = by_factor(content)
        if not found[1]:
            continue
        lacking = []
        for ours in (found[1], by_trials(content, TASKS[name].samples)):
            best, middle, low, high = loss(found, ours)
            spread = (
                "" if math.isnan(low) or ours == found[best] else f" ({low:+.1%} to {high:+.1%})"
            )
            lacking.append(f"{middle:.1%}{spread}")
        means = [f"{mean(found[factor]):.3f}" for factor in FACTORS]
        rows.append([name, str(len(found[1])), *means, f"{best:g} x", *lacking])
    return markdown_table(rows)


if __name__ == "__main__":
    main()
