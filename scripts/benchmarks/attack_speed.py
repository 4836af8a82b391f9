"""What the attacks cost, against the floor of PGD and against peers.

    OMP_NUM_THREADS=1 python scripts/benchmarks/attack_speed.py

Needs the packages of ``monai-ima[test]``. A small network is trained on synthetic OCT images for a
few seconds. Then, round by round, every attack runs once on the same batch, and its CPU time is
divided by that of the floor (PGD) or of a plain reading of the paper (B-PGD) in the same round, so
that what else the machine does meets all of them alike. Medians and ranges over the rounds go to a
JSON file and are printed as Markdown tables.

The floor of ``n`` steps of PGD is ``n`` forward passes and gradients with respect to the inputs,
the parameters frozen, and the forward pass that tells who fell.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeAlias

import foolbox
import torch
import torch.nn.functional as F
from art.attacks.evasion import ProjectedGradientDescentPyTorch
from art.estimators.classification import PyTorchClassifier
from monai.transforms import Compose, EnsureTyped, Resized
from monai.utils import set_determinism
from torch import Tensor, nn

from monai_ima import __version__
from monai_ima.attacks import bpgd, get_norm, misclassified, pgd
from monai_ima.attacks.draws import SampleDraws
from monai_ima.data import CenterSquareCropd, LoadGreyd, load_datalist, write_synthetic_oct
from monai_ima.losses import soft_margin
from monai_ima.networks import small_cnn
from monai_ima.robustness import CountingModel

ROOT = Path(__file__).resolve().parents[2]
SEED = 0
THREADS = 1
BATCH = 64
IMAGE_SIZE = (64, 64)
PGD_STEPS = 40
BPGD_STEPS = 20
BISECTIONS = 10
RELATIVE_STEP = 4  # a step is 4 eps / steps, for everybody
TOLERANCE = 1e-4  # between the two B-PGDs, on images in [0, 1]

Attack: TypeAlias = Callable[[], Any]


class Case(NamedTuple):
    """One radius of a norm, and what is attacked with it."""

    norm: str
    eps: float


class Run(NamedTuple):
    """What one run of an attack took and gave; passes are per sample."""

    seconds: float
    forwards: float
    gradients: float
    result: Any


def main() -> None:
    """Prepare, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--output", type=Path, default=ROOT / "results" / "benchmarks" / "attack_speed.json"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    set_determinism(SEED)
    model, inputs, labels, accuracy = prepare()
    radii = {norm: critical_radii(model, inputs, labels, norm) for norm in ("linf", "l2")}
    pgd_rows = [
        row
        for norm, radius in radii.items()
        for eps in (nobody(radius), half(radius))
        for row in measure_pgd(model, inputs, labels, Case(norm, eps), arguments.rounds)
    ]
    bpgd_rows = [
        measure_bpgd(model, inputs, labels, Case("linf", eps), arguments.rounds)
        for eps in (nobody(radii["linf"]), half(radii["linf"]), everybody(radii["linf"]))
    ]
    report = {
        "version": __version__,
        "settings": settings(arguments.rounds, accuracy),
        "pgd": pgd_rows,
        "bpgd": bpgd_rows,
        "cpu_seconds": round(time.process_time()),
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    print(pgd_table(pgd_rows), bpgd_table(bpgd_rows), sep="\n\n")


def settings(rounds: int, accuracy: float) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "batch": BATCH,
        "input_shape": [1, *IMAGE_SIZE],
        "network": "small_cnn",
        "test_accuracy": round(accuracy, 3),
        "pgd_steps": PGD_STEPS,
        "bpgd_steps": BPGD_STEPS,
        "bisections": BISECTIONS,
        "step_size": f"{RELATIVE_STEP} eps / steps",
        "seed": SEED,
        "processor": platform.machine(),
        "versions": {
            name: version(name) for name in ("torch", "foolbox", "adversarial-robustness-toolbox")
        },
    }


# The network and the batch


def prepare() -> tuple[CountingModel, Tensor, Tensor, float]:
    """Train the network; give it, a batch of test images it gets right, labels, test accuracy."""
    training, test = images(IMAGE_SIZE, patients_per_class=60)
    model = CountingModel(train(*training)).eval()
    correct = ~misclassified(model, *test)
    if correct.sum() < BATCH:
        raise RuntimeError(f"expected {BATCH} correct test images, got {correct.sum()}")
    inputs, labels = (values[correct][:BATCH].contiguous() for values in test)
    return model, inputs, labels, correct.float().mean().item()


def images(
    size: tuple[int, int], *, patients_per_class: int
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training and test images with their labels, as the OCT bundle reads them."""
    preprocessing = Compose(
        [
            LoadGreyd("image"),
            CenterSquareCropd("image"),
            Resized("image", spatial_size=size, mode="area"),
            EnsureTyped("image", track_meta=False),
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        write_synthetic_oct(
            folder, patients_per_class=patients_per_class, images_per_patient=2, seed=SEED
        )
        datalist = load_datalist(
            folder,
            num_classes=4,
            patient_pattern="^[^-]+-(?P<patient>[^-]+)-",
            fractions=(0.7, 0.05, 0.25),
            seed=SEED,
        )
        sections = [
            [preprocessing(item) for item in items] for items in (datalist.training, datalist.test)
        ]
    training, test = (
        (torch.stack([item["image"] for item in items]), torch.tensor([i["label"] for i in items]))
        for items in sections
    )
    generator = torch.Generator().manual_seed(SEED)
    order = torch.randperm(len(test[1]), generator=generator)  # else one class fills the batch
    return training, (test[0][order], test[1][order])


def train(
    inputs: Tensor,
    labels: Tensor,
    *,
    epochs: int = 10,
    batch: int = 32,
    learning_rate: float = 4e-3,
) -> nn.Module:
    """A network trained with cross-entropy."""
    network = small_cnn()
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    for _ in range(epochs):
        for index in torch.randperm(len(inputs)).split(batch):
            optimizer.zero_grad()
            F.cross_entropy(network(inputs[index]), labels[index]).backward()
            optimizer.step()
    return network


def critical_radii(
    model: nn.Module, inputs: Tensor, labels: Tensor, norm: str, *, searches: int = 8
) -> Tensor:
    """The radius ``(N,)`` from which on a short PGD makes each sample fall, by bisection."""
    high = get_norm(norm).length(torch.full_like(inputs, 0.25))
    low = high / 10_000
    for _ in range(searches):
        middle = (low * high).sqrt()
        fell = pgd(
            model, inputs, labels, eps=middle, norm=norm, steps=10, random_start=False
        ).success
        low, high = torch.where(fell, low, middle), torch.where(fell, middle, high)
    return high


def nobody(radii: Tensor) -> float:
    """A radius at which no sample falls."""
    return radii.min().item() / 2


def half(radii: Tensor) -> float:
    """A radius at which about half of the samples fall."""
    return radii.median().item()


def everybody(radii: Tensor) -> float:
    """A radius at which all samples fall."""
    return 1.5 * radii.max().item()


# PGD against the floor


def measure_pgd(
    model: CountingModel, inputs: Tensor, labels: Tensor, case: Case, rounds: int
) -> list[dict[str, Any]]:
    """A row for each attack."""
    attacks = pgd_attacks(model, inputs, labels, case)
    frozen = deepcopy(model).requires_grad_(False)
    judge = partial(misclassified, frozen, inputs, labels)
    part = partial(input_gradients, frozen, inputs, labels, PGD_STEPS // len(attacks))
    measured(part, frozen)  # warm up
    runs: dict[str, list[Run]] = defaultdict(list)
    floors = []
    for _ in range(rounds):
        seconds = measured(judge, frozen).seconds
        for name, attack in attacks.items():
            seconds += measured(part, frozen).seconds  # the floor is spread over the round
            runs[name].append(measured(attack, model))
        floors.append(seconds)
    return [
        {
            **case._asdict(),
            "attack": name,
            "cpu_time_over_floor": ratio(runs[name], floors),
            "floor_seconds": round(median(floors), 3),
            "forwards": runs[name][-1].forwards,
            "gradients": runs[name][-1].gradients,
            "robust_accuracy": robust_accuracy(model, runs[name][-1].result, labels),
        }
        for name in attacks
    ]


def input_gradients(frozen: nn.Module, inputs: Tensor, labels: Tensor, steps: int) -> Tensor:
    """What every step of PGD needs, and nothing else."""
    for _ in range(steps):
        leaf = inputs.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(soft_margin(frozen(leaf), labels).sum(), leaf)
    return gradient


def pgd_attacks(
    model: CountingModel, inputs: Tensor, labels: Tensor, case: Case
) -> dict[str, Attack]:
    """Our PGD and its peers with the same radius, steps, step size and a random start."""
    return {
        "monai_ima": partial(our_pgd, model, inputs, labels, case),
        "hand-written": partial(handwritten_pgd, model, inputs, labels, case),
        "foolbox": partial(foolbox_pgd, model, inputs, labels, case),
        "ART": art_pgd(model, inputs, labels, case),
    }


def our_pgd(model: nn.Module, inputs: Tensor, labels: Tensor, case: Case) -> Tensor:
    """PGD of this package, as called by a user."""
    step_size = RELATIVE_STEP * case.eps / PGD_STEPS
    return pgd(model, inputs, labels, **case._asdict(), steps=PGD_STEPS, step_size=step_size).inputs


def handwritten_pgd(model: nn.Module, inputs: Tensor, labels: Tensor, case: Case) -> Tensor:
    """The usual loop: mean cross-entropy, ``backward`` through inputs and parameters alike."""
    norm, eps = get_norm(case.norm), torch.full((len(inputs),), case.eps)
    perturbed = (
        inputs + norm.uniform(inputs, eps, SampleDraws(0, torch.arange(len(inputs))))
    ).clamp(0, 1)
    for _ in range(PGD_STEPS):
        perturbed = perturbed.detach().requires_grad_()
        loss = F.cross_entropy(model(perturbed), labels)
        model.zero_grad()
        loss.backward()
        perturbed = step(inputs, perturbed, case, PGD_STEPS)
    return perturbed


def step(inputs: Tensor, perturbed: Tensor, case: Case, steps: int) -> Tensor:
    """One step up ``perturbed.grad``, back into the ball and into [0, 1]."""
    norm, eps = get_norm(case.norm), torch.full((len(inputs),), case.eps)
    assert perturbed.grad is not None
    climbed = perturbed.detach() + RELATIVE_STEP * case.eps / steps * norm.direction(perturbed.grad)
    return (inputs + norm.project(climbed - inputs, eps)).clamp(0, 1)


def foolbox_pgd(model: nn.Module, inputs: Tensor, labels: Tensor, case: Case) -> Tensor:
    """PGD of foolbox."""
    kind = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[case.norm]
    attack = kind(rel_stepsize=RELATIVE_STEP / PGD_STEPS, steps=PGD_STEPS, random_start=True)
    network = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    _, clipped, _ = attack(network, inputs, labels, epsilons=case.eps)
    return clipped


def art_pgd(model: nn.Module, inputs: Tensor, labels: Tensor, case: Case) -> Attack:
    """PGD of ART, its classifier made beforehand."""
    classifier = PyTorchClassifier(
        model,
        loss=nn.CrossEntropyLoss(),
        input_shape=inputs.shape[1:],
        nb_classes=4,
        clip_values=(0, 1),
        device_type="cpu",
    )
    attack = ProjectedGradientDescentPyTorch(
        classifier,
        norm={"linf": "inf", "l2": 2}[case.norm],
        eps=case.eps,
        eps_step=RELATIVE_STEP * case.eps / PGD_STEPS,
        max_iter=PGD_STEPS,
        num_random_init=1,
        batch_size=len(inputs),
        verbose=False,
    )
    return lambda: torch.from_numpy(attack.generate(inputs.numpy(), labels.numpy()))


# B-PGD against a plain reading of the paper


def measure_bpgd(
    model: CountingModel, inputs: Tensor, labels: Tensor, case: Case, rounds: int
) -> dict[str, Any]:
    """A row; both must find the same points."""
    ours = partial(our_bpgd, model, inputs, labels, case)
    plain = partial(plain_bpgd, model, inputs, labels, case)
    pairs = [(measured(ours, model), measured(plain, model)) for _ in range(rounds)]
    our_run, plain_run = pairs[-1]
    found, crossed = our_run.result
    difference = (found - plain_run.result[0]).abs().max().item()
    assert difference <= TOLERANCE, f"the two B-PGDs differ by {difference:.3g}"
    return {
        **case._asdict(),
        "crossed": crossed.float().mean().item(),
        "cpu_time_over_plain": ratio([a for a, _ in pairs], [b.seconds for _, b in pairs]),
        "forwards": our_run.forwards,
        "gradients": our_run.gradients,
        "plain_forwards": plain_run.forwards,
        "plain_gradients": plain_run.gradients,
        "largest_difference": difference,
    }


def our_bpgd(model: nn.Module, inputs: Tensor, labels: Tensor, case: Case) -> tuple[Tensor, Tensor]:
    """B-PGD of this package: the points, and who crossed."""
    result = bpgd(model, inputs, labels, **case._asdict(), steps=BPGD_STEPS, bisections=BISECTIONS)
    return result.inputs, result.success


def plain_bpgd(
    model: nn.Module, inputs: Tensor, labels: Tensor, case: Case
) -> tuple[Tensor, Tensor]:
    """Algorithm 3 as it stands: the whole sequence first, then the search, all samples in both."""
    sequence, wrong = [inputs], []
    for _ in range(BPGD_STEPS):
        perturbed = sequence[-1].detach().requires_grad_()
        logits = model(perturbed)
        model.zero_grad()
        soft_margin(logits, labels).sum().backward()
        wrong.append(logits.argmax(dim=1) != labels)
        sequence.append(step(inputs, perturbed, case, BPGD_STEPS))
    with torch.no_grad():
        wrong.append(model(sequence[-1]).argmax(dim=1) != labels)
        crossed = torch.stack(wrong).any(dim=0)
        first = torch.stack(wrong).int().argmax(dim=0)
        iterates, sample = torch.stack(sequence), torch.arange(len(inputs))
        inside, outside = iterates[(first - 1).clamp(min=0), sample], iterates[first, sample]
        for _ in range(BISECTIONS):
            middle = (inside + outside) / 2
            correct = (model(middle).argmax(dim=1) == labels)[:, None, None, None]
            inside = torch.where(correct, middle, inside)
            outside = torch.where(correct, outside, middle)
    found = torch.where(crossed[:, None, None, None], (inside + outside) / 2, sequence[-1])
    return found, crossed


# Measuring and printing


def measured(attack: Attack, model: CountingModel) -> Run:
    """Run an attack once, with the same random numbers every time."""
    set_determinism(SEED)
    model.reset()
    start = time.process_time()
    result = attack()
    seconds = time.process_time() - start
    return Run(seconds, model.forwards / BATCH, model.gradients / BATCH, result)


def robust_accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Share of attacked samples that the network still gets right: one judge for all attacks."""
    return 1 - misclassified(model, inputs, labels).float().mean().item()


def ratio(runs: list[Run], floors: list[float]) -> dict[str, float]:
    """CPU time over that of the same round's floor: median and range over the rounds."""
    ratios = [run.seconds / seconds for run, seconds in zip(runs, floors, strict=True)]
    summary = {"median": median(ratios), "min": min(ratios), "max": max(ratios)}
    return {name: round(value, 3) for name, value in summary.items()}


def pgd_table(rows: list[dict[str, Any]]) -> str:
    """A line for each case and attack."""
    lines = [
        "| norm | eps | PGD | CPU time / floor | forwards | gradients | robust accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['norm']} | {row['eps']:.3g} | {row['attack']} "
        f"| {spread(row['cpu_time_over_floor'])} | {row['forwards']:.1f} "
        f"| {row['gradients']:.1f} | {row['robust_accuracy']:.3f} |"
        for row in rows
    ]
    return "\n".join(lines)


def bpgd_table(rows: list[dict[str, Any]]) -> str:
    """A line for each radius."""
    lines = [
        "| norm | eps | crossed | B-PGD, CPU time / plain | forwards, plain | gradients, plain |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['norm']} | {row['eps']:.3g} | {row['crossed']:.3f} "
        f"| {spread(row['cpu_time_over_plain'])} "
        f"| {row['forwards']:.1f}, {row['plain_forwards']:.1f} "
        f"| {row['gradients']:.1f}, {row['plain_gradients']:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


def spread(ratio: dict[str, float]) -> str:
    """Median and range."""
    return f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"


if __name__ == "__main__":
    main()
