"""What attacks, training and evaluation take on a GPU, beside the passes that they need.

    python scripts/benchmarks/gpu.py
    python scripts/benchmarks/gpu.py --small  # everything once on tiny batches, on any machine

Each figure is printed as soon as it is known, and all go to a JSON file. The floor of PGD is what it
cannot do without: 20 forward passes and input gradients, each with a step, captured as one CUDA graph
(on a CPU they run as they are); B-PGD's has a look at the last iterate and ten bisections as well, each a
forward pass. Convolutions and matrix products are in TF32, as the bundles have them. For "half", the radius of every other sample is below its
distance to the boundary, so that half of the samples cross it. Fashion-MNIST is read from
``--fashion_mnist``, or its stand-in is written. Real peers are measured where they are installed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from itertools import product
from statistics import median
from typing import Any, NamedTuple, TypeAlias

import measuring
import torch
from measuring import SEED
from monai.utils import set_determinism
from torch import Tensor, nn
from training_step import PAPER

from monai_ima.attacks import bpgd, fmn, get_norm, pgd
from monai_ima.attacks.bpgd_attack import bisect
from monai_ima.attacks.capture import Capture
from monai_ima.attacks.pgd_attack import advanced, loss_gradient
from monai_ima.bundle import allow_tf32
from monai_ima.data import BatchSampler, load_fashion_mnist, write_synthetic_fashion
from monai_ima.engines.captured_step import CapturedStep
from monai_ima.losses import soft_margin
from monai_ima.margins import MarginStore
from monai_ima.networks import ECGNet, FashionMNISTNet, resnet18_in
from monai_ima.objectives import IMA, CrossEntropy, Objective
from monai_ima.robustness import closest_errors

try:
    import torchattacks
except ImportError:
    torchattacks = None

EPS = 0.1
STEPS = 5  # of a training, between two looks at the clock
LEVELS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
# The paper's networks, the shape of an input's one channel, batches, and how many samples a pass over the margins has.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...], int]] = {
    "ECGNet": (ECGNet, (187,), (128, 1024), 70_043),
    "FashionMNISTNet": (FashionMNISTNet, (28, 28), (128, 1024), 60_000),
    "resnet18_in": (lambda: resnet18_in(num_classes=4), (224, 224), (32, 128), 585),
}
Figure: TypeAlias = tuple[str, float, str]  # what was measured, its value, the unit


class Case(NamedTuple):
    """A batch, labelled as the network has it, and the radii at which none and half of it cross."""

    network: nn.Module
    inputs: Tensor
    labels: Tensor
    none: Tensor
    half: Tensor


def main() -> None:
    """Measure and print, then write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--fashion_mnist")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    set_determinism(SEED)
    allow_tf32(True)
    rows: list[dict[str, Any]] = []

    def keep(figures: Iterator[Figure], **names: Any) -> None:
        for what, value, unit in figures:
            print(*names.values(), f"{what}: {value:.4g} {unit}", flush=True)
            rows.append({"what": what, "value": value, "unit": unit, **names})

    for name, (make, shape, batches, samples) in NETWORKS.items():
        network = make().to(device).eval()
        sides = (64, 64) if args.small and name == "resnet18_in" else shape
        for batch in (4,) if args.small else batches:
            case = prepared(network, torch.rand(batch, 1, *sides, device=device))
            repeats = 1 if args.small else 3
            keep(of_attacks(case, repeats), network=name, batch=batch)
            keep(of_training(case, repeats, samples), network=name, batch=batch)
    with tempfile.TemporaryDirectory() as folder:
        size = {"training": 240, "test": 60} if args.small else {"test": 2000}
        source = args.fashion_mnist or write_synthetic_fashion(f"{folder}/fashion_mnist", **size)
        keep(of_evaluation(str(source), device, args.small))
    where = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    settings = {"device": where, "small": args.small, **measuring.machine("torch")}
    measuring.write("gpu_small" if args.small else "gpu", settings, rows=rows)


def prepared(network: nn.Module, inputs: Tensor) -> Case:
    """A case: the radius of every other sample is below its distance to the boundary, or of all."""
    labels = network(inputs).argmax(dim=1)
    near = fmn(network, inputs, labels, norm="linf", steps=20).distance
    odd = torch.arange(len(inputs), device=inputs.device) % 2 == 1
    return Case(network, inputs, labels, 0.3 * near, torch.where(odd, 2 * near, 0.3 * near))


def milliseconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median, after two calls: one chooses kernels, one captures."""
    times = []
    for _ in range(2 + repeats):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1000 * median(times[2:])


def floor(
    network: nn.Module, inputs: Tensor, labels: Tensor, eps: Tensor, *, bisections: int = 0
) -> tuple[Tensor, ...]:
    """PGD without a look at what it finds; or B-PGD."""
    iterate, norm, steps = inputs, get_norm("linf"), PAPER["steps"]
    for _ in range(steps):
        leaf = iterate.detach().requires_grad_()
        gradient = loss_gradient(soft_margin, network(leaf), labels, leaf)
        ball: dict[str, Any] = {"eps": eps, "norm": norm, "bounds": (0.0, 1.0)}
        iterate = advanced(iterate, gradient, inputs, step=4 * eps / steps, **ball)
    if bisections > 0:
        with torch.no_grad():
            network(iterate)
        ends: dict[str, Any] = {"inside": inputs, "outside": iterate, "labels": labels}
        iterate = bisect(network, **ends, bisections=bisections, side="on")
    return (iterate,)


def of_attacks(case: Case, repeats: int) -> Iterator[Figure]:
    """PGD and B-PGD, where no sample and where half of them cross the boundary."""
    network, inputs, labels, *_ = case
    steps = PAPER["steps"]
    took = partial(milliseconds, device=inputs.device, repeats=repeats)
    network.requires_grad_(False)
    least = {}
    for name, bisections in {"pgd": 0, "bpgd": PAPER["bisections"]}.items():
        lowest: Callable[..., tuple[Tensor, ...]] = partial(floor, network, bisections=bisections)
        if inputs.is_cuda:
            lowest = Capture(lowest, case[1:4])
        least[name] = took(partial(lowest, *case[1:4]))
        yield f"floor of {name}", least[name], "ms"
    yield "eager pgd", took(partial(floor, network, *case[1:4])) / least["pgd"], "floors"
    network.requires_grad_(True)
    ours: dict[str, Callable[..., object]] = {"pgd": pgd, "bpgd": bpgd}
    for (name, attack), cross in product(ours.items(), ("none", "half")):
        ball = {"eps": getattr(case, cross), "norm": "linf"}
        attacking = partial(attack, network, inputs, labels, steps=steps, **ball)
        yield f"{name}, {cross} cross", took(attacking) / least[name], "floors"
    if torchattacks is not None:
        peer = torchattacks.PGD(network, eps=EPS, alpha=4 * EPS / steps, steps=steps)
        yield "pgd of torchattacks", took(partial(peer, inputs, labels)) / least["pgd"], "floors"


def of_training(case: Case, repeats: int, samples: int) -> Iterator[Figure]:
    """A step of Algorithm 1, and a pass of Algorithm 2 over the data set."""
    network, inputs, labels, _, half = case
    index = torch.arange(len(inputs), device=inputs.device)
    store = MarginStore(len(inputs), delta=1e-6, eps_max=1.0).to(inputs.device)
    objective = IMA(store, norm="linf", beta=0.5, **PAPER)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-12)  # the same network at every step

    def pass_over() -> None:
        store.margins.copy_(half)
        objective.update_margins(network, inputs, labels, index)

    def steps(captured: CapturedStep) -> None:
        """As the trainer's."""
        for _ in range(count):
            store.margins.copy_(half)
            optimizer.zero_grad()
            result = captured(inputs, labels, index) if inputs.is_cuda else None
            if result is None:
                plain = partial(captured.objective, network, inputs, labels, index)
                captured.watch(plain).loss.backward()
            optimizer.step()

    count = STEPS if inputs.is_cuda else 1
    network.train()
    methods: dict[str, Objective] = {"cross-entropy": CrossEntropy(), "IMA": objective}
    for name, method in methods.items():
        step = partial(steps, CapturedStep(method, network, nullcontext, "float32"))
        yield f"step of {name}", milliseconds(step, inputs.device, repeats) / count, "ms"
    network.eval()
    batch = milliseconds(pass_over, inputs.device, repeats)
    yield f"pass over {samples} margins", batch * samples / len(inputs) / 1000, "s"


def of_evaluation(fashion_mnist: str, device: torch.device, small: bool) -> Iterator[Figure]:
    """The default protocol on a network that was trained briefly, and whether a CPU agrees."""
    count = 10 if small else 2000
    data = load_fashion_mnist(fashion_mnist, test_samples=count, device=device)
    network = FashionMNISTNet().to(device)
    sampler = BatchSampler(data.training.labels.cpu(), 128, sampling="shuffled", epoch_size=None)
    for _ in range(1 if small else 3):
        measuring.train(network, data.training.inputs, data.training.labels, sampler, rate=1e-3)
    network.eval()
    inputs, labels = data.test.inputs, data.test.labels
    asked: dict[str, Any] = {"eps": LEVELS, "norm": "linf", "seed": SEED}
    start = time.perf_counter()
    margins = closest_errors(network, inputs, labels, **asked).margins.cpu()
    took = time.perf_counter() - start
    yield f"evaluation of {count} images at {len(LEVELS)} levels", took, "s"
    few = 5 if small else 200
    inputs, labels = inputs[:few], labels[:few]
    allow_tf32(False)
    exact = closest_errors(network, inputs, labels, **asked).margins.cpu()
    allow_tf32(True)
    there = closest_errors(network.cpu(), inputs.cpu(), labels.cpu(), **asked).margins
    for precision, here in {"TF32": margins[:few], "float32": exact}.items():
        robust = torch.stack([here, there])[..., None] > torch.tensor(LEVELS)
        difference = robust.double().mean(dim=1).diff(dim=0).abs().max().item()
        yield (
            f"largest difference of {few} images' curve in {precision} to a CPU's",
            difference,
            "of 1",
        )


if __name__ == "__main__":
    main()
