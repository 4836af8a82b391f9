"""By how much the strong protocol lowers the paper's curve, and how it stands beside AutoAttack's parts.

    OMP_NUM_THREADS=1 python scripts/benchmarks/strong_peers.py

Needs the packages of ``monai-ima[test]``. The networks are those of ``evaluation_peers.py``. At some
of the levels at which their accuracy falls, the same images meet the protocols ``paper`` and
``strong`` and the APGD parts of AutoAttack as pyautoattack has them: APGD on cross-entropy, then
targeted APGD-DLR on what is left, of as many steps. What stands goes to a JSON file and is printed as
a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from attack_speed import images
from evaluation_peers import (
    IMAGE_SIZE,
    ROOT,
    SEED,
    STEPS,
    THREADS,
    TRAINING,
    correct,
    evaluated,
    falling_levels,
    ours,
    trained,
)
from monai.utils import set_determinism
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from torch import Tensor, nn

from monai_ima import __version__
from monai_ima.attacks import misclassified
from monai_ima.robustness import Paper, Strong

LEVELS = (1, 3, 5)  # of the seven over which accuracy falls from 0.92 to 0.02
CLASSES = 4
PATIENTS = 245  # of each class, as many as evaluation_peers.py has: the same networks


def main() -> None:
    """Prepare, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--cache", type=Path, help="folder that keeps the trained networks")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "results" / "benchmarks" / "strong_peers.json"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    training, test = images(IMAGE_SIZE, patients_per_class=PATIENTS)
    cases = []
    for name in TRAINING:
        model = trained(name, *training, arguments.cache).eval()
        inputs, labels = correct(model, *test, arguments.samples)
        for norm in ("linf", "l2"):
            levels = falling_levels(model, inputs, labels, norm)
            eps = [levels[place] for place in LEVELS]
            cases.append({"model": name, "norm": norm, **compare(model, inputs, labels, eps, norm)})
    report = {
        "version": __version__,
        "protocols": {protocol.name: protocol.version for protocol in (Paper, Strong)},
        "settings": {
            "samples": arguments.samples,
            "threads": THREADS,
            "input_shape": [1, *IMAGE_SIZE],
            "network": "small_cnn",
            "training": TRAINING,
            "steps": STEPS,
            "seed": SEED,
            "processor": platform.machine(),
            "versions": {name: version(name) for name in ("torch", "pyautoattack")},
        },
        "cases": cases,
        "cpu_seconds": round(time.process_time()),
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    print(strong_table(cases), evaluated(report), sep="\n\n")


def compare(
    model: nn.Module, inputs: Tensor, labels: Tensor, eps: list[float], norm: str
) -> dict[str, Any]:
    """Who stands at which level, for whom."""
    standing = {
        "paper": ours(model, Paper(STEPS), inputs, labels, eps, norm),
        "strong": ours(model, Strong(STEPS), inputs, labels, eps, norm),
        "pyautoattack": torch.stack(
            [autoattack_parts(model, inputs, labels, level, norm) for level in eps], dim=1
        ),
    }
    return {
        "eps": eps,
        "n": len(labels),
        "accuracy": {name: s.double().mean(dim=0).tolist() for name, s in standing.items()},
        "robust_for_strong_alone": (standing["strong"] & ~standing["pyautoattack"])
        .sum(dim=0)
        .tolist(),
    }


def autoattack_parts(
    model: nn.Module, inputs: Tensor, labels: Tensor, eps: float, norm: str
) -> Tensor:
    """``(N,)`` what both APGD parts leave standing, the second on survivors of the first."""
    set_determinism(SEED)
    settings = {"n_iter": STEPS, "eps": eps, "norm": {"linf": "Linf", "l2": "L2"}[norm]}
    standing = torch.ones_like(labels, dtype=torch.bool)
    for attack in (
        APGDAttack(model, loss="ce", device="cpu", **settings),
        APGDAttack_targeted(model, n_target_classes=CLASSES - 1, device="cpu", **settings),
    ):
        left = standing.nonzero()[:, 0]
        if len(left):
            found = attack.perturb(inputs[left].clone(), labels[left].clone())
            standing[left] = ~misclassified(model, found, labels[left])
    return standing


def strong_table(cases: list[dict[str, Any]]) -> str:
    """A line for each model, norm and level."""
    heading = [
        "model",
        "norm",
        "eps",
        "paper",
        "strong",
        "strong below paper, points",
        "pyautoattack",
        "stand for strong alone",
    ]
    lines = [heading, ["---"] * len(heading)]
    for case in cases:
        accuracy = case["accuracy"]
        for level, eps in enumerate(case["eps"]):
            paper, strong, peer = (
                accuracy[name][level] for name in ("paper", "strong", "pyautoattack")
            )
            numbers = [f"{paper:.3f}", f"{strong:.3f}", f"{100 * (paper - strong):.1f}"]
            alone = f"{case['robust_for_strong_alone'][level]} of {case['n']}"
            line = [case["model"], case["norm"], f"{eps:g}", *numbers, f"{peer:.3f}", alone]
            lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
