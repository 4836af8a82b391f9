"""What the attacks cost, against the floor of PGD and against peers.

    OMP_NUM_THREADS=1 python scripts/benchmarks/attack_speed.py

Needs the packages of ``monai-ima[test]``. A small network is trained on synthetic OCT images for a
few seconds. Then, round by round, every attack runs once on the same batch, and its CPU time is
divided by that of the floor (PGD) or of a plain reading of the paper (B-PGD) in the same round, so
that what else the machine does meets all of them alike. Medians and ranges over the rounds go to a
JSON file and are printed as Markdown tables.

The floor of ``n`` steps of PGD is ``n`` forward passes and gradients with respect to the inputs,
the parameters frozen, and the forward pass that tells who is misclassified.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from statistics import median
from typing import Any

import measuring
import torch
import torch.nn.functional as F
from measuring import SEED
from monai.utils import set_determinism
from peers import Case, art_pgd, climbed, foolbox_pgd, started
from torch import Tensor, nn

from monai_ima.attacks import bpgd, get_norm, misclassified, pgd
from monai_ima.attacks.draws import SampleDraws
from monai_ima.data import write_synthetic_oct
from monai_ima.losses import soft_margin
from monai_ima.networks import small_cnn
from monai_ima.robustness import CountingModel

BATCH = 64
PGD_STEPS = 40
BPGD_STEPS = 20
BISECTIONS = 10
RELATIVE_STEP = 4  # a step is 4 eps / steps, for everybody
TOLERANCE = 1e-4  # between the two B-PGDs, on images in [0, 1]
PGD_COLUMNS = {
    "norm": "{norm}",
    "eps": "{eps:.3g}",
    "PGD": "{attack}",
    "CPU time / floor": measuring.median_and_range("cpu_time_over_floor", 2),
    "forwards": "{forwards:.1f}",
    "gradients": "{gradients:.1f}",
    "robust accuracy": "{robust_accuracy:.3f}",
}
BPGD_COLUMNS = {
    "norm": "{norm}",
    "eps": "{eps:.3g}",
    "crossed": "{crossed:.3f}",
    "B-PGD, CPU time / plain": measuring.median_and_range("cpu_time_over_plain", 2),
    "forwards, plain": "{forwards:.1f}, {plain_forwards:.1f}",
    "gradients, plain": "{gradients:.1f}, {plain_gradients:.1f}",
}


def main() -> None:
    """Prepare, measure, write, print."""
    rounds = measuring.begin(__doc__, 7)
    model, inputs, labels, accuracy = prepare()
    pgd_rows: list[dict[str, Any]] = []
    bpgd_rows: list[dict[str, Any]] = []
    for norm in ("linf", "l2"):
        radii = critical_radii(model, inputs, labels, norm)
        # nobody is misclassified, about half are, all are
        low, middle, high = (value.item() for value in (radii.min(), radii.median(), radii.max()))
        for eps in (low / 2, middle):
            pgd_rows += measure_pgd(model, inputs, labels, norm, eps, rounds)
        if norm == "linf":
            bpgd_rows = [
                measure_bpgd(model, inputs, labels, norm, eps, rounds)
                for eps in (low / 2, middle, 1.5 * high)
            ]
    settings = {
        "rounds": rounds,
        "batch": BATCH,
        "input_shape": list(inputs.shape[1:]),
        "network": "small_cnn",
        "test_accuracy": round(accuracy, 3),
        "pgd_steps": PGD_STEPS,
        "bpgd_steps": BPGD_STEPS,
        "bisections": BISECTIONS,
        "step_size": f"{RELATIVE_STEP} eps / steps",
        "seed": SEED,
        **measuring.machine("torch", "foolbox", "adversarial-robustness-toolbox"),
    }
    cpu_seconds = round(time.process_time())
    measuring.write("attack_speed", settings, pgd=pgd_rows, bpgd=bpgd_rows, cpu_seconds=cpu_seconds)
    tables = measuring.table(PGD_COLUMNS, pgd_rows), measuring.table(BPGD_COLUMNS, bpgd_rows)
    print(*tables, sep="\n\n")


def prepare() -> tuple[CountingModel, Tensor, Tensor, float]:
    """Train the network; give it, a batch of test images it gets right, labels, test accuracy."""
    with tempfile.TemporaryDirectory() as folder:
        write_synthetic_oct(folder, patients_per_class=60, images_per_patient=2, seed=SEED)
        data: dict[str, Any] = {"dataset_dir": folder, "fractions": [0.7, 0.05, 0.25], "seed": SEED}
        training, test = (
            measuring.samples(measuring.configured("oct", section=section, **data))
            for section in ("training", "test")
        )
    generator = torch.Generator().manual_seed(SEED)
    order = torch.randperm(len(test[1]), generator=generator)  # else one class fills the batch
    set_determinism(SEED)
    network = small_cnn()
    epochs = (rows for _ in range(10) for rows in torch.randperm(len(training[1])).split(32))
    measuring.train(network, *training, epochs, rate=4e-3)
    model = CountingModel(network).eval()
    inputs, labels = (values[order] for values in test)
    correct = ~misclassified(model, inputs, labels)
    if correct.sum() < BATCH:
        raise RuntimeError(f"expected {BATCH} correct test images, got {correct.sum()}")
    chosen = [values[correct][:BATCH].contiguous() for values in (inputs, labels)]
    return model, chosen[0], chosen[1], correct.float().mean().item()


def critical_radii(
    model: nn.Module, inputs: Tensor, labels: Tensor, norm: str, *, searches: int = 8
) -> Tensor:
    """The radius ``(N,)`` from which on a short PGD has each sample misclassified, by bisection."""
    short = partial(pgd, model, inputs, labels, norm=norm, steps=10, random_start=False)
    high = get_norm(norm).length(torch.full_like(inputs, 0.25))
    low = high / 10_000
    for _ in range(searches):
        middle = (low * high).sqrt()
        broken = short(eps=middle).success
        low, high = torch.where(broken, low, middle), torch.where(broken, middle, high)
    return high


def seeded(attack: Callable[[], Any], model: CountingModel) -> measuring.Run:
    """Run an attack once, with the same random numbers every time."""
    set_determinism(SEED)
    return measuring.measured(attack, model, BATCH)


# PGD against the floor


def measure_pgd(
    model: CountingModel, inputs: Tensor, labels: Tensor, norm: str, eps: float, rounds: int
) -> list[dict[str, Any]]:
    """A row for our PGD and each peer, with the same radius, steps, step size and a random start."""
    case = Case(norm, eps, PGD_STEPS)
    ball: dict[str, Any] = {"norm": norm, "eps": eps}
    step = RELATIVE_STEP * eps / PGD_STEPS
    ours = partial(pgd, model, inputs, labels, steps=PGD_STEPS, step_size=step, **ball)
    attacks: dict[str, Callable[[], Tensor]] = {
        "monai_ima": lambda: ours().inputs,
        "hand-written": partial(handwritten_pgd, model, inputs, labels, case),
        "foolbox": lambda: foolbox_pgd(model, inputs, labels, case)[0],
        "ART": partial(art_pgd(model, inputs, case), inputs, labels),
    }
    frozen = deepcopy(model).requires_grad_(False)
    judge = partial(misclassified, frozen, inputs, labels)
    part = partial(input_gradients, frozen, inputs, labels, PGD_STEPS // len(attacks))
    seeded(part, frozen)  # warm up
    runs: dict[str, list[measuring.Run]] = defaultdict(list)
    floors = []
    for _ in range(rounds):
        seconds = seeded(judge, frozen).seconds
        for name, attack in attacks.items():
            seconds += seeded(part, frozen).seconds  # the floor is spread over the round
            runs[name].append(seeded(attack, model))
        floors.append(seconds)
    return [
        {
            **ball,
            "attack": name,
            "cpu_time_over_floor": measuring.ratios([run.seconds for run in same], floors),
            "floor_seconds": round(median(floors), 3),
            "forwards": same[-1].forwards,
            "gradients": same[-1].gradients,
            "robust_accuracy": (~misclassified(model, same[-1].result, labels))
            .double()
            .mean()
            .item(),
        }
        for name, same in runs.items()
    ]


def input_gradients(frozen: nn.Module, inputs: Tensor, labels: Tensor, steps: int) -> Tensor:
    """What every step of PGD needs, and nothing else."""
    for _ in range(steps):
        leaf = inputs.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(soft_margin(frozen(leaf), labels).sum(), leaf)
    return gradient


def handwritten_pgd(model: nn.Module, inputs: Tensor, labels: Tensor, case: Case) -> Tensor:
    """The usual loop: mean cross-entropy, ``backward`` through inputs and parameters alike."""
    perturbed = started(inputs, case, SampleDraws(SEED, torch.arange(len(inputs))))
    for _ in range(PGD_STEPS):
        perturbed = perturbed.detach().requires_grad_()
        loss = F.cross_entropy(model(perturbed), labels)
        model.zero_grad()
        loss.backward()
        assert perturbed.grad is not None
        step = RELATIVE_STEP * case.eps / PGD_STEPS
        perturbed = climbed(inputs, perturbed, perturbed.grad, case, step)
    return perturbed


# B-PGD against a plain reading of the paper


def measure_bpgd(
    model: CountingModel, inputs: Tensor, labels: Tensor, norm: str, eps: float, rounds: int
) -> dict[str, Any]:
    """A row; both must find the same points."""
    ball: dict[str, Any] = {"norm": norm, "eps": eps}
    ours = partial(bpgd, model, inputs, labels, steps=BPGD_STEPS, bisections=BISECTIONS, **ball)
    plain = partial(plain_bpgd, model, inputs, labels, Case(norm, eps, BPGD_STEPS))
    pairs = [(seeded(ours, model), seeded(plain, model)) for _ in range(rounds)]
    our_run, plain_run = pairs[-1]
    difference = (our_run.result.inputs - plain_run.result).abs().max().item()
    assert difference <= TOLERANCE, f"the two B-PGDs differ by {difference:.3g}"
    return {
        **ball,
        "crossed": our_run.result.success.float().mean().item(),
        "cpu_time_over_plain": measuring.ratios(
            [a.seconds for a, _ in pairs], [b.seconds for _, b in pairs]
        ),
        "forwards": our_run.forwards,
        "gradients": our_run.gradients,
        "plain_forwards": plain_run.forwards,
        "plain_gradients": plain_run.gradients,
        "largest_difference": difference,
    }


def plain_bpgd(model: nn.Module, inputs: Tensor, labels: Tensor, case: Case) -> Tensor:
    """Algorithm 3 to the letter: the whole sequence, then the search, all samples in both."""
    sequence, errs = [inputs], []
    for _ in range(BPGD_STEPS):
        perturbed = sequence[-1].detach().requires_grad_()
        logits = model(perturbed)
        model.zero_grad()
        soft_margin(logits, labels).sum().backward()
        assert perturbed.grad is not None
        errs.append(logits.argmax(dim=1) != labels)
        step = RELATIVE_STEP * case.eps / BPGD_STEPS
        sequence.append(climbed(inputs, perturbed, perturbed.grad, case, step))
    with torch.no_grad():
        errs.append(model(sequence[-1]).argmax(dim=1) != labels)
        crossed = torch.stack(errs).any(dim=0)
        first = torch.stack(errs).int().argmax(dim=0)
        iterates, sample = torch.stack(sequence), torch.arange(len(inputs))
        inside, outside = iterates[(first - 1).clamp(min=0), sample], iterates[first, sample]
        for _ in range(BISECTIONS):
            middle = (inside + outside) / 2
            correct = (model(middle).argmax(dim=1) == labels)[:, None, None, None]
            inside = torch.where(correct, middle, inside)
            outside = torch.where(correct, outside, middle)
    return torch.where(crossed[:, None, None, None], (inside + outside) / 2, sequence[-1])


if __name__ == "__main__":
    main()
