"""A short training of the plain network: how far away its boundary is, and what steps cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from monai_ima.attacks import get_norm
from monai_ima.engines import RobustTrainer
from monai_ima.handlers import EpochSeedHandler
from monai_ima.objectives import IMA, CrossEntropy, Objective
from monai_ima.planning.flat_regions import reference_noise
from monai_ima.planning.training_parts import TrainingParts
from monai_ima.robustness import Protocol, closest_errors, get_protocol

ATTACK = get_protocol("minimum_norm", steps=40)
_HALVINGS = 10  # levels of the attack, from a thousandth of all that bounds allow
_STEPS = 100  # of the attack of a curve, where eval_steps are its own
_TIMED = 2  # batches whose time is taken, after a first one


@dataclass(frozen=True)
class Times:
    """What the parts of a training cost, in seconds on the device at hand.

    Attributes:
        epoch: all steps of an epoch.
        margin_pass: an update of all margins.
        validation: at the end of an epoch.
        curve: the robustness of all test samples.
    """

    epoch: float
    margin_pass: float
    validation: float
    curve: float

    def training(
        self, *, epochs: int, margin_interval: int, val_interval: int, robust_interval: int
    ) -> float:
        """Of a whole training; the curve is measured at the end whatever ``robust_interval`` is."""
        curves = 1 if robust_interval == 0 else -(-epochs // robust_interval)
        return (
            epochs * self.epoch
            + epochs // margin_interval * self.margin_pass
            + epochs // max(val_interval, 1) * self.validation
            + curves * self.curve
        )


@dataclass(frozen=True)
class Pilot:
    """What a short training of the plain network has shown.

    Attributes:
        epochs: of it.
        margins: ``(N,)`` of validation samples, in units of the inputs: 0 where the network is wrong.
        labels: ``(N,)`` their class indices.
        largest: noise that reaches every valid input, in the norm of the margins.
        shape: of one input, ``(C, *)``.
        samples: number of training, validation and test samples.
        noise: standard deviation of the noise in flat regions; ``None`` where there is none.
        times: what a training with margins costs.
    """

    epochs: int
    margins: Tensor
    labels: Tensor
    largest: float
    shape: tuple[int, ...]
    samples: tuple[int, int, int]
    noise: float | None
    times: Times

    @property
    def accuracy(self) -> float:
        """On the validation samples that were looked at."""
        return float((self.margins > 0).double().mean())

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the accuracies in the classes."""
        correct = (self.margins > 0).double()
        classes = [correct[self.labels == label].mean() for label in self.labels.unique()]
        return float(torch.stack(classes).mean())


def run_pilot(
    parts: TrainingParts,
    *,
    epochs: int,
    samples: int,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> Pilot:
    """Train the plain network, and measure. The test samples are counted, not looked at.

    Args:
        parts: of the training.
        epochs: of plain cross-entropy, with the class weights of the training.
        samples: of the validation set whose margins are measured, at most.
        seed: of the weights, the order of the samples and the choice of those that are measured.
        say: is told what happens next.
    """
    say(f"training the plain network: {epochs} epochs")
    parts.begin_anew(seed)
    plain = CrossEntropy(parts["objective"].class_weights)
    train(parts, plain, epochs, [EpochSeedHandler(seed)])
    inputs, labels = samples_of(parts, "validate", samples, seed)
    say(f"measuring its margins: {len(labels)} validation samples")
    start = time.perf_counter()
    margins = measured_margins(parts, inputs, labels, ATTACK)
    seconds = (time.perf_counter() - start) / len(labels)
    say("measuring what a training costs")
    datalist = parts["datalist"]
    counts = len(datalist.training), len(datalist.validation), len(datalist.test)
    low, high = parts["bounds"]
    whole = torch.full_like(inputs[:1], high - low)
    found = margins[(margins > 0) & margins.isfinite()]
    typical = float(found.quantile(0.5, interpolation="lower")) if len(found) else 0.0
    epoch, margin_pass = _training_times(parts, counts[0], typical)
    return Pilot(
        epochs,
        margins.cpu(),
        labels.cpu(),
        float(get_norm(parts["norm"]).length(whole)),
        tuple(inputs.shape[1:]),
        counts,
        reference_noise(inputs.cpu(), (low, high)),
        Times(
            epoch,
            margin_pass,
            _validation_time(parts, inputs, labels, typical) * counts[1],
            # by the protocol of the training, whose steps the attack here has fewer of
            seconds * (parts["eval_steps"] or _STEPS) / ATTACK.steps * counts[2],
        ),
    )


def train(parts: TrainingParts, objective: Objective, epochs: int, handlers: Sequence[Any]) -> None:
    """Train the network of the parts as the bundle does, without its folder.

    Args:
        parts: of the training.
        objective: of it.
        epochs: of it.
        handlers: of the trainer.
    """
    device = parts["device"]
    RobustTrainer(
        objective=objective.to(device),
        device=device,
        max_epochs=epochs,
        train_data_loader=parts["train::dataloader"],
        network=parts["network"],
        optimizer=parts["optimizer"],
        train_handlers=handlers,
        amp=parts["train::trainer::amp"],
        amp_kwargs=parts["train::trainer::amp_kwargs"],
    ).run()


def samples_of(parts: TrainingParts, section: str, number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Inputs and labels of some samples of a section, drawn at random, or of all.

    Args:
        parts: of the training.
        section: ``"validate"`` or ``"robustness"``, as the config calls it.
        number: at most so many.
        seed: of the choice.
    """
    batches = list(parts[f"{section}::dataloader"])
    inputs, labels = (
        torch.cat([torch.as_tensor(batch[key]) for batch in batches]) for key in ("image", "label")
    )
    inputs = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(labels), generator=generator)[:number]
    device = parts["device"]
    return inputs[chosen].to(device), labels.flatten()[chosen].to(device)


def measured_margins(
    parts: TrainingParts, inputs: Tensor, labels: Tensor, protocol: Protocol
) -> Tensor:
    """How far away the boundary of the parts' network is from samples, ``(N,)``."""
    low, high = parts["bounds"]
    norm = get_norm(parts["norm"])
    whole = float(norm.length(torch.full_like(inputs[:1], high - low)))
    return closest_errors(
        parts["network"],
        inputs,
        labels,
        eps=[0.0, *(whole * 2.0**-halvings for halvings in range(_HALVINGS, -1, -1))],
        norm=norm,
        protocol=protocol,
        bounds=(low, high),
        batch_size=parts["evaluation_batch_size"],
    ).margins


def _training_times(parts: TrainingParts, samples: int, margin: float) -> tuple[float, float]:
    """Seconds of an epoch and of an update of all margins, as large as the plain network's."""
    network, device = parts["network"], parts["device"]
    objective = parts["objective"].to(device)
    if isinstance(objective, IMA):
        objective.margins.margins.fill_(margin)
    loader = parts["train::dataloader"]
    batches = [_on(device, batch) for batch, _ in zip(loader, range(_TIMED + 1), strict=False)]

    amp, options = parts["train::trainer::amp"], parts["train::trainer::amp_kwargs"]

    def step(inputs: Tensor, labels: Tensor, index: Tensor) -> None:
        network.train()
        with torch.autocast(device.type, enabled=amp, **options):
            loss = objective(network, inputs, labels, index).loss
        loss.backward()
        network.zero_grad()

    epoch = _seconds(step, batches, device) * len(loader)
    if not isinstance(objective, IMA) or objective.margin_update == "step":
        return epoch, 0.0

    def update(inputs: Tensor, labels: Tensor, index: Tensor) -> None:
        objective.update_margins(network, inputs, labels, index)

    share = sum(len(labels) for _, labels, _ in batches) / len(batches) / samples
    return epoch, _seconds(update, batches, device) / share


def _validation_time(parts: TrainingParts, inputs: Tensor, labels: Tensor, margin: float) -> float:
    """Seconds of each sample at the end of an epoch, where one noise level is looked at."""
    number: int = min(len(labels), parts["batch_size"])
    start = time.perf_counter()
    closest_errors(
        parts["network"],
        inputs[:number],
        labels[:number],
        eps=[margin or 1e-3],
        norm=parts["norm"],
        protocol=get_protocol("paper", steps=parts["attack_steps"], restarts=1),
        bounds=tuple(parts["bounds"]),
    )
    seconds: float = time.perf_counter() - start
    return seconds / number


def _on(device: torch.device, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, labels and index of a batch."""
    image, label, index = (torch.as_tensor(batch[key]) for key in ("image", "label", "index"))
    image = image.as_tensor() if hasattr(image, "as_tensor") else image
    return image.to(device), label.flatten().to(device), index.flatten().to(device)


def _seconds(
    call: Callable[..., None], batches: Sequence[tuple[Tensor, ...]], device: torch.device
) -> float:
    """Of a call with a batch, on average; the first one, which warms up, does not count."""
    times = []
    for batch in batches:
        start = time.perf_counter()
        call(*batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    timed = times[1:] or times
    return sum(timed) / len(timed)
