"""What a step of IMA and a pass over the margins cost, in units of plain training.

    OMP_NUM_THREADS=1 python scripts/benchmarks/training_step.py

The paper's network for heartbeats is trained for a little while on synthetic beats, and the margins
are set so that about half of a batch crosses the decision boundary. Then, round by round, a plain
step (forward and backward of cross-entropy), a step of Algorithm 1 (20 steps of PGD, 10 bisections)
and a pass of Algorithm 2 (50 steps) run once each on the same batch, and CPU times are divided by the
plain one's in the same round. Passes are exact, a sample at a time. Medians and ranges over the rounds
go to a JSON file and are printed as a Markdown table.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import measuring
import torch
import torch.nn.functional as F
from measuring import SEED
from torch import Tensor

from monai_ima.data import BatchSampler, TensorSamples, load_ecg, write_synthetic_ecg
from monai_ima.margins import MarginStore
from monai_ima.networks import ECGNet
from monai_ima.objectives import IMA
from monai_ima.robustness import CountingModel, Screen, closest_errors

BATCHES = (128, 1024)
EPS_MAX = {"linf": 0.3, "l2": 1.5}
PAPER: dict[str, Any] = {"steps": 20, "margin_steps": 50, "bisections": 10}
EPOCHS = 5
# What is measured, how it is called in the table, and what it is to cost at most, if anything.
WORK = {
    "plain": ("forward and backward", 0),
    "step": ("step of Algorithm 1", 20),
    "margins": ("pass of Algorithm 2", 40),
}


def main() -> None:
    """Prepare, measure, write, print."""
    rounds = measuring.begin(__doc__, 15)
    with tempfile.TemporaryDirectory() as folder:
        beats = load_ecg(write_synthetic_ecg(Path(folder) / "ecg", seed=SEED)).training
    network = ECGNet()
    sampler = BatchSampler(beats.labels, 128, sampling="balanced", epoch_size=12_800)
    epochs = (rows for _ in range(EPOCHS) for rows in sampler)
    measuring.train(network, beats.inputs, beats.labels, epochs, rate=1e-3)
    rows = [
        row
        for norm in EPS_MAX
        for batch in BATCHES
        for row in measure(network, *correct(network, beats, batch), norm, rounds)
    ]
    settings = {"rounds": rounds, "network": "ECGNet", **PAPER, **measuring.machine("torch")}
    measuring.write("training_step", settings, rows=rows)
    print(cost_table(rows))


def correct(network: ECGNet, beats: TensorSamples, batch: int) -> tuple[Tensor, Tensor]:
    """That many beats which the network gets right: others are not attacked, and are cheaper."""
    with torch.no_grad():
        right = (network(beats.inputs).argmax(dim=1) == beats.labels).nonzero()[:, 0]
    rows = right[torch.randperm(len(right))[:batch]]
    return beats.inputs[rows], beats.labels[rows]


def measure(
    network: ECGNet, inputs: Tensor, labels: Tensor, norm: str, rounds: int
) -> list[dict[str, Any]]:
    """Cost of a plain step, a step of Algorithm 1 and a pass of Algorithm 2 on one batch."""
    model, index = CountingModel(network), torch.arange(len(labels))
    errors = closest_errors(
        model, inputs, labels, eps=[EPS_MAX[norm]], norm=norm, protocol=Screen(), seed=SEED
    )
    half = float(errors.margins.median())
    store = MarginStore(len(labels), delta=half, eps_max=half)
    objective = IMA(store, norm=norm, beta=0.5, **PAPER)
    work: dict[str, Callable[[], Any]] = {
        "plain": lambda: F.cross_entropy(model(inputs), labels).backward(),
        "step": lambda: torch.autograd.backward(objective(model, inputs, labels, index).loss),
        "margins": lambda: objective.update_margins(model, inputs, labels, index).double().mean(),
    }
    runs: dict[str, list[measuring.Run]] = defaultdict(list)
    for _ in range(1 + rounds):
        for name, piece in work.items():
            store.margins.fill_(half)
            model.zero_grad()
            runs[name].append(measuring.measured(piece, model, len(labels)))
    # without the first, which prepares memory and kernels
    seconds = {name: [run.seconds for run in same[1:]] for name, same in runs.items()}
    return [
        {
            "norm": norm,
            "batch": len(labels),
            "eps": half,
            "crossed": runs["margins"][-1].result.item(),
            "what": name,
            "cost": measuring.ratios(seconds[name], seconds["plain"]),
            "milliseconds": 1000 * median(seconds[name]),
            "forwards": same[-1].forwards,
            "gradients": same[-1].gradients,
        }
        for name, same in runs.items()
    ]


def cost_table(rows: list[dict[str, Any]]) -> str:
    """A line for each norm, batch and piece of work."""
    columns = {
        "norm": "{norm}",
        "batch": "{batch}",
        "crossed": "{crossed:.2f}",
        "work": "{work}",
        "CPU time / plain": measuring.median_and_range("cost", 1),
        "at most": "{limit}",
        "ms": "{milliseconds:.0f}",
        "forwards": "{forwards:.1f}",
        "gradients": "{gradients:.1f}",
    }
    lines = []
    for row in rows:
        work, target = WORK[row["what"]]
        verdict = "holds" if row["cost"]["median"] <= target else "**missed**"
        limit = f"{target}, {verdict}" if target else ""
        lines.append({**row, "work": work, "limit": limit})
    return measuring.table(columns, lines)


if __name__ == "__main__":
    main()
