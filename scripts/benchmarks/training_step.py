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

import argparse
import json
import platform
import tempfile
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from monai.utils import set_determinism
from torch import Tensor

from monai_ima import __version__
from monai_ima.data import BatchSampler, TensorSamples, load_ecg, write_synthetic_ecg
from monai_ima.margins import MarginStore
from monai_ima.networks import ECGNet
from monai_ima.objectives import IMA
from monai_ima.robustness import CountingModel, Screen, closest_errors

ROOT = Path(__file__).resolve().parents[2]
SEED = 0
THREADS = 1
BATCHES = (128, 1024)
EPS_MAX = {"linf": 0.3, "l2": 1.5}
STEPS, MARGIN_STEPS, BISECTIONS = 20, 50, 10  # the paper's
EPOCHS = 5
TARGETS = {"step": 20, "margins": 40}


def main() -> None:
    """Prepare, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--output", type=Path, default=ROOT / "results" / "benchmarks" / "training_step.json"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    set_determinism(SEED)
    with tempfile.TemporaryDirectory() as folder:
        beats = load_ecg(write_synthetic_ecg(Path(folder) / "ecg", seed=SEED)).training
    network = trained(beats)
    rows = [
        row
        for norm in EPS_MAX
        for batch in BATCHES
        for row in measure(network, *correct(network, beats, batch), norm, arguments.rounds)
    ]
    settings = {
        "rounds": arguments.rounds,
        "threads": torch.get_num_threads(),
        "network": "ECGNet",
        "steps": STEPS,
        "margin_steps": MARGIN_STEPS,
        "bisections": BISECTIONS,
        "processor": platform.machine(),
        "versions": {"torch": version("torch")},
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    report = {"version": __version__, "settings": settings, "rows": rows}
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    print(cost_table(rows))


def trained(beats: TensorSamples) -> ECGNet:
    """A network that has learnt a little."""
    network = ECGNet()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        for rows in BatchSampler(beats.labels, 128, sampling="balanced", epoch_size=12_800):
            optimizer.zero_grad()
            F.cross_entropy(network(beats.inputs[rows]), beats.labels[rows]).backward()
            optimizer.step()
    return network


def correct(network: ECGNet, beats: TensorSamples, batch: int) -> tuple[Tensor, Tensor]:
    """That many beats which the network gets right: a wrong one is not attacked, and is cheaper."""
    with torch.no_grad():
        right = (network(beats.inputs).argmax(dim=1) == beats.labels).nonzero()[:, 0]
    rows = right[torch.randperm(len(right))[:batch]]
    return beats.inputs[rows], beats.labels[rows]


def measure(
    network: ECGNet, inputs: Tensor, labels: Tensor, norm: str, rounds: int
) -> list[dict[str, Any]]:
    """Cost of a plain step, a step of Algorithm 1 and a pass of Algorithm 2 on one batch."""
    model = CountingModel(network)
    index = torch.arange(len(labels))
    half = closest_errors(
        model, inputs, labels, eps=[EPS_MAX[norm]], norm=norm, protocol=Screen(), seed=SEED
    ).margins.median()
    store = MarginStore(len(labels), delta=float(half), eps_max=float(half))
    objective = IMA(
        store,
        norm=norm,
        beta=0.5,
        steps=STEPS,
        margin_steps=MARGIN_STEPS,
        bisections=BISECTIONS,
    )
    crossed = []

    def plain() -> None:
        F.cross_entropy(model(inputs), labels).backward()

    def step() -> None:
        objective(model, inputs, labels, index).loss.backward()

    def margins() -> None:
        crossed.append(
            objective.update_margins(model, inputs, labels, index).double().mean().item()
        )

    def one_round() -> None:
        for name, work in {"plain": plain, "step": step, "margins": margins}.items():
            store.margins.fill_(float(half))
            model.zero_grad()
            model.reset()
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
            passes[name] = (model.forwards / len(labels), model.gradients / len(labels))

    seconds: dict[str, list[float]] = defaultdict(list)
    passes: dict[str, tuple[float, float]] = {}
    one_round()  # the first prepares memory and kernels
    seconds.clear()
    for _ in range(rounds):
        one_round()
    rows = []
    for name in ("plain", "step", "margins"):
        ratios = [time / unit for time, unit in zip(seconds[name], seconds["plain"], strict=True)]
        forwards, gradients = passes[name]
        rows.append(
            {
                "norm": norm,
                "batch": len(labels),
                "eps": float(half),
                "crossed": crossed[-1],
                "what": name,
                "cost": {"median": median(ratios), "min": min(ratios), "max": max(ratios)},
                "milliseconds": 1000 * median(seconds[name]),
                "forwards": forwards,
                "gradients": gradients,
            }
        )
    return rows


def cost_table(rows: list[dict[str, Any]]) -> str:
    """A line for each norm, batch and piece of work."""
    names = {
        "plain": "forward and backward",
        "step": "step of Algorithm 1",
        "margins": "pass of Algorithm 2",
    }
    lines = [
        "| norm | batch | crossed | work | CPU time / plain | at most | ms | forwards | gradients |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cost, target = row["cost"], TARGETS.get(row["what"])
        limit = "" if target is None else f"{target}, {verdict(cost['median'], target)}"
        lines.append(
            f"| {row['norm']} | {row['batch']} | {row['crossed']:.2f} | {names[row['what']]} "
            f"| {cost['median']:.1f} ({cost['min']:.1f} to {cost['max']:.1f}) | {limit} "
            f"| {row['milliseconds']:.0f} | {row['forwards']:.1f} | {row['gradients']:.1f} |"
        )
    return "\n".join(lines)


def verdict(value: float, target: float) -> str:
    """Whether it is reached."""
    return "holds" if value <= target else "**missed**"


if __name__ == "__main__":
    main()
