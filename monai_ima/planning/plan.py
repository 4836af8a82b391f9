"""What a training with margins should be set to, and why, in words and as JSON."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from monai_ima import __version__
from monai_ima.counts import counted
from monai_ima.data.sample import SECTIONS
from monai_ima.handlers.margin_update import too_near
from monai_ima.planning.pilot import ATTACK, Pilot
from monai_ima.planning.proposal import (
    EPS_MAX_PER_HIGHEST,
    HIGHEST_PER_MARGIN,
    Proposal,
)
from monai_ima.planning.quicker import Quicker
from monai_ima.planning.trials import Trial, in_words
from monai_ima.report import NORM_NAMES, Units
from monai_ima.report.units import size_in_words

_FEW = 30  # margins, whose median is not to be relied on
_WIDTH = 100


@dataclass(frozen=True)
class Plan:
    """Settings of a training with margins, and what they were chosen by.

    Attributes:
        bundle: name of the bundle.
        given: settings that were given, by name.
        norm: of the noise.
        proposal: the settings that were chosen.
        pilot: what a short training of the plain network has shown.
        units: of the data; ``None`` where they are not known.
        seconds: of the whole training, on this device.
        device: on which it was measured.
        quicker: settings that make it shorter, if it is long.
        trials: trainings with several ``eps_max``, by which that of the proposal was chosen; none where
            the margins of the plain network decided.
    """

    bundle: str
    given: Mapping[str, Any]
    norm: str
    proposal: Proposal
    pilot: Pilot
    units: Units | None
    seconds: float
    device: str
    quicker: Sequence[Quicker] = ()
    trials: Sequence[Trial] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """All settings that differ from the bundle's, by name."""
        proposal = self.proposal
        return {
            **self.given,
            "eps_max": proposal.eps_max,
            "delta": proposal.delta,
            "noise_levels": list(proposal.noise_levels),
            "max_epochs": proposal.max_epochs,
        }

    @property
    def reasons(self) -> dict[str, str]:
        """Why each of the four settings is what it is, in a sentence, by name."""
        proposal, given = self.proposal, self.given
        correct = self.pilot.margins[self.pilot.margins > 0]
        lost = float((correct <= proposal.noise_levels[-1]).double().mean())
        levels = f"up to {HIGHEST_PER_MARGIN:g} times the median margin"
        if "noise_levels" in given:
            levels = "given"
        elif "eps_max" in given:
            levels = f"up to 1/{EPS_MAX_PER_HIGHEST:g} of eps_max, which is given"
        eps_max = (
            f"{proposal.eps_max / proposal.noise_levels[-1]:.2g} times the highest noise level: in trials, "
            "margins that could grow well beyond it made the more accurate networks up to it"
        )
        if self.trials:
            eps_max = in_words(self.trials)
        delta = (
            f"by which a margin grows to eps_max in these epochs; {1 - proposal.nearer:.0%} of the "
            "plain network's margins are larger, so that these samples can follow their boundary"
        )
        if self.trials:
            (taken,) = (each for each in self.trials if each.eps_max == proposal.eps_max)
            delta = (
                "by which a margin grows to eps_max in these epochs; in the end of that training the mean "
                f"margin was {taken.margin / taken.delta:.2g} times as large"
            )
        updates = round(proposal.eps_max / proposal.delta)
        epochs = f"the {updates} updates that a margin needs to grow from delta to eps_max"
        if proposal.max_epochs == self.pilot.epochs:
            epochs = "those of the bundle, in which a margin can grow to eps_max"
        return {
            "noise_levels": f"{levels}, where the plain network has lost {lost:.0%} of its correct answers",
            "eps_max": "given" if "eps_max" in given else eps_max,
            "delta": delta,
            "max_epochs": "given" if "max_epochs" in given else epochs,
        }

    @property
    def warnings(self) -> list[str]:
        """What a reader has to know before the training."""
        proposal, pilot = self.proposal, self.pilot
        near = too_near(
            pilot.margins,
            delta=proposal.delta,
            eps_max=proposal.eps_max,
            whose="validation samples that the plain network recognises",
        )
        found = []
        if near and not self.trials:  # which have shown what comes of it
            found.append(f"{near}; or take more epochs, with which delta is smaller")
        correct = int((pilot.margins > 0).sum())
        if correct < _FEW:
            found.append(
                f"the median margin is that of {correct} samples: with others, all of this may be another"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain values, for a JSON file."""
        pilot, proposal = self.pilot, self.proposal
        return {
            "version": __version__,
            "bundle": self.bundle,
            "given": dict(self.given),
            "norm": self.norm,
            "proposal": {
                "noise_levels": list(proposal.noise_levels),
                "eps_max": proposal.eps_max,
                "delta": proposal.delta,
                "max_epochs": proposal.max_epochs,
            },
            "reasons": self.reasons,
            "warnings": self.warnings,
            "units": None
            if self.units is None
            else {"name": self.units.name, "per_unit": self.units.per_unit},
            "plain_network": {
                "epochs": pilot.epochs,
                "accuracy": pilot.accuracy,
                "median_margin": proposal.margin,
                # null where no error was found
                "margins": [None if math.isinf(m) else m for m in pilot.margins.tolist()],
                "attack": ATTACK.description,
            },
            "reference_noise": pilot.noise,
            "samples": dict(zip(SECTIONS, pilot.samples, strict=True)),
            "input_shape": list(pilot.shape),
            "seconds": {"training": self.seconds, **asdict(pilot.times)},
            "device": self.device,
            "quicker": [asdict(one) for one in self.quicker],
            "trials": [asdict(one) for one in self.trials],
        }

    def text(self) -> str:
        """The plan for a person: what was seen, what follows from it, and how long it will take."""
        pilot, proposal = self.pilot, self.proposal
        training, validation, test = pilot.samples
        counts = f"{training} training, {validation} validation and {test} test samples"
        learned = f"{pilot.accuracy:.1%} of {len(pilot.margins)} validation samples are correct"
        noise = pilot.noise
        seen = {
            "data": f"{counts} of {size_in_words(pilot.shape)}; the test samples were not looked at",
            "noise": "none that could be measured in flat regions"
            if noise is None
            else f"{self._words(noise, 'linf')}, its standard deviation in flat regions",
            "plain network": f"after {pilot.epochs} epochs {learned}",
            "its margins": f"{self._words(proposal.margin)} in {NORM_NAMES[self.norm]}, their median",
        }
        lines = [f"{self.bundle}", ""]
        for name, said in seen.items():
            first, *more = textwrap.wrap(said, _WIDTH - 16)
            lines += [f"  {name:<13} {first}", *(f"{'':16}{line}" for line in more)]
        lines.append("")
        shown = {
            "noise_levels": f"[{', '.join(f'{level:g}' for level in proposal.noise_levels)}]",
            "eps_max": f"{self._words(proposal.eps_max)}",
            "delta": f"{self._words(proposal.delta)}",
            "max_epochs": str(proposal.max_epochs),
        }
        for name, value in shown.items():
            first, *more = textwrap.wrap(value, _WIDTH - 16)
            lines.append(f"  {name:<13} {first}")
            reason = textwrap.wrap(self.reasons[name], _WIDTH - 16)
            lines += [f"{'':16}{line}" for line in (*more, *reason)]
        lines += ["", f"  it will take about {duration(self.seconds)} on {self.device}"]
        for one in self.quicker:
            said = f"with {one.words} about {duration(one.seconds)}: {one.price}"
            first, *more = textwrap.wrap(said, _WIDTH - 4)
            lines += [f"  {first}", *(f"    {line}" for line in more)]
        for warning in self.warnings:
            lines += ["", *textwrap.wrap(f"LOOK  {warning}", _WIDTH, subsequent_indent="      ")]
        return "\n".join(lines)

    def _words(self, eps: float, norm: str | None = None) -> str:
        """A size of noise in units of the inputs and of the data, and as a share of the reference noise."""
        norm = norm or self.norm
        parts = [] if self.units is None else [self.units.words(eps, norm)]
        each = eps if norm == "linf" else eps * math.prod(self.pilot.shape) ** -0.5
        if self.pilot.noise is not None and eps != self.pilot.noise:
            parts.append(f"{each / self.pilot.noise:.2g} times the noise of flat regions")
        return f"{eps:.3g}" + (f" ({', '.join(parts)})" if parts else "")


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    Example:
        >>> duration(5400)
        '1.5 hours'
    """
    if seconds < 90:
        return counted(max(round(seconds), 1), "second")
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.2g} hours"
    return f"{seconds / 86400:.2g} days"
