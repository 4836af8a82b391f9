"""What a whole robustness curve costs and finds, against peers.

    OMP_NUM_THREADS=1 python scripts/benchmarks/evaluation_peers.py

Needs the packages of ``monai-ima[test]``. A confident network (cross-entropy) and a robust one (IMA)
are trained on synthetic OCT images; for each of them and each norm, levels are chosen at which
accuracy falls evenly from 0.92 to 0.02. Then, round by round, each with images of its own, every
evaluation tells which sample is robust at which level, and its CPU time and passes are counted: the
protocols of this package, the plain protocol, foolbox and ART. All of it goes to a JSON file and is
printed as Markdown tables.

The floor of an evaluation is the gradients that PGD from both starts, level by level, spends on the
pairs of a sample and a level that are robust for it: none of its steps can be left out there. Minimum-
norm attacks, which serve all levels at once, may stay below it. An evaluation that finds more errors
than ``plain`` has a lower floor of its own.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import foolbox
import torch
from art.attacks.evasion import ProjectedGradientDescentPyTorch
from art.estimators.classification import PyTorchClassifier
from attack_speed import images, spread, train
from monai.utils import set_determinism
from torch import Tensor, nn

from monai_ima import __version__
from monai_ima.attacks import get_norm, misclassified
from monai_ima.attacks.base import attacking
from monai_ima.losses import hard_margin, soft_margin
from monai_ima.margins import MarginStore
from monai_ima.networks import small_cnn
from monai_ima.objectives import IMA
from monai_ima.robustness import CountingModel, Paper, Protocol, Screen, closest_errors
from monai_ima.robustness.seeds import seeded

ROOT = Path(__file__).resolve().parents[2]
SEED = 0
THREADS = 1
IMAGE_SIZE = (32, 32)
STEPS = 100
BATCH = 128  # of everybody
LOSSES = (soft_margin, hard_margin)  # one a restart
RESTARTS = len(LOSSES)
RELATIVE_STEP = 0.1  # a step is eps / 10, for everybody
STANDING = torch.linspace(0.92, 0.02, 7, dtype=torch.float64)  # share of samples at each level
TRAINING: dict[str, dict[str, Any]] = {
    "ce": {"epochs": 40},
    "ima": {"epochs": 16, "eps_max": 0.02, "beta": 0.5, "margin_interval": 2},
}
ATTACKS = ("paper", "shortcut", "screen", "plain", "foolbox", "ART", "foolbox again")
PEERS = ("plain", "foolbox", "ART")
TARGETS = {
    "gradients / floor of plain": 1.1,
    "gradients / own floor": 1.1,
    "time / plain": 0.6,
    "time / faster peer": 0.45,
    "time of screen / paper": 0.2,
}

# Inputs, labels, levels and norm to (N, L) bool: who is robust at which level.
Evaluation: TypeAlias = Callable[[Tensor, Tensor, list[float], str], Tensor]


def main() -> None:
    """Prepare, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--samples", type=int, default=256, help="in each round")
    parser.add_argument("--cache", type=Path, help="folder that keeps the trained networks")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "results" / "benchmarks" / "evaluation_peers.json"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    samples = arguments.rounds * arguments.samples
    training, test = images(IMAGE_SIZE, patients_per_class=samples * 3 // 5 + 5)
    cases = []
    for name in TRAINING:
        model = CountingModel(trained(name, *training, arguments.cache)).eval()
        inputs, labels = correct(model, *test, samples)
        for norm in ("linf", "l2"):
            eps = falling_levels(model, inputs, labels, norm)
            figures = compare(model, inputs, labels, eps, norm, arguments.rounds)
            cases.append({"model": name, "norm": norm, "eps": eps, **figures})
            print(name, norm, "is done", flush=True)
    report = {
        "version": __version__,
        "protocols": {protocol.name: protocol.version for protocol in (Paper, Screen)},
        "settings": settings(arguments.rounds, arguments.samples, len(training[1])),
        "cases": cases,
        "cpu_seconds": round(time.process_time()),
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    print(robust_table(cases), cost_table(cases), target_table(cases), sep="\n\n")
    print(f"\n{evaluated(report)}")


def settings(rounds: int, samples: int, training_samples: int) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "rounds": rounds,
        "samples_per_round": samples,
        "threads": torch.get_num_threads(),
        "input_shape": [1, *IMAGE_SIZE],
        "network": "small_cnn",
        "training_samples": training_samples,
        "training": TRAINING,
        "batch": BATCH,
        "steps": STEPS,
        "restarts": RESTARTS,
        "step_size": f"{RELATIVE_STEP} eps",
        "seed": SEED,
        "processor": platform.machine(),
        "versions": {
            name: version(name) for name in ("torch", "foolbox", "adversarial-robustness-toolbox")
        },
    }


# The networks and the levels


def trained(name: str, inputs: Tensor, labels: Tensor, cache: Path | None) -> nn.Module:
    """The network of that name, from the cache if it is there and was trained in the same way."""
    recipe = {**TRAINING[name], "image_size": list(IMAGE_SIZE), "samples": len(labels)}
    path = cache / f"evaluation_peers_{name}.pt" if cache else None
    if path and path.exists():
        saved = torch.load(path, weights_only=True)
        if saved["recipe"] == recipe:
            network = small_cnn()
            network.load_state_dict(saved["weights"])
            return network
    set_determinism(SEED)
    network = {"ce": train, "ima": train_ima}[name](inputs, labels, **TRAINING[name])
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"recipe": recipe, "weights": network.state_dict()}, path)
    return network


def train_ima(
    inputs: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    eps_max: float,
    beta: float,
    margin_interval: int,
    batch: int = 32,
    learning_rate: float = 4e-3,
) -> nn.Module:
    """A network trained with IMA against Linf noise."""
    network = small_cnn()
    margins = MarginStore(len(labels), delta=eps_max * margin_interval / epochs, eps_max=eps_max)
    objective = IMA(margins, norm="linf", beta=beta, steps=10, margin_steps=20)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    for epoch in range(1, epochs + 1):
        for index in torch.randperm(len(labels)).split(batch):
            optimizer.zero_grad()
            objective(network, inputs[index], labels[index], index).loss.backward()
            optimizer.step()
        if epoch % margin_interval == 0:
            for index in torch.arange(len(labels)).split(4 * batch):
                objective.update_margins(network, inputs[index], labels[index], index)
    return network


def correct(
    model: nn.Module, inputs: Tensor, labels: Tensor, samples: int
) -> tuple[Tensor, Tensor]:
    """That many test images which the network gets right: the others cost only its peers time."""
    places = (~misclassified(model, inputs, labels)).nonzero()[:samples, 0]
    if len(places) < samples:
        raise RuntimeError(f"expected {samples} correct test images, got {len(places)}")
    return inputs[places], labels[places]


def falling_levels(model: nn.Module, inputs: Tensor, labels: Tensor, norm: str) -> list[float]:
    """Levels at which the shares ``STANDING`` of the samples stand, as ``screen`` finds them."""
    margins = closest_errors(
        model, inputs, labels, eps=[0.001], norm=norm, protocol=Screen(STEPS), seed=SEED
    ).margins
    levels = margins.quantile(1 - STANDING).tolist()
    return [float(f"{level:.3g}") for level in levels]


# Who is robust: each is an Evaluation once its model, and protocol, are given


def ours(
    model: nn.Module,
    protocol: Protocol,
    inputs: Tensor,
    labels: Tensor,
    eps: list[float],
    norm: str,
) -> Tensor:
    """An evaluation of this package, as called by a user."""
    margins = closest_errors(
        model, inputs, labels, eps=eps, norm=norm, protocol=protocol, seed=SEED, batch_size=BATCH
    ).margins
    return margins[:, None] > torch.tensor(eps, dtype=margins.dtype)


def plain(model: nn.Module, inputs: Tensor, labels: Tensor, eps: list[float], norm: str) -> Tensor:
    """The paper's protocol as it stands, with our starts and frozen parameters.

    Every sample takes every step at every level, and what the last iterate of a restart is counts.
    """
    return torch.cat(
        [
            plain_batch(model, inputs[rows], labels[rows], rows, eps, norm)
            for rows in torch.arange(len(labels)).split(BATCH)
        ]
    )


def plain_batch(
    model: nn.Module, inputs: Tensor, labels: Tensor, index: Tensor, eps: list[float], norm: str
) -> Tensor:
    """The same of one batch, whose samples have the numbers ``index``."""
    geometry = get_norm(norm)
    standing = torch.ones(len(labels), len(eps), dtype=torch.bool)
    with attacking(model, inputs):
        for column, level in enumerate(eps):
            radius = torch.full((len(labels),), level)
            for restart, loss in enumerate(LOSSES):
                starts = [
                    geometry.uniform(inputs[:1], radius[:1], seeded(SEED, sample, restart))
                    for sample in index.tolist()
                ]
                iterate = (inputs + torch.cat(starts)).clamp(0, 1)
                for _ in range(STEPS):
                    leaf = iterate.detach().requires_grad_()
                    height = loss(model(leaf), labels).sum()
                    (gradient,) = torch.autograd.grad(height, leaf)
                    climbed = iterate + RELATIVE_STEP * level * geometry.direction(gradient)
                    iterate = (inputs + geometry.project(climbed - inputs, radius)).clamp(0, 1)
                standing[:, column] &= ~misclassified(model, iterate, labels)
    return standing


def foolbox_pgd(
    model: nn.Module, inputs: Tensor, labels: Tensor, eps: list[float], norm: str
) -> Tensor:
    """PGD of foolbox, repeated, with its own list of levels."""
    kind = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm]
    attack = kind(rel_stepsize=RELATIVE_STEP, steps=STEPS, random_start=True).repeat(RESTARTS)
    network = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    batches = zip(inputs.split(BATCH), labels.split(BATCH), strict=True)
    return torch.cat([~attack(network, *batch, epsilons=eps)[2].T for batch in batches])


def foolbox_again(*arguments: Any) -> Tensor:
    """The same with other random starts: what chance alone does."""
    torch.manual_seed(SEED + 1)
    return foolbox_pgd(*arguments)


def art_pgd(
    model: nn.Module, inputs: Tensor, labels: Tensor, eps: list[float], norm: str
) -> Tensor:
    """PGD of ART level by level, as its security curve takes it, but with a step for each."""
    classifier = PyTorchClassifier(
        model,
        loss=nn.CrossEntropyLoss(),
        input_shape=inputs.shape[1:],
        nb_classes=4,
        clip_values=(0, 1),
        device_type="cpu",
    )
    standing = []
    for level in eps:
        attack = ProjectedGradientDescentPyTorch(
            classifier,
            norm={"linf": "inf", "l2": 2}[norm],
            eps=level,
            eps_step=RELATIVE_STEP * level,
            max_iter=STEPS,
            num_random_init=RESTARTS,
            batch_size=BATCH,
            verbose=False,
        )
        found = torch.from_numpy(attack.generate(inputs.numpy(), labels.numpy()))
        standing.append(~misclassified(model, found, labels))
    return torch.stack(standing, dim=1)


def evaluations(model: nn.Module) -> dict[str, Evaluation]:
    """All of them, of one model."""
    paper = Paper(STEPS, RESTARTS)
    shortcut = Paper(STEPS, RESTARTS, shortcut=True)
    ready = (
        partial(ours, model, paper),
        partial(ours, model, shortcut),
        partial(ours, model, Screen(STEPS)),
        partial(plain, model),
        partial(foolbox_pgd, model),
        partial(art_pgd, model),
        partial(foolbox_again, model),
    )
    return dict(zip(ATTACKS, ready, strict=True))


# Measuring


def compare(
    model: CountingModel, inputs: Tensor, labels: Tensor, eps: list[float], norm: str, rounds: int
) -> dict[str, Any]:
    """What every evaluation finds and costs; passes are per sample."""
    standing: dict[str, list[Tensor]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    passes = {name: torch.zeros(2) for name in ATTACKS}
    for part in torch.arange(len(labels)).chunk(rounds):
        for name, evaluation in evaluations(model).items():
            set_determinism(SEED)
            model.forwards = model.gradients = 0
            start = time.process_time()
            standing[name].append(evaluation(inputs[part], labels[part], eps, norm))
            seconds[name].append(round(time.process_time() - start, 3))
            passes[name] += torch.tensor([model.forwards, model.gradients]) / len(labels)
    robust = {name: torch.cat(parts) for name, parts in standing.items()}
    return {
        "n": len(labels),
        "accuracy": {name: robust[name].double().mean(dim=0).tolist() for name in ATTACKS},
        "robust_for_paper_alone": {
            name: (robust["paper"] & ~robust[name]).sum(dim=0).tolist() for name in PEERS
        },
        "robust_by_chance": (robust["foolbox"] & ~robust["foolbox again"]).sum(dim=0).tolist(),
        "shortcut_differs": (robust["paper"] != robust["shortcut"]).sum(dim=0).tolist(),
        "seconds": dict(seconds),
        "forwards": {name: passes[name][0].item() for name in ATTACKS},
        "gradients": {name: passes[name][1].item() for name in ATTACKS},
    }


def ratios(case: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Those that have a target: median and range over the rounds."""
    seconds, gradients = case["seconds"], case["gradients"]["paper"]
    faster = [min(pair) for pair in zip(seconds["foolbox"], seconds["ART"], strict=True)]
    values = (
        summary([gradients], [floor(case, "plain")]),
        summary([gradients], [floor(case, "paper")]),
        summary(seconds["paper"], seconds["plain"]),
        summary(seconds["paper"], faster),
        summary(seconds["screen"], seconds["paper"]),
    )
    return dict(zip(TARGETS, values, strict=True))


def floor(case: dict[str, Any], name: str) -> float:
    """Gradients per sample that the pairs need which are robust for this evaluation."""
    return STEPS * RESTARTS * sum(case["accuracy"][name])


def summary(values: list[float], others: list[float]) -> dict[str, float]:
    """Median and range of the quotients."""
    quotients = [value / other for value, other in zip(values, others, strict=True)]
    return {"median": median(quotients), "min": min(quotients), "max": max(quotients)}


# Printing


def evaluated(report: dict[str, Any]) -> str:
    """Which versions of the protocols were compared, in a sentence."""
    versions = (
        f"`{name}`, version {version or 'unknown'}" for name, version in report["protocols"].items()
    )
    return f"Evaluated by {'; '.join(versions)} (monai_ima {report['version']})."


def robust_table(cases: list[dict[str, Any]]) -> str:
    """A line for each model, norm and level."""
    lines = [
        f"| model | norm | eps | {' | '.join(ATTACKS)} | for paper alone | by chance |",
        "|---" * (len(ATTACKS) + 5) + "|",
    ]
    for case in cases:
        alone = case["robust_for_paper_alone"]
        lines += [
            f"| {case['model']} | {case['norm']} | {level:.3g} | "
            + " | ".join(f"{case['accuracy'][name][column]:.3f}" for name in ATTACKS)
            + f" | {', '.join(str(alone[name][column]) for name in PEERS)} "
            f"| {case['robust_by_chance'][column]} |"
            for column, level in enumerate(case["eps"])
        ]
    return "\n".join(lines)


def cost_table(cases: list[dict[str, Any]]) -> str:
    """A line for each model, norm and evaluation."""
    columns = "evaluation | CPU time / plain | forwards | gradients | gradients / floor of plain"
    lines = [f"| model | norm | {columns} |", "|---|---|---|---|---|---|---|"]
    for case in cases:
        lines += [
            f"| {case['model']} | {case['norm']} | {name} "
            f"| {spread(summary(case['seconds'][name], case['seconds']['plain']))} "
            f"| {case['forwards'][name]:.0f} | {case['gradients'][name]:.0f} "
            f"| {case['gradients'][name] / floor(case, 'plain'):.2f} |"
            for name in ATTACKS
        ]
    return "\n".join(lines)


def target_table(cases: list[dict[str, Any]]) -> str:
    """A line for each model and norm, a column for each target."""
    lines = [
        "| model | norm | "
        + " | ".join(f"{name}, at most {target}" for name, target in TARGETS.items())
        + " |",
        "|---" * (len(TARGETS) + 2) + "|",
    ]
    for case in cases:
        cells = [
            f"{spread(ratio)}, {'holds' if ratio['median'] <= TARGETS[name] else '**missed**'}"
            for name, ratio in ratios(case).items()
        ]
        lines.append(f"| {case['model']} | {case['norm']} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
