"""What attacks, training and evaluation take on a GPU, beside the passes that they need.

    python scripts/benchmarks/gpu.py
    python scripts/benchmarks/gpu.py --small  # everything once on tiny batches, on any machine

Each figure is printed as soon as it is known, and all go to a JSON file. The floor of an attack is what
it cannot do without: 20 forward passes and input gradients, each with a step of PGD, captured as one
CUDA graph (on a CPU they run as they are). For "half", the radius of every other sample is below its
distance to the boundary, so that half of the samples cross it. Fashion-MNIST is read from
``--fashion_mnist``, or its stand-in is written. Real peers are measured where they are installed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import measuring
import torch
from measuring import SEED
from monai.utils import set_determinism
from torch import Tensor, nn

from monai_ima.attacks import bpgd, fmn, get_norm, pgd
from monai_ima.attacks.capture import Capture
from monai_ima.attacks.pgd_attack import advanced, input_gradient
from monai_ima.data import BatchSampler, load_fashion_mnist, write_synthetic_fashion
from monai_ima.losses import soft_margin
from monai_ima.margins import MarginStore
from monai_ima.networks import ECGNet, FashionMNISTNet, resnet18_in
from monai_ima.objectives import IMA
from monai_ima.robustness import closest_errors

try:
    import torchattacks
except ImportError:
    torchattacks = None

STEPS, BISECTIONS, MARGIN_STEPS, EPS = 20, 10, 50, 0.1
LEVELS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
# The paper's networks, the shape of an input's one channel, batches, and how many samples a pass over the margins has.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...], int]] = {
    "ECGNet": (ECGNet, (187,), (128, 1024), 70_043),
    "FashionMNISTNet": (FashionMNISTNet, (28, 28), (128, 1024), 60_000),
    "resnet18_in": (lambda: resnet18_in(num_classes=4), (224, 224), (32, 128), 585),
}
FOUND: list[dict[str, Any]] = []


def main() -> None:
    """Measure and print, then write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--fashion_mnist")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    repeats = 1 if args.small else 3
    set_determinism(SEED)
    for name, (make, shape, batches, samples) in NETWORKS.items():
        network = make().to(device).eval()
        for batch in (4,) if args.small else batches:
            side = 64 if args.small and name == "resnet18_in" else None
            inputs = torch.rand(batch, 1, *(side or each for each in shape), device=device)
            measure_attacks(network, inputs, repeats, network_name=name)
            measure_training(network, inputs, repeats, samples, network_name=name)
    with tempfile.TemporaryDirectory() as folder:
        source = args.fashion_mnist or write_synthetic_fashion(f"{folder}/fashion_mnist")
        measure_evaluation(str(source), device, args.small)
    where = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    settings = {"device": where, "small": args.small, **measuring.machine("torch")}
    measuring.write("gpu_small" if args.small else "gpu", settings, rows=FOUND)


def tell(what: str, value: float, unit: str, **names: Any) -> None:
    """Print a figure and remember it."""
    FOUND.append({"what": what, "value": value, "unit": unit, **names})
    print(*names.values(), f"{what}: {value:.4g} {unit}", flush=True)


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


def floor(network: nn.Module, inputs: Tensor, labels: Tensor, eps: Tensor) -> tuple[Tensor]:
    """PGD without a look at what it finds."""
    iterate, norm = inputs, get_norm("linf")
    for _ in range(STEPS):
        leaf = iterate.detach().requires_grad_()
        gradient = input_gradient(soft_margin(network(leaf), labels), leaf)
        step = 4 * eps / STEPS
        ball: dict[str, Any] = {"eps": eps, "norm": norm, "bounds": (0.0, 1.0)}
        iterate = advanced(iterate, gradient, inputs, step=step, **ball)
    return (iterate,)


def measure_attacks(network: nn.Module, inputs: Tensor, repeats: int, network_name: str) -> None:
    """PGD and B-PGD, where no sample and where half of them cross the boundary."""
    names = {"network": network_name, "batch": len(inputs)}
    labels = network(inputs).argmax(dim=1)
    near = fmn(network, inputs, labels, norm="linf", steps=20).distance
    odd = torch.arange(len(inputs), device=inputs.device) % 2 == 1
    half, none = torch.where(odd, 2 * near, 0.3 * near), 0.3 * near
    network.requires_grad_(False)
    tensors = inputs, labels, none
    plain = partial(floor, network, *tensors)
    lowest = (
        partial(Capture(partial(floor, network), tensors), *tensors) if inputs.is_cuda else plain
    )
    least = milliseconds(lowest, inputs.device, repeats)
    tell("floor", least, "ms", **names)
    tell("eager", milliseconds(plain, inputs.device, repeats) / least, "floors", **names)
    network.requires_grad_(True)
    attacks: dict[str, Callable[[], object]] = {
        f"{attack.__name__}, {name} cross": partial(
            attack, network, inputs, labels, eps=eps, norm="linf", steps=STEPS
        )
        for attack in (pgd, bpgd)
        for name, eps in (("none", none), ("half", half))
    }
    if torchattacks is not None:
        step = 4 * EPS / STEPS
        peer = torchattacks.PGD(network, eps=EPS, alpha=step, steps=STEPS)
        attacks["pgd of torchattacks"] = partial(peer, inputs, labels)
    for name, attack in attacks.items():
        tell(name, milliseconds(attack, inputs.device, repeats) / least, "floors", **names)


def measure_training(
    network: nn.Module, inputs: Tensor, repeats: int, samples: int, network_name: str
) -> None:
    """A step of Algorithm 1, and a pass of Algorithm 2 over the data set."""
    names = {"network": network_name, "batch": len(inputs)}
    labels, index = network(inputs).argmax(dim=1), torch.arange(len(inputs), device=inputs.device)
    near = fmn(network, inputs, labels, norm="linf", steps=20).distance
    store = MarginStore(len(inputs), delta=1e-6, eps_max=1.0).to(inputs.device)
    steps: dict[str, Any] = {"steps": STEPS, "margin_steps": MARGIN_STEPS}
    objective = IMA(store, norm="linf", beta=0.5, bisections=BISECTIONS, **steps)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-12)  # the same network at every step

    def margins() -> None:
        store.margins.copy_(torch.where(index % 2 == 1, 2 * near, 0.3 * near))

    def step() -> None:
        margins()
        network.train()
        optimizer.zero_grad()
        objective(network, inputs, labels, index).loss.backward()
        optimizer.step()
        network.eval()

    def pass_over() -> None:
        margins()
        objective.update_margins(network, inputs, labels, index)

    tell("step of IMA", milliseconds(step, inputs.device, repeats), "ms", **names)
    batch = milliseconds(pass_over, inputs.device, repeats)
    tell(f"pass over {samples} margins", batch * samples / len(inputs) / 1000, "s", **names)


def measure_evaluation(fashion_mnist: str, device: torch.device, small: bool) -> None:
    """The default protocol on a network that was trained briefly, and whether a CPU agrees."""
    count = 20 if small else 2000
    data = load_fashion_mnist(fashion_mnist, test_samples=None if small else count, device=device)
    network = FashionMNISTNet().to(device)
    sampler = BatchSampler(data.training.labels.cpu(), 128, sampling="shuffled", epoch_size=None)
    for _ in range(1 if small else 3):
        measuring.train(network, data.training.inputs, data.training.labels, sampler, rate=1e-3)
    network.eval()
    inputs, labels = data.test.inputs[:count], data.test.labels[:count]
    asked: dict[str, Any] = {"eps": LEVELS, "norm": "linf", "seed": SEED}
    start = time.perf_counter()
    margins = closest_errors(network, inputs, labels, **asked).margins.cpu()
    took = time.perf_counter() - start
    tell(f"evaluation of {len(inputs)} images at {len(LEVELS)} levels", took, "s")
    few = min(len(inputs), 10 if small else 200)
    network, inputs, labels = network.cpu(), inputs[:few].cpu(), labels[:few].cpu()
    there = closest_errors(network, inputs, labels, **asked).margins
    curves = [
        (m[:, None] > torch.tensor(LEVELS)).double().mean(dim=0) for m in (margins[:few], there)
    ]
    difference = (curves[0] - curves[1]).abs().max().item()
    tell(f"largest difference of {few} images' curve to a CPU's", difference, "of 1")


if __name__ == "__main__":
    main()
