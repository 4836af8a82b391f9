"""Passes and times of every algorithm in tables, and times on a GPU.

    python scripts/benchmarks/overview.py

Passes are counted here, on a linear network, which takes a second. Times are those that the other
benchmarks have left in ``results/benchmarks``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import measuring
import torch
from torch import nn

from monai_ima.attacks import (
    apgd,
    apgd_targeted,
    bpgd,
    ddn,
    fmn,
    fmn_targeted,
    pgd,
    square,
)
from monai_ima.report import markdown_table
from monai_ima.robustness import CountingModel

SAMPLES, STEPS, TARGETS, BISECTIONS = 8, 20, 3, 10
NEAR, FAR = 2.0, 1e-6  # radii at which a first step crosses the boundary, and none does
PROTOCOLS = ("screen", "minimum_norm", "paper", "strong")
PEERS = ("foolbox", "ART")


def main() -> None:
    """Print the tables."""
    print(passes_table(), times_table(), gpu_table(), sep="\n\n")


def passes_table() -> str:
    """A line for each attack of so many steps: passes needed, and spent, a sample."""
    lines = [
        (
            "attack",
            "needed where nothing is found",
            "spent where nothing is found",
            "spent where the first step finds an error",
        ),
        *counted(),
    ]
    return markdown_table(lines)


def counted() -> Iterator[tuple[str, ...]]:
    """Forwards and gradients a sample of each attack."""
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(10, 1 + TARGETS)).double()
    for parameter in network.parameters():
        nn.init.uniform_(parameter, -1, 1, generator=generator)
    inputs = 0.4 + 0.2 * torch.rand(SAMPLES, 10, generator=generator, dtype=torch.float64)
    labels = network(inputs).argmax(dim=1)
    model = CountingModel(network).eval()

    def spent(attack: Callable[..., Any], **settings: Any) -> str:
        model.reset()
        attack(model, inputs, labels, **settings)
        return f"{model.forwards / SAMPLES:g}, {model.gradients / SAMPLES:g}"

    again = {"norm": "linf", "steps": STEPS}
    targeted = {**again, "targets": TARGETS}
    # a step is a forward and a gradient, and the last point is looked at
    once, to_each = f"{STEPS + 1}, {STEPS}", f"{TARGETS * (STEPS + 1)}, {TARGETS * STEPS}"
    within: list[tuple[str, str, Callable[..., Any], dict[str, Any]]] = [
        ("PGD", once, pgd, {**again, "random_start": False}),
        (f"B-PGD, {BISECTIONS} bisections", once, bpgd, {**again, "bisections": BISECTIONS}),
        ("APGD", once, apgd, {**again, "start": inputs.clone()}),
        (
            f"APGD towards {TARGETS} classes",
            to_each,
            apgd_targeted,
            {**targeted, "generator": generator},
        ),
        (
            f"Square, {STEPS} queries",
            f"{STEPS + 1}, 0",
            square,
            {"norm": "linf", "queries": STEPS, "generator": generator},
        ),
    ]
    for name, needed, attack, settings in within:
        far, near = (spent(attack, eps=radius, **settings) for radius in (FAR, NEAR))
        yield name, needed, far, near
    yield "DDN (L2)", once, spent(ddn, steps=STEPS), "the same: it looks for a nearer one"
    yield "FMN", once, spent(fmn, **again), "the same"
    yield f"FMN towards {TARGETS} classes", to_each, spent(fmn_targeted, **targeted), "the same"


def times_table() -> str:
    """A line for each algorithm: its passes and time, and those of peers in the same run."""
    attacks, steps = (_report(name) for name in ("attack_speed", "training_step"))
    lines = [
        ("what", "in units of", "forwards, gradients", "CPU time", "peers, CPU time", "of version"),
        *_of_pgd(attacks),
        *_of_bpgd(attacks),
        *_of_training(steps),
        *_of_protocols(),
    ]
    return markdown_table(lines)


def _report(name: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((measuring.RESULTS / f"{name}.json").read_text())
    return report


def _of_pgd(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    rows = report["pgd"]
    for row in (row for row in rows if row["attack"] == "monai_ima"):
        same = [r for r in rows if (r["norm"], r["eps"]) == (row["norm"], row["eps"])]
        peers = {r["attack"]: r["cpu_time_over_floor"]["median"] for r in same if r is not row}
        yield (
            f"PGD, {row['norm']}, {1 - row['robust_accuracy']:.0%} misclassified",
            f"floor of {report['settings']['pgd_steps']} steps",
            f"{row['forwards']:.1f}, {row['gradients']:.1f}",
            _ratio(row["cpu_time_over_floor"]),
            ", ".join(f"{name} {value:.2f}" for name, value in peers.items()),
            report["version"],
        )


def _of_bpgd(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for row in report["bpgd"]:
        yield (
            f"B-PGD, {row['norm']}, {row['crossed']:.0%} cross",
            "plain reading of the paper",
            f"{row['forwards']:.1f}, {row['gradients']:.1f}; plain {row['plain_forwards']:.1f}, {row['plain_gradients']:.1f}",
            _ratio(row["cpu_time_over_plain"]),
            "",
            report["version"],
        )


def _of_training(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    names = {"step": "step of Algorithm 1", "margins": "pass of Algorithm 2"}
    for row in report["rows"]:
        if row["what"] in names:
            yield (
                f"{names[row['what']]}, {row['norm']}, batch {row['batch']}",
                "forward and backward",
                f"{row['forwards']:.1f}, {row['gradients']:.1f}",
                _ratio(row["cost"]),
                "",
                report["version"],
            )


def _of_protocols() -> Iterator[tuple[str, ...]]:
    reports = [
        json.loads(p.read_text()) for p in sorted(measuring.RESULTS.glob("protocols_*.json"))
    ]
    cases = [case["cost"] for report in reports for case in report["cases"]]
    versions = ", ".join(sorted({report["version"] for report in reports}))

    def over_plain(name: str, kind: str) -> dict[str, float]:
        return _summary([case[name][kind] / case["plain"][kind] for case in cases])

    peers = ", ".join(f"{name} {over_plain(name, 'seconds')['median']:.2f}" for name in PEERS)
    for name in PROTOCOLS:
        yield (
            f"whole curve, `{name}`",
            "100-PGD, twice, at each level",
            f"gradients {_ratio(over_plain(name, 'gradients'))}",
            _ratio(over_plain(name, "seconds")),
            peers,
            versions,
        )


def _summary(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


def _ratio(found: dict[str, float]) -> str:
    return f"{found['median']:.2f} ({found['min']:.2f} to {found['max']:.2f})"


def gpu_table() -> str:
    """A line for each network and batch: what attacks take over their floors, a step and a pass."""
    report = _report("gpu")
    found = {
        (row.get("network"), row.get("batch"), row["what"]): row["value"] for row in report["rows"]
    }
    cases = list(dict.fromkeys((network, batch) for network, batch, _ in found if network))
    columns = {
        "PGD's floor, ms": "floor of pgd",
        "operation by operation": "eager pgd",
        "torchattacks": "pgd of torchattacks",
        "PGD, none crosses": "pgd, none cross",
        "half cross": "pgd, half cross",
        "B-PGD's floor, ms": "floor of bpgd",
        "B-PGD, none": "bpgd, none cross",
        "half": "bpgd, half cross",
        "step of IMA, ms": "step of IMA",
    }
    lines: list[tuple[str, ...]] = [("network", "batch", *columns, "pass of Algorithm 2")]
    for network, batch in cases:
        passes = next(
            f"{value:.3g} s for {what.split()[2]}"
            for (name, size, what), value in found.items()
            if (name, size) == (network, batch) and what.startswith("pass")
        )
        values = (f"{found[network, batch, what]:.3g}" for what in columns.values())
        lines.append((network, str(batch), *values, passes))
    return markdown_table(lines)


if __name__ == "__main__":
    main()
