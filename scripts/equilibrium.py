"""How near to the middle of two classes each method's decision boundary ends.

    python scripts/equilibrium.py
    python scripts/equilibrium.py --seeds

The first command trains every method on two Gaussian classes, between which the best boundary is
known in closed form, and on two moons, and keeps what it measured in results/moons/equilibrium.json;
a run that is there is not repeated. Both print the tables of docs/equilibrium.md.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import torch
from contourpy import contour_generator
from monai.bundle import create_workflow
from torch import Tensor, nn

from monai_ima import __version__
from monai_ima.attacks import bpgd, misclassified
from monai_ima.data import TensorSamples
from monai_ima.data.moons import GAUSSIAN_MEANS, moon
from monai_ima.experiments.result_tables import spread
from monai_ima.installed_bundles import bundle_folder, method_file
from monai_ima.report import markdown_table, plane_grid
from monai_ima.robustness.measure import probabilities

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "moons" / "equilibrium.json"
METHODS = ("ima", "ce", "adv", "mma")
# Noise levels are large, as section 2.2 of the paper supposes: about half the classes' distance.
DATA: dict[str, dict[str, Any]] = {
    "gaussians": {"noise": 0.3, "eps_max": 1.0},
    "moons": {"noise": 0.1, "eps_max": 0.4},
}
NOTHING = "$None"  # MONAI drops an override that is None itself
SETTINGS: dict[str, Any] = {
    "norm": "l2",
    "max_epochs": 60,
    "plane_interval": 60,
    "device": "cpu",
    **dict.fromkeys(("progress", "robust_evaluation", "validation"), NOTHING),
}
GROWTH = {"ima": {"delta": "$@eps_max / 30"}}  # half of the epochs are left for the equilibrium
RESOLUTION = 400  # of the grid on which boundaries are found
REACH = 0.6  # further than that from the moons, they do not face one another
PIECES = 8


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    runs = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for data, method, seed in product(DATA, METHODS, parser.parse_args().seeds):
        identity = {"data": data, "method": method, "seed": seed}
        if not any(run.items() >= identity.items() for run in runs):
            found = measure(*train(data, method, seed), data)
            runs.append({"version": __version__, **identity, **found})
            RESULTS.write_text(json.dumps(runs, indent=2) + "\n")
    print(tables(runs))


COLUMNS = {
    "accuracy": "training accuracy",
    "distance_mean": "from the middle, mean",
    "distance_along": "but tips",
    "distance_max": "largest",
    "on_boundary": "on the boundary",
    "density_difference": "density difference",
    "density_chance": "by chance",
    "loss_above_minimum": "loss above 2 log 2",
}


def tables(runs: list[dict[str, Any]]) -> str:
    """For each data set a table in Markdown: mean over the seeds, and the range."""
    found = []
    for data in DATA:
        methods = {m: [r for r in runs if (r["data"], r["method"]) == (data, m)] for m in METHODS}
        lines = [[data, "seeds", *COLUMNS.values()]]
        for method, same in methods.items():
            if same:
                cells = (spread([run[column] for run in same]) for column in COLUMNS)
                lines.append([method, str(len(same)), *cells])
        found.append(markdown_table(lines))
    return "\n\n".join(found)


def middle(data: str) -> tuple[Tensor, Tensor]:
    """Points ``(M, 2)`` along the best boundary where the classes have samples: midway in L2.

    With them ``(M,)`` bool, where both classes go along it: not around the tip of a moon.
    """
    if data == "gaussians":
        x, y = GAUSSIAN_MEANS[1]
        along = torch.linspace(-2, 2, 201) * DATA[data]["noise"]
        return along[:, None] * torch.tensor([-y, x]), torch.ones(201, dtype=torch.bool)
    angles = torch.linspace(0, math.pi, 401)
    moons = [moon(angles, torch.full((401,), label)) for label in (0, 1)]
    grid, _ = plane_grid(torch.cat(moons), RESOLUTION)
    to_first, to_second = (torch.cdist(grid.flatten(0, 1), curve).amin(dim=1) for curve in moons)
    line = max(level_set(to_first - to_second, grid), key=len)
    line = line[torch.cdist(line, moons[0]).amin(dim=1) < REACH]
    nearest = torch.stack([torch.cdist(line, curve).argmin(dim=1) for curve in moons])
    return line, ((nearest > 0) & (nearest < 400)).all(dim=0)


def level_set(values: Tensor, grid: Tensor) -> list[Tensor]:
    """Lines ``(M, 2)`` along which values ``(H W,)`` on a grid ``(H, W, 2)`` are 0."""
    x, y = grid.numpy().transpose(2, 0, 1)
    lines = contour_generator(x, y, values.reshape(grid.shape[:2]).numpy()).lines(0)
    return [torch.tensor(line, dtype=grid.dtype) for line in lines]


def boundary(network: nn.Module, inputs: Tensor) -> Tensor:
    """Points ``(M, 2)`` of a network's decision boundary around the samples ``(N, 2)``."""
    grid, _ = plane_grid(inputs, RESOLUTION)
    given = probabilities(network, grid.flatten(0, 1))
    return torch.cat(level_set(given[:, 1] - given[:, 0], grid))


def densities(noisy: Tensor, labels: Tensor, best: Tensor) -> tuple[float, float]:
    """How far the two classes' densities along the boundary differ, and how far by chance alone.

    Each noisy sample ``(N, 2)`` belongs to the nearest point of the best boundary, which is cut into
    pieces of as many samples each. The difference is the total variation: 0 for the same share of
    each class in every piece, 1 if the classes have no piece in common. Chance is its 95 % quantile
    with the labels shuffled.
    """
    place = torch.cdist(noisy, best).argmin(dim=1).double()
    cuts = place.quantile(torch.linspace(0, 1, PIECES + 1, dtype=torch.float64)[1:-1])
    piece = torch.bucketize(place, cuts)

    def difference(labels: Tensor) -> float:
        shares = [
            piece[labels == label].bincount(minlength=PIECES) / (labels == label).sum()
            for label in (0, 1)
        ]
        return float((shares[0] - shares[1]).abs().sum() / 2)

    generator = torch.Generator().manual_seed(0)
    shuffled = [labels[torch.randperm(len(labels), generator=generator)] for _ in range(1000)]
    return difference(labels), float(torch.tensor([*map(difference, shuffled)]).quantile(0.95))


def measure(network: nn.Module, samples: TensorSamples, data: str) -> dict[str, float]:
    """How a trained network's boundary lies between its training samples."""
    best, along = middle(data)
    away = torch.cdist(best, boundary(network, samples.inputs)).amin(dim=1)
    correct = ~misclassified(network, samples.inputs, samples.labels)
    inputs, labels = samples.inputs[correct], samples.labels[correct]
    eps = DATA[data]["eps_max"]
    found = bpgd(network, inputs, labels, eps=eps, norm="l2", steps=50, bounds=None)
    noisy, classes = found.inputs[found.success], labels[found.success]
    difference, chance = densities(noisy, classes, best)
    given = probabilities(network, noisy).log()
    loss = -sum(given[classes == label, label].mean() for label in (0, 1))
    return {
        "accuracy": float(correct.float().mean()),
        "distance_mean": float(away.mean()),
        "distance_along": float(away[along].mean()),
        "distance_max": float(away.max()),
        "on_boundary": float(found.success.float().mean()),
        "density_difference": difference,
        "density_chance": chance,
        "loss_above_minimum": float(loss) - 2 * math.log(2),
    }


def train(data: str, method: str, seed: int) -> tuple[nn.Module, TensorSamples]:
    """One run of the bundle, through its config."""
    files = [str(bundle_folder("moons_ima") / "train.json")]
    if method != "ima":
        files.append(str(method_file(method)))
    chosen = SETTINGS | {"shape": data, "seed": seed} | DATA[data] | GROWTH.get(method, {})
    with tempfile.TemporaryDirectory() as folder:
        chosen["output_dir"] = folder
        workflow = create_workflow(workflow_type="train", config_file=files, **chosen)
        workflow.trainer.run()
        return workflow.parser.get_parsed_content("network"), workflow.train_dataset


if __name__ == "__main__":
    main()
