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
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import peers
import torch
from measuring import RESULTS, ROOT, SEED, configured, machine, measured, samples
from monai.utils import set_determinism
from torch import Tensor, nn

from monai_ima import __version__
from monai_ima.attacks import misclassified
from monai_ima.losses import cross_entropy, hard_margin
from monai_ima.report import markdown_table
from monai_ima.robustness import CountingModel, closest_errors, get_protocol

STEPS, RESTARTS = 100, 2
SHARES = (0.75, 0.5, 0.25)  # of the samples, robust at the levels that are looked at
PROTOCOLS = [get_protocol(name) for name in ("screen", "minimum_norm", "paper", "strong")]
# Name of the runs that monai-ima reproduce has made, and their methods.
DATA = {
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
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.data:
        measure(arguments.data, arguments.samples, arguments.dataset_dir)
    cases = [case for report in reports() for case in report["cases"]]
    print(found_table(cases), cost_table(cases), sep="\n\n")


def reports() -> list[dict[str, Any]]:
    """The files that are there, in the order of ``DATA``."""
    paths = [RESULTS / f"protocols_{data}.json" for data in DATA]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def measure(data: str, count: int, dataset_dir: str | None) -> None:
    """All networks and norms of one data set, each kept as soon as it is there."""
    path = RESULTS / f"protocols_{data}.json"
    report = {
        "version": __version__,
        "protocols": {protocol.name: protocol.version for protocol in PROTOCOLS},
        "data": data,
        "samples": count,
        "steps": STEPS,
        "restarts": RESTARTS,
        "batch": peers.BATCH,
        "seed": SEED,
        "device": "cpu",
        "cases": [],
        **machine(
            "torch", "foolbox", "adversarial-robustness-toolbox", "pyautoattack", "torchattacks"
        ),
    }
    if path.exists():
        before = json.loads(path.read_text())
        report = before if before | {"cases": []} == report else report
    cases: list[dict[str, Any]] = report["cases"]
    for method in DATA[data][1]:
        model, inputs, labels, levels = prepared(data, method, count, dataset_dir)
        for norm, eps in levels.items():
            identity = {"data": data, "method": method, "norm": norm}
            if not any(case.items() >= identity.items() for case in cases):
                cases.append(identity | compared(model, inputs, labels, eps, norm))
                path.write_text(json.dumps(report, indent=1) + "\n")
                print(data, method, norm, "is done", flush=True)


def prepared(
    data: str, method: str, count: int, dataset_dir: str | None
) -> tuple[CountingModel, Tensor, Tensor, dict[str, list[float]]]:
    """A trained network, test samples that it gets right, and the levels of each norm."""
    run = ROOT / "runs" / "reproduce" / data / f"{DATA[data][0]}_linf_{method}_seed0"
    weights = run / "training" / "model.pt"
    if not weights.exists():
        raise SystemExit(f"no {weights}; train it with monai-ima reproduce {data}")
    parser = configured(data, seed=SEED, **({"dataset_dir": dataset_dir} if dataset_dir else {}))
    network: nn.Module = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(weights, weights_only=True))
    inputs, labels = samples(parser)
    correct = (~misclassified(network, inputs, labels)).nonzero()[:, 0]
    order = torch.randperm(len(correct), generator=torch.Generator().manual_seed(SEED))
    chosen = correct[order[:count]]
    levels = parser.get_parsed_content("evaluation_levels")
    return CountingModel(network).eval(), inputs[chosen], labels[chosen], levels


def compared(
    model: CountingModel, inputs: Tensor, labels: Tensor, eps: list[float], norm: str
) -> dict[str, Any]:
    """What everybody finds, and what it costs a sample."""
    n = len(labels)
    levels = torch.tensor([level for level in eps if level > 0], dtype=torch.float64)
    robust: dict[str, Tensor] = {}
    cost: dict[str, dict[str, float]] = {}

    def timed(name: str, attack: Callable[..., Any], curves: int = 1) -> Any:
        set_determinism(SEED)
        seconds, *passes, found = measured(partial(attack, model, inputs, labels), model, n)
        kinds = zip(("seconds", "forwards", "gradients"), (seconds / n, *passes), strict=True)
        cost[name] = {kind: value * curves for kind, value in kinds}
        return found

    for protocol in PROTOCOLS:
        curve = partial(
            closest_errors, eps=eps, norm=norm, protocol=protocol, seed=SEED, batch_size=peers.BATCH
        )
        robust[protocol.name] = timed(protocol.name, curve).margins[:, None] > levels
    chosen = nearest(robust["minimum_norm"].double().mean(dim=0), SHARES)
    cases = [peers.Case(norm, float(levels[column]), STEPS, RESTARTS) for column in chosen]
    rows = []
    for case, column in zip(cases, chosen, strict=True):
        ours = {name: mask[:, column] for name, mask in robust.items()}
        rows.append({"eps": case.eps, **at_level(model, inputs, labels, case, ours)})
    plain = partial(peers.by_plain, loss=cross_entropy)
    for name, attack in (("plain", plain), ("foolbox", peers.by_foolbox), ("ART", peers.by_art)):
        timed(name, partial(attack, case=cases[len(cases) // 2]), len(levels))
    return {
        "n": n,
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


def at_level(
    model: nn.Module, inputs: Tensor, labels: Tensor, case: peers.Case, ours: dict[str, Tensor]
) -> dict[str, Any]:
    """How many samples a protocol calls robust that somebody else breaks at one level.

    Of plain PGD on cross-entropy and on the logit margin, whichever breaks more; from the random
    starts that ``paper`` takes, and from others.
    """

    def broken(rows: Tensor, attack: Callable[..., Tensor], **options: Any) -> Tensor:
        found = torch.zeros_like(labels, dtype=torch.bool)
        if len(rows):
            found[rows] = ~attack(model, inputs[rows], labels[rows], case, **options)
        return found

    left = (ours["paper"] | ours["minimum_norm"]).nonzero()[:, 0]
    by_seed = {
        seed: [
            broken(left, peers.by_plain, loss=loss, index=left, seed=seed)
            for loss in (cross_entropy, hard_margin)
        ]
        for seed in (SEED, SEED + 1)
    }

    def missed(name: str, *seeds: int) -> int:
        return max(int((ours[name] & found).sum()) for seed in seeds for found in by_seed[seed])

    strong = ours["strong"].nonzero()[:, 0]
    return {
        "robust": {name: int(mask.sum()) for name, mask in ours.items()},
        "missed": {
            "paper, by plain": missed("paper", SEED),
            "paper, by plain from other starts": missed("paper", SEED + 1),
            "minimum_norm, by plain": missed("minimum_norm", SEED, SEED + 1),
            "strong, by AutoAttack": int(broken(strong, peers.by_autoattack).sum()),
            "strong, by torchattacks": int(broken(strong, peers.by_torchattacks).sum()),
        },
    }


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
