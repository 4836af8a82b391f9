"""From the parts of a training to a plan of one with margins."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path

import torch
from monai.bundle import ConfigParser

from monai_ima.data import TensorSamples
from monai_ima.errors import RejectedError
from monai_ima.evaluate_run import EVALUATE
from monai_ima.planning.pilot import Pilot, run_pilot
from monai_ima.planning.plan import Plan
from monai_ima.planning.proposal import FEWEST_CORRECT, propose
from monai_ima.planning.quicker import quicker
from monai_ima.planning.training_parts import TrainingParts
from monai_ima.planning.trials import Trial, settled, try_radii
from monai_ima.report import Units

_CHOSEN = ("noise_levels", "eps_max", "max_epochs")
_TO_DO = (
    "give more --max_epochs, another --learning_rate, more training samples or, where it has few, a "
    "larger validation set (of a list: monai-ima datalist with --fractions 0.5 0.3 0.2)"
)
_TO_MEASURE = 128  # validation samples, whose median margin is asked for
_TO_COMPARE = 400  # as docs/results/plan.md has it
_BETTER_THAN_CHANCE = 0.1  # of the way from chance to 1, as the report of an evaluation has it


def make_plan(
    parts: TrainingParts,
    *,
    samples: int | None = None,
    trials: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Train the plain network of a bundle briefly, and propose the settings of a training with margins.

    Of ``noise_levels``, ``eps_max`` and ``max_epochs`` those that the parts were given stay, and the
    others follow from them.

    Args:
        parts: of the training.
        samples: of the validation set that are looked at, at most; by default 128, and 400 where radii
            are tried, by which they are compared.
        trials: train with once, twice and four times the ``eps_max`` that the margins propose, too, and
            take the largest that is not worse by validation samples.
        say: is told what happens next.

    Raises:
        RejectedError: if ``delta`` was given, which follows from the others, or ``eps_max`` where it is to
            be tried, ``samples`` is below 10, or the plain network has learned nothing by which anything
            could be proposed.
    """
    settings = parts.settings
    if "delta" in settings:
        raise RejectedError(
            "expected delta to follow from eps_max and max_epochs, got --delta; give --max_epochs "
            "instead, or change delta in the bundle that is written"
        )
    if trials and "eps_max" in settings:
        raise RejectedError(
            "expected eps_max to be tried, got --eps_max beside --trials; give only one of them"
        )
    if samples is None:
        samples = _TO_COMPARE if trials else _TO_MEASURE
    if samples < FEWEST_CORRECT:
        raise RejectedError(
            f"expected at least {FEWEST_CORRECT} samples for a median margin, got {samples}"
        )
    validation = len(parts["datalist"].validation)
    if validation < FEWEST_CORRECT:  # before minutes of training
        raise RejectedError(
            f"expected at least {FEWEST_CORRECT} validation samples for a median margin, got "
            f"{validation}; take a larger share of them (monai-ima datalist with --fractions 0.5 0.3 "
            "0.2), or set eps_max by hand, and train without a plan"
        )
    pilot = run_pilot(
        parts, epochs=parts["max_epochs"], samples=samples, seed=parts["seed"], say=say
    )
    _check_learned(pilot)
    chosen = {name: parts[name] for name in _CHOSEN if name in settings}
    try:
        proposal = propose(
            pilot.margins,
            largest=pilot.largest,
            margin_interval=parts["margin_interval"],
            fewest_epochs=parts["max_epochs"],
            **chosen,
        )
    except ValueError as error:
        raise RejectedError(f"{error}; {_TO_DO}") from error
    tried: list[Trial] = []
    if trials:
        tried = try_radii(
            parts, proposal, samples=samples, largest=pilot.largest, seed=parts["seed"], say=say
        )
        proposal = settled(proposal, tried, pilot.margins)
    seconds = pilot.times.training(
        epochs=proposal.max_epochs,
        margin_interval=parts["margin_interval"],
        val_interval=parts["val_interval"],
        robust_interval=parts["robust_interval"],
    )
    root = parts.configs[0].resolve().parent
    return Plan(
        root.name, settings, parts["norm"], proposal, pilot, _units(parts, root, pilot.shape), seconds,
        _device_name(torch.device(parts["device"])), quicker(parts, pilot.times, epochs=proposal.max_epochs),
        tried,
    )  # fmt: skip


def _check_learned(pilot: Pilot) -> None:
    classes = len(pilot.labels.unique())
    chance = 1 / classes
    if pilot.balanced_accuracy < chance + _BETTER_THAN_CHANCE * (1 - chance):
        raise RejectedError(
            f"expected the plain network to learn something in {pilot.epochs} epochs, got "
            f"{pilot.accuracy:.1%} of {len(pilot.margins)} validation samples correct, and "
            f"{pilot.balanced_accuracy:.1%} balanced over {classes} classes; margins of such a network say "
            f"nothing; {_TO_DO}"
        )


def _units(parts: TrainingParts, root: Path, shape: tuple[int, ...]) -> Units | None:
    """Those that the bundle's evaluation has."""
    path = root / EVALUATE
    if not path.is_file():
        return None
    units = json.loads(path.read_text("utf-8")).get("units")
    names = [name for name in ("imports", "bounds", "intensity_range") if name in parts.parser]
    training = parts["datalist"].training
    # of the kind of the first are all; tensors have no file
    first = None if isinstance(training, TensorSamples) else training[0]["image"]
    samples = [{"image": str(first)}] if isinstance(first, str | Path) else []
    parser = ConfigParser(
        {"units": units, "samples": samples, **{name: parts.parser[name] for name in names}}
    )
    return Units.of({"units": parser.get_parsed_content("units"), "shape": shape})


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"a CPU ({platform.machine()}, {torch.get_num_threads()} threads)"
