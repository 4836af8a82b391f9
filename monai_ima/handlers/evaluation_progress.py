"""What an evaluation has finished, in a file that the next call finds."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from monai_ima.handlers.state_file import UnreadableStateError, read_state, write_state

_logger = logging.getLogger(__name__)
_SHOWN = 4


class Examples(NamedTuple):
    """Correctly classified samples for a person to look at, with the closest errors found.

    Attributes:
        places: ``(K,)`` places in the data set.
        margins: ``(K,)`` distances of the errors, infinite where none was found.
        clean: ``(K, *)`` samples.
        attacked: ``(K, *)`` their errors; the sample itself where none was found.
    """

    places: Tensor
    margins: Tensor
    clean: Tensor
    attacked: Tensor

    @property
    def fragile(self) -> list[int]:
        """Rows of the smallest margins, smallest first."""
        return self.margins.argsort(stable=True)[:_SHOWN].tolist()

    @property
    def hardest(self) -> list[int]:
        """Rows of the largest margins, largest first, but those that are among the fragile."""
        rows = self.margins.argsort(stable=True, descending=True).tolist()
        return [row for row in rows if row not in self.fragile][:_SHOWN]

    def joined_with(self, other: Examples | None) -> Examples:
        """The most fragile and the hardest of both."""
        parts = [part for part in (other, self) if part is not None]
        both = Examples(*(torch.cat(values) for values in zip(*parts, strict=True)))
        rows = torch.tensor([*both.fragile, *both.hardest], dtype=torch.long)
        return Examples(*(values[rows] for values in both))


@dataclass
class Progress:
    """The finished part of an evaluation.

    Attributes:
        identity: plain values that all of it depends on.
        answers: by name, a row for each finished sample.
        examples: by norm.
        checks: by norm, then by name, as ``Check.to_dict()`` gives them.
    """

    identity: dict[str, Any]
    answers: dict[str, Tensor] = field(default_factory=dict)
    examples: dict[str, Examples] = field(default_factory=dict)
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def finished(self) -> int:
        """Number of samples that need no attack any more."""
        return len(self.answers["labels"]) if self.answers else 0

    def add(self, answers: dict[str, Tensor], examples: dict[str, Examples]) -> None:
        """Append the answers of further samples, and replace the examples."""
        self.examples = examples
        self.answers = {
            name: torch.cat([self.answers[name], values]) if self.answers else values
            for name, values in answers.items()
        }

    @classmethod
    def read(cls, path: Path) -> Progress | None:
        """What a file holds, or ``None`` if there is none that can be read."""
        if not path.exists():
            return None
        try:
            return cls._of(read_state(path, [entry.name for entry in fields(cls)]))
        except UnreadableStateError as error:
            _logger.warning(
                "%s cannot be read; the evaluation starts anew: expected what an evaluation has "
                "finished, got %s; the file will be in previous-1, -2, ...",
                path,
                error,
            )
            return None

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Progress:
        try:
            examples = {norm: Examples(**kept) for norm, kept in content.pop("examples").items()}
            progress = cls(**content, examples=examples)
            is_plausible = progress._is_plausible()
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UnreadableStateError("a file of another kind") from error
        if not is_plausible:
            raise UnreadableStateError("answers that no evaluation gives")
        return progress

    def _is_plausible(self) -> bool:
        if not self.answers:
            return True
        n, probabilities = self.finished, self.answers["probabilities"]
        labels = self.answers["labels"]
        margins = [values for name, values in self.answers.items() if name.endswith("/margins")]
        return bool(
            all(len(values) == n for values in self.answers.values())
            and ((labels >= 0) & (labels < probabilities.shape[1])).all()
            and ((probabilities >= 0) & (probabilities <= 1)).all()
            and all((values >= 0).all() for values in margins)  # infinite if no error was found
            and all(
                ((kept.places >= 0) & (kept.places < n)).all() for kept in self.examples.values()
            )
        )

    def write(self, path: Path) -> None:
        """Replace the file in one step."""
        content = {
            **vars(self),
            "examples": {n: kept._asdict() for n, kept in self.examples.items()},
        }
        write_state(path, content)
