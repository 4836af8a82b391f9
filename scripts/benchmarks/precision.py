"""What an attack in bfloat16 finds, beside the same attack in float32.

    OMP_NUM_THREADS=1 python scripts/benchmarks/precision.py [--fashion_mnist FOLDER]

The paper's networks for heartbeats and Fashion-MNIST are trained for a little while, plainly and with
IMA, and attacked twice: as they are, and through autocast to bfloat16, with the same radii, steps and
starts. What either finds is judged by the network as it is, in float32. PGD: the share of samples that
is robust at each level, so judged, and how many of the errors that the attack itself saw are none. Of
B-PGD with the largest level for a radius: the margins of samples that both cross, one divided by the
other. Fashion-MNIST is read from ``--fashion_mnist``, or its stand-in is written.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import measuring
import torch
from measuring import SEED
from monai.utils import set_determinism
from torch import Tensor, nn

from monai_ima.attacks import bpgd, misclassified, pgd
from monai_ima.data import (
    BatchSampler,
    TensorDatalist,
    load_ecg,
    load_fashion_mnist,
    write_synthetic_ecg,
    write_synthetic_fashion,
)
from monai_ima.margins import MarginStore
from monai_ima.networks import ECGNet, FashionMNISTNet
from monai_ima.objectives import IMA, CrossEntropy, Objective

SAMPLES = 300
SEEN = {"ECGNet": 32_000, "FashionMNISTNet": 12_800}  # samples in training
LEVELS = {"linf": (0.02, 0.05, 0.1, 0.2), "l2": (0.1, 0.25, 0.5, 1.0)}
STEPS = 20


class InBfloat16(nn.Module):
    """A network whose passes, and the gradients of its inputs, are in bfloat16."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits in float32 of what was computed in bfloat16."""
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16):
            logits: Tensor = self.network(inputs)
        return logits.float()


def main() -> None:
    """Train, attack, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fashion_mnist")
    source = parser.parse_args().fashion_mnist
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        beats = load_ecg(write_synthetic_ecg(Path(folder) / "ecg", seed=SEED))
        garments = load_fashion_mnist(source or write_synthetic_fashion(f"{folder}/garments"))
        for network, data in ((ECGNet, beats), (FashionMNISTNet, garments)):
            for method in ("ce", "ima"):
                model = trained(network, data, method)
                names = {"network": network.__name__, "method": method}
                for norm in LEVELS:
                    rows += [names | row for row in compared(model, data, norm)]
                    print(*names.values(), norm, "is done", flush=True)
    settings = {
        "samples": SAMPLES,
        "steps": STEPS,
        "fashion_mnist": "real" if source else "synthetic",
    }
    measuring.write("precision", settings | measuring.machine("torch"), rows=rows)
    print(strength_table(rows), margins_table(rows), sep="\n")


def trained(make: Callable[[], nn.Module], data: TensorDatalist, method: str) -> nn.Module:
    """A network after a few epochs."""
    set_determinism(SEED)
    samples, network = data.training, make()
    objective: Objective = CrossEntropy()
    if method == "ima":
        store = MarginStore(len(samples), delta=0.05, eps_max=0.05)
        objective = IMA(store, norm="linf", beta=0.5, steps=5)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    seen = SEEN[type(network).__name__]
    for rows in BatchSampler(samples.labels, 128, sampling="balanced", epoch_size=seen):
        batch = samples[rows]
        optimizer.zero_grad()
        objective(network, batch["image"], batch["label"], batch["index"]).loss.backward()
        optimizer.step()
    return network.eval()


def compared(network: nn.Module, data: TensorDatalist, norm: str) -> Iterator[dict[str, Any]]:
    """What both attacks find of test samples that the network gets right, at each level."""
    chosen = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(SEED))[:SAMPLES]
    inputs, labels = data.test.inputs[chosen], data.test.labels[chosen]
    right = ~misclassified(network, inputs, labels)
    inputs, labels = inputs[right], labels[right]
    models = {"float32": network, "bfloat16": InBfloat16(network)}

    def attacked(attack: Callable[..., Any], eps: float) -> dict[str, Any]:
        ball: dict[str, Any] = {"eps": eps, "norm": norm, "steps": STEPS}
        generators = {name: torch.Generator().manual_seed(SEED) for name in models}
        return {
            name: attack(model, inputs, labels, generator=generators[name], **ball)
            for name, model in models.items()
        }

    largest = attacked(bpgd, LEVELS[norm][-1])
    both = largest["float32"].success & largest["bfloat16"].success
    ratio = (largest["bfloat16"].distance / largest["float32"].distance)[both].double()
    quantiles = ratio.quantile(torch.tensor([0.05, 0.5, 0.95]).double()).tolist()
    yield {"norm": norm, "what": "margins", "n": int(both.sum()), "ratio": quantiles}
    for eps in LEVELS[norm]:
        found = attacked(pgd, eps)
        wrong = {name: misclassified(network, each.inputs, labels) for name, each in found.items()}
        seen = found["bfloat16"].success
        yield {
            "norm": norm,
            "what": "errors",
            "eps": eps,
            "n": len(labels),
            **{name: each.double().mean().item() for name, each in wrong.items()},
            "seen": seen.double().mean().item(),
            "not an error": (seen & ~wrong["bfloat16"]).double().mean().item(),
        }


def strength_table(rows: list[dict[str, Any]]) -> str:
    """A line for each network, norm and level."""
    columns = {
        "network": "{network}, {method}",
        "norm": "{norm}",
        "eps": "{eps}",
        "broken in float32": "{float32:.3f}",
        "in bfloat16": "{bfloat16:.3f}",
        "said to be, in bfloat16": "{seen:.3f}",
        "of which are not": "{not an error:.3f}",
    }
    errors = [row for row in rows if row["what"] == "errors"]
    return measuring.table(columns, errors)


def margins_table(rows: list[dict[str, Any]]) -> str:
    """A line for each network and norm."""
    columns = {
        "network": "{network}, {method}",
        "norm": "{norm}",
        "samples": "{n}",
        "margin in bfloat16 / in float32": "{ratio[1]:.3f} ({ratio[0]:.3f} to {ratio[2]:.3f})",
    }
    return measuring.table(columns, [row for row in rows if row["what"] == "margins"])


if __name__ == "__main__":
    main()
