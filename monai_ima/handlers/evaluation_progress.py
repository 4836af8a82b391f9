"""What an evaluation has finished, in a file that the next call finds."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from monai_ima.handlers.files import write_whole

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
            content = torch.load(path, map_location="cpu", weights_only=True)
            examples = {norm: Examples(**kept) for norm, kept in content.pop("examples").items()}
            return cls(**content, examples=examples)
        except Exception:  # from the unpickler of any file: KeyError, EOFError and many more
            _logger.exception("%s cannot be read; the evaluation starts anew", path)
            return None

    def write(self, path: Path) -> None:
        """Replace the file in one step."""
        content = {
            **vars(self),
            "examples": {n: kept._asdict() for n, kept in self.examples.items()},
        }
        write_whole(path, lambda unfinished: torch.save(content, unfinished))
