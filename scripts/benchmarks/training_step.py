"""What a step of IMA and a pass over the margins cost, in units of plain training.

    OMP_NUM_THREADS=1 python scripts/benchmarks/training_step.py

The paper's network for heartbeats is trained for a little while on synthetic beats, and the margins
are set so that about half of a batch crosses the decision boundary. Then, round by round, a plain
step (forward and backward of cross-entropy), a step of Algorithm 1 (20 steps of PGD, 10 bisections)
and a pass of Algorithm 2 (50 steps) run once each on the same batch, and CPU times are divided by the
plain one's in the same round. Passes are exact, a sample at a time.

The same of whole epochs by the trainer, with all that an epoch has beside, at 10 steps as in the bundle and
20 as in the paper: cross-entropy, IMA with margins learned from the steps, and with a pass of Algorithm 2
of twice as many steps. The learning rate is 0, so that as many go on crossing. Medians and ranges over the
rounds go to a JSON file and are printed as Markdown tables.
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

from monai_ima.data import BatchSampler, TensorSamples, batches, load_ecg, write_synthetic_ecg
from monai_ima.engines import RobustTrainer
from monai_ima.handlers import MarginUpdateHandler
from monai_ima.margins import MarginStore
from monai_ima.networks import ECGNet
from monai_ima.objectives import IMA, CrossEntropy, Objective
from monai_ima.robustness import CountingModel, Screen, closest_errors

BATCHES = (128, 1024)
EPS_MAX = {"linf": 0.3, "l2": 1.5}
PAPER: dict[str, Any] = {"steps": 20, "margin_steps": 50, "bisections": 10}
EPOCHS = 5
EPOCH_SIZE = 1280
STEPS = (10, 20)
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
    whole = [
        row for steps in STEPS for row in measure_epochs(network, beats, "linf", steps, rounds)
    ]
    settings = {"rounds": rounds, "network": "ECGNet", **PAPER, **measuring.machine("torch")}
    measuring.write("training_step", settings, rows=rows, epochs=whole)
    print(cost_table(rows), epoch_table(whole), sep="\n\n")


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
        "margins": lambda: share_crossed(objective.update_margins(model, inputs, labels, index)),
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


def share_crossed(distance: Tensor) -> Tensor:
    """Of samples with these distances ``(N,)`` the share that met the boundary."""
    return ((distance > 0) & distance.isfinite()).double().mean()


def measure_epochs(
    network: ECGNet, beats: TensorSamples, norm: str, steps: int, rounds: int
) -> list[dict[str, Any]]:
    """Cost of whole epochs by the trainer, with the same batches of beats that are classified right."""
    inputs, labels = correct(network, beats, EPOCH_SIZE)
    errors = closest_errors(
        network, inputs, labels, eps=[EPS_MAX[norm]], norm=norm, protocol=Screen(), seed=SEED
    )
    half = float(errors.margins.median())
    samples = TensorSamples(inputs, labels, ids=[str(place) for place in range(len(labels))])
    loader = batches(samples, 128, sampling="shuffled")
    stores = [MarginStore(len(labels), delta=half, eps_max=half) for _ in range(2)]
    common: dict[str, Any] = {"norm": norm, "beta": 0.5, "steps": steps, "margin_steps": 2 * steps}
    by_steps = IMA(stores[0], **common, margin_update="step")
    by_passes = IMA(stores[1], **common)
    crossed: list[float] = []

    def epoch(objective: Objective, *handlers: Any) -> Callable[[], Any]:
        def run() -> None:
            for store in stores:
                store.margins.fill_(half)
            RobustTrainer(
                objective=objective,
                device="cpu",
                max_epochs=1,
                train_data_loader=loader,
                network=network,
                optimizer=torch.optim.Adam(network.parameters(), lr=0.0),
                train_handlers=handlers,
            ).run()
            if objective is by_steps:
                crossed.append(share_crossed(by_steps.learn_margins()).item())

        return run

    work = {
        "cross-entropy": epoch(CrossEntropy()),
        "IMA, margins by step": epoch(by_steps),
        "IMA, margins by pass": epoch(by_passes, MarginUpdateHandler(by_passes, loader)),
    }
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(1 + rounds):
        for name, piece in work.items():
            seconds[name].append(measuring.measured(piece, CountingModel(network), 1).seconds)
    return [
        {
            "norm": norm,
            "steps": steps,
            "crossed": crossed[-1],
            "what": name,
            "cost": measuring.ratios(taken[1:], seconds["cross-entropy"][1:]),
            "milliseconds": 1000 * median(taken[1:]),
        }
        for name, taken in seconds.items()
    ]


def epoch_table(rows: list[dict[str, Any]]) -> str:
    """A line for each number of steps and method."""
    columns = {
        "attack steps": "{steps}",
        "crossed": "{crossed:.2f}",
        "an epoch of": "{what}",
        "CPU time / cross-entropy": measuring.median_and_range("cost", 1),
        "ms": "{milliseconds:.0f}",
    }
    return measuring.table(columns, rows)


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
