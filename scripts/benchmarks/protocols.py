"""What each protocol finds and costs, beside plain PGD, foolbox, ART and AutoAttack.

    OMP_NUM_THREADS=1 python scripts/benchmarks/protocols.py ecg --samples 200 --dataset_dir FOLDER
    python scripts/benchmarks/protocols.py

The first command evaluates the networks that ``monai-ima reproduce`` has trained with plain
cross-entropy, standard adversarial training and IMA on one data set, in both norms, and keeps one JSON
file a data set; what is there already is not made again. Both print the tables of all files. Needs the
packages of ``monai-ima[test]``, and torchattacks without those that it asks for, which are older than
everybody else's: ``pip install --no-deps torchattacks==3.5.1``.

Only samples that a network gets right are attacked, by everybody. Protocols make the bundle's whole
curve; the others are run at three of its levels, whose shares of robust samples are nearest to three
quarters, a half and a quarter (each level once), and their cost is scaled to the whole curve, each level of which costs
them the same. AutoAttack's standard set attacks what ``strong`` leaves robust, by pyautoattack and, but
for Square, whose queries are the same, by torchattacks.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import foolbox
import torch
from art.attacks.evasion import ProjectedGradientDescentPyTorch
from art.estimators.classification import PyTorchClassifier
from monai.bundle import ConfigParser
from monai.utils import set_determinism
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from monai_ima import __version__
from monai_ima.attacks import get_norm, misclassified
from monai_ima.attacks.draws import SampleDraws
from monai_ima.losses import cross_entropy, hard_margin
from monai_ima.report import markdown_table
from monai_ima.robustness import (
    CountingModel,
    MinimumNorm,
    Paper,
    Protocol,
    Screen,
    Strong,
    closest_errors,
)

try:
    import torchattacks
except ImportError:  # the tables are printed without it
    torchattacks = None

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "benchmarks"
SEED, STEPS, RESTARTS, BATCH = 0, 100, 2, 128
SHARES = (0.75, 0.5, 0.25)  # of the samples, robust at the levels that are looked at
PROTOCOLS: tuple[Protocol, ...] = (Screen(), MinimumNorm(), Paper(), Strong())
# Name of the runs that monai-ima reproduce has made, their methods, and levels in L2 (those in Linf are
# the bundle's).
DATA: dict[str, tuple[str, tuple[str, ...]]] = {
    "ecg": ("random", ("ce", "adv0.1", "ima")),
    "oct": ("synthetic", ("ce", "adv0.01", "ima")),
    "fashion_mnist": ("bench", ("ce", "adv0.1", "ima")),
}


def main() -> None:
    """Measure what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", choices=DATA)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--dataset_dir", help="of the bundle; by default its synthetic data")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "reproduce")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.data:
        measure(arguments.data, arguments.samples, arguments.dataset_dir, arguments.runs)
    cases = [case for report in reports() for case in report["cases"]]
    print(found_table(cases), cost_table(cases), sep="\n\n")


def reports() -> list[dict[str, Any]]:
    """The files that are there, in the order of ``DATA``."""
    paths = [RESULTS / f"protocols_{data}.json" for data in DATA]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def measure(data: str, samples: int, dataset_dir: str | None, runs: Path) -> None:
    """All networks and norms of one data set, each kept as soon as it is there."""
    size, methods = DATA[data]
    path = RESULTS / f"protocols_{data}.json"
    report = settings(data, samples) | {"cases": []}
    if path.exists():
        before = json.loads(path.read_text())
        report["cases"] = before["cases"] if before == report | {"cases": before["cases"]} else []
    done = {(case["method"], case["norm"]) for case in report["cases"]}
    for method in methods:
        model, inputs, labels, levels = prepared(
            data, runs / data / f"{size}_linf_{method}_seed0", samples, dataset_dir
        )
        for norm in levels:
            if (method, norm) not in done:
                case = compared(CountingModel(model).eval(), inputs, labels, levels[norm], norm)
                report["cases"].append({"data": data, "method": method, "norm": norm, **case})
                path.write_text(json.dumps(report, indent=1) + "\n")
                print(data, method, norm, "is done", flush=True)


def settings(data: str, samples: int) -> dict[str, Any]:
    """What the figures depend on."""
    packages = (
        "torch",
        "foolbox",
        "adversarial-robustness-toolbox",
        "pyautoattack",
        "torchattacks",
    )
    return {
        "version": __version__,
        "versions": {name: version(name) for name in packages},
        "protocols": {protocol.name: protocol.version for protocol in PROTOCOLS},
        "data": data,
        "samples": samples,
        "steps": STEPS,
        "restarts": RESTARTS,
        "batch": BATCH,
        "seed": SEED,
        "threads": 1,
        "processor": platform.machine(),
        "device": "cpu",
    }


def prepared(
    data: str, run: Path, samples: int, dataset_dir: str | None
) -> tuple[nn.Module, Tensor, Tensor, dict[str, list[float]]]:
    """A trained network, test samples that it gets right, and the levels of each norm."""
    weights = run / "training" / "model.pt"
    if not weights.exists():
        raise SystemExit(f"no {weights}; train it with monai-ima reproduce {data}")
    parser = ConfigParser()
    bundle = ROOT / "bundles" / f"{data}_ima"
    parser.read_config([str(bundle / "train.json"), str(bundle / "evaluate.json")])
    for key, value in {"dataset_dir": dataset_dir, "seed": SEED}.items():
        if value is not None:
            parser[key] = value
    parser["imports"] = ["$import monai_ima", "$import torch"]
    network: nn.Module = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(weights, weights_only=True))
    batches = list(parser.get_parsed_content("dataloader"))
    inputs, labels = (
        torch.cat([torch.as_tensor(batch[key]) for batch in batches]) for key in ("image", "label")
    )
    correct = (~misclassified(network, inputs, labels)).nonzero()[:, 0]
    order = torch.randperm(len(correct), generator=torch.Generator().manual_seed(SEED))
    chosen = correct[order[:samples]]
    levels = parser.get_parsed_content("evaluation_levels")
    return network.eval(), inputs[chosen], labels[chosen], levels


# Who is robust


def plain(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    eps: float,
    norm: str,
    loss: Callable[[Tensor, Tensor], Tensor],
    index: Tensor | None = None,
    seed: int = SEED,
) -> Tensor:
    """PGD as a textbook has it, twice: every sample takes every step, and every iterate counts.

    The seed and the samples' numbers ``index`` decide the random starts, as they do for ``paper``.
    """
    geometry = get_norm(norm)
    broken = []
    index = torch.arange(len(labels)) if index is None else index
    for rows in torch.arange(len(labels)).split(BATCH):
        clean, targets, names = inputs[rows], labels[rows], index[rows]
        radius = torch.full((len(clean),), eps)
        wrong = torch.zeros(len(clean), dtype=torch.bool)
        for restart in range(RESTARTS):
            draws = SampleDraws(seed, names, restart)
            iterate = (clean + geometry.uniform(clean, radius, draws)).clamp(0, 1)
            for _ in range(STEPS):
                leaf = iterate.detach().requires_grad_()
                logits = model(leaf)
                wrong |= logits.argmax(dim=1) != targets
                (gradient,) = torch.autograd.grad(loss(logits, targets).sum(), leaf)
                climbed = iterate + eps / 10 * geometry.direction(gradient)
                iterate = (clean + geometry.project(climbed - clean, radius)).clamp(0, 1)
            wrong |= misclassified(model, iterate, targets)
        broken.append(wrong)
    return ~torch.cat(broken)


def by_foolbox(model: nn.Module, inputs: Tensor, labels: Tensor, eps: float, norm: str) -> Tensor:
    """PGD of foolbox, repeated."""
    kind = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm]
    attack = kind(rel_stepsize=0.1, steps=STEPS, random_start=True).repeat(RESTARTS)
    network = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    batches = zip(inputs.split(BATCH), labels.split(BATCH), strict=True)
    return torch.cat([~attack(network, *batch, epsilons=eps)[2] for batch in batches])


def by_art(model: nn.Module, inputs: Tensor, labels: Tensor, eps: float, norm: str) -> Tensor:
    """PGD of ART."""
    classifier = PyTorchClassifier(
        model,
        loss=nn.CrossEntropyLoss(),
        input_shape=inputs.shape[1:],
        nb_classes=int(model(inputs[:1]).shape[1]),
        clip_values=(0, 1),
        device_type="cpu",
    )
    attack = ProjectedGradientDescentPyTorch(
        classifier,
        norm={"linf": "inf", "l2": 2}[norm],
        eps=eps,
        eps_step=eps / 10,
        max_iter=STEPS,
        num_random_init=RESTARTS,
        batch_size=BATCH,
        verbose=False,
    )
    found = torch.from_numpy(attack.generate(inputs.numpy(), labels.numpy()))
    return ~misclassified(model, found, labels)


class AsImages(nn.Module):
    """A network of signals ``(N, C, L)`` as one of images ``(N, C, 1, L)``, all that AutoAttack takes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images.squeeze(2))
        return logits


def by_autoattack(
    model: nn.Module, inputs: Tensor, labels: Tensor, eps: float, norm: str
) -> Tensor:
    """AutoAttack's standard set, each attack on what those before have left."""
    set_determinism(SEED)
    if inputs.ndim == 3:
        model, inputs = AsImages(model), inputs[:, :, None]
    others = int(model(inputs[:1]).shape[1]) - 1
    common: dict[str, Any] = {"norm": {"linf": "Linf", "l2": "L2"}[norm], "device": "cpu"}
    fab = FABAttack_PT(model, targeted=True, n_iter=STEPS, eps=eps, **common)
    fab.n_target_classes = others
    attacks: list[Any] = [
        APGDAttack(model, loss="ce", n_iter=STEPS, eps=eps, **common),
        APGDAttack_targeted(model, n_target_classes=others, n_iter=STEPS, eps=eps, **common),
        fab,
    ]
    if norm == "linf" or inputs.shape[2] > 1:  # its Square in L2 needs two dimensions
        attacks.append(SquareAttack(model, n_queries=5000, eps=eps, **common))
    perturbing = [attack.perturb for attack in attacks]
    return _left_robust(perturbing, model, inputs, labels, eps, norm)


def by_torchattacks(
    model: nn.Module, inputs: Tensor, labels: Tensor, eps: float, norm: str
) -> Tensor:
    """The attacks with gradients of torchattacks' AutoAttack, each on what those before have left."""
    set_determinism(SEED)
    if inputs.ndim == 3:
        model, inputs = AsImages(model).eval(), inputs[:, :, None]
    classes = int(model(inputs[:1]).shape[1])
    common: dict[str, Any] = {
        "norm": {"linf": "Linf", "l2": "L2"}[norm],
        "eps": eps,
        "steps": STEPS,
        "seed": SEED,
    }
    attacks = (
        torchattacks.APGD(model, **common),
        torchattacks.APGDT(model, n_classes=classes, **common),
        torchattacks.FAB(model, multi_targeted=True, n_classes=classes, **common),
    )
    return _left_robust(attacks, model, inputs, labels, eps, norm)


def _left_robust(
    attacks: Iterable[Callable[[Tensor, Tensor], Tensor]],
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    eps: float,
    norm: str,
) -> Tensor:
    """What no attack breaks within the ball, of which each attacks what those before have left."""
    robust = torch.ones_like(labels, dtype=torch.bool)
    for attack in attacks:
        left = robust.nonzero()[:, 0]
        if len(left):
            points = attack(inputs[left].clone(), labels[left].clone())
            inside = get_norm(norm).length(points - inputs[left]) <= eps * (1 + 1e-4)
            robust[left] = ~(misclassified(model, points, labels[left]) & inside)
    return robust


# Measuring


def compared(
    model: CountingModel, inputs: Tensor, labels: Tensor, eps: list[float], norm: str
) -> dict[str, Any]:
    """What everybody finds, and what it costs a sample."""
    levels = torch.tensor([level for level in eps if level > 0], dtype=torch.float64)
    robust: dict[str, Tensor] = {}
    cost: dict[str, dict[str, float]] = {}
    for protocol in PROTOCOLS:
        errors, cost[protocol.name] = timed(
            model,
            partial(
                closest_errors, eps=eps, norm=norm, protocol=protocol, seed=SEED, batch_size=BATCH
            ),
            inputs,
            labels,
        )
        robust[protocol.name] = errors.margins[:, None] > levels
    shares = robust["minimum_norm"].double().mean(dim=0)
    chosen = nearest(shares, SHARES)
    rows = []
    for column in chosen:
        level = float(levels[column])
        ours = {name: mask[:, column] for name, mask in robust.items()}
        rows.append({"eps": level, **at_level(model, inputs, labels, level, norm, ours)})
    for name, attack in (
        ("plain", partial(plain, loss=cross_entropy)),
        ("foolbox", by_foolbox),
        ("ART", by_art),
    ):
        level = float(levels[chosen[len(chosen) // 2]])
        _, one = timed(model, partial(attack, eps=level, norm=norm), inputs, labels)
        cost[name] = {kind: value * len(levels) for kind, value in one.items()}
    return {
        "n": len(labels),
        "classes": int(model(inputs[:1]).shape[1]),
        "eps": levels.tolist(),
        "robust": {name: mask.sum(dim=0).tolist() for name, mask in robust.items()},
        "levels": rows,
        "cost": cost,
    }


def nearest(values: Tensor, wanted: Iterable[float]) -> list[int]:
    """Where ``values`` are nearest to each wanted one; another place for each."""
    distances, chosen = values.clone(), []
    for one in wanted:
        chosen.append(int((distances - one).abs().argmin()))
        distances[chosen[-1]] = torch.inf
    return sorted(chosen)


def timed(
    model: CountingModel, attack: Callable[..., Any], inputs: Tensor, labels: Tensor
) -> tuple[Any, dict[str, float]]:
    """What an attack gives, with its CPU seconds and passes a sample."""
    set_determinism(SEED)
    model.reset()
    start = time.process_time()
    found = attack(model, inputs, labels)
    n = len(labels)
    return found, {
        "seconds": (time.process_time() - start) / n,
        "forwards": model.forwards / n,
        "gradients": model.gradients / n,
    }


def at_level(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    eps: float,
    norm: str,
    ours: dict[str, Tensor],
) -> dict[str, Any]:
    """How many samples a protocol calls robust that somebody else breaks at one level.

    Of plain PGD on cross-entropy and on the logit margin, whichever breaks more; from the random
    starts that ``paper`` takes, and from others.
    """
    left = (ours["paper"] | ours["minimum_norm"]).nonzero()[:, 0]
    broken: dict[int, list[Tensor]] = {}
    for seed in (SEED, SEED + 1):
        for loss in (cross_entropy, hard_margin):
            by_plain = torch.zeros_like(labels, dtype=torch.bool)
            if len(left):
                by_plain[left] = ~plain(
                    model, inputs[left], labels[left], eps, norm, loss, index=left, seed=seed
                )
            broken.setdefault(seed, []).append(by_plain)

    def missed(name: str, *seeds: int) -> int:
        return max(int((ours[name] & found).sum()) for seed in seeds for found in broken[seed])

    rows = ours["strong"].nonzero()[:, 0]

    def beyond_strong(attack: Callable[..., Tensor]) -> int:
        return (
            int((~attack(model, inputs[rows], labels[rows], eps, norm)).sum()) if len(rows) else 0
        )

    return {
        "robust": {name: int(mask.sum()) for name, mask in ours.items()},
        "missed": {
            "paper, by plain": missed("paper", SEED),
            "paper, by plain from other starts": missed("paper", SEED + 1),
            "minimum_norm, by plain": missed("minimum_norm", SEED, SEED + 1),
            "strong, by AutoAttack": beyond_strong(by_autoattack),
            "strong, by torchattacks": beyond_strong(by_torchattacks),
        },
    }


# Printing


def found_table(cases: list[dict[str, Any]]) -> str:
    """A line for each network, norm and level: shares of robust samples, and what was missed."""
    names = [protocol.name for protocol in PROTOCOLS]
    missed = list(cases[0]["levels"][0]["missed"])
    lines = [["data", "trained by", "norm", "eps", "n", *names, *missed]]
    for case in cases:
        for row in case["levels"]:
            shares = [f"{row['robust'][name] / case['n']:.3f}" for name in names]
            counts = [str(row["missed"][name]) for name in missed]
            start = [case["data"], case["method"], case["norm"], f"{row['eps']:g}", str(case["n"])]
            lines.append([*start, *shares, *counts])
    return markdown_table(lines)


def cost_table(cases: list[dict[str, Any]]) -> str:
    """A line for each network and norm: gradients and time of a curve over those of plain PGD."""
    names = [name for name in cases[0]["cost"] if name != "plain"]
    columns = [f"{name}: {kind}" for name in names for kind in ("gradients", "time")]
    lines = [["data", "trained by", "norm", "levels", "gradients of plain", *columns]]
    for case in cases:
        cost, one = case["cost"], case["cost"]["plain"]
        ratios = [
            f"{cost[name][kind] / one[kind]:.2f}"
            for name in names
            for kind in ("gradients", "seconds")
        ]
        start = [case["data"], case["method"], case["norm"], str(len(case["eps"]))]
        lines.append([*start, f"{one['gradients']:.0f}", *ratios])
    return markdown_table(lines)


if __name__ == "__main__":
    main()
