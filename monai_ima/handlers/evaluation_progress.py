"""What an evaluation has finished, in a file that the next call finds."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from monai_ima.distributed import is_first
from monai_ima.handlers.record_file import RecordFile
from monai_ima.handlers.state_file import UnreadableStateError

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
        fragile = set(self.fragile)
        most = _SHOWN + len(fragile)
        rows = self.margins.argsort(stable=True, descending=True)[:most].tolist()
        return [row for row in rows if row not in fragile][:_SHOWN]

    def joined_with(self, other: Examples | None) -> Examples:
        """The most fragile and the hardest of both."""
        parts = [part for part in (other, self) if part is not None]
        both = Examples(*(torch.cat(values) for values in zip(*parts, strict=True)))
        rows = torch.tensor([*both.fragile, *both.hardest], dtype=torch.long)
        return Examples(*(values[rows] for values in both))


class Progress:
    """The finished part of an evaluation.

    Its file grows by what each chunk of samples and each check adds. Each of these records carries
    a digest of itself and of all that are before it: what does not match is not taken up.

    Args:
        path: of the file, which is not touched before something is added.
        identity: plain values that all of it depends on.

    Attributes:
        finished: number of samples that need no attack any more.
        examples: by norm.
        checks: by norm, then by name, as ``Check.to_dict()`` gives them.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.identity = identity
        self.finished = 0
        self._parts: list[dict[str, Tensor]] = []
        self.examples: dict[str, Examples] = {}
        self.checks: dict[str, dict[str, Any]] = {}
        self._file = RecordFile(path)

    @property
    def answers(self) -> dict[str, Tensor]:
        """By name, a row for each finished sample."""
        # joined when asked for: joined with each chunk, all would be copied as often as there are chunks
        if len(self._parts) > 1:
            names = list(self._parts[0])
            self._parts = [{name: torch.cat([p.pop(name) for p in self._parts]) for name in names}]
        return dict(self._parts[0]) if self._parts else {}

    def add(self, answers: dict[str, Tensor], found: dict[str, Examples]) -> None:
        """Append the answers of further samples, and those of their examples that are shown."""
        kept = self._take(answers, found)
        record = {"answers": answers, "examples": {n: part._asdict() for n, part in kept.items()}}
        if self._file.is_empty:
            record["identity"] = self.identity
        self._append(record)

    def add_checks(self, norm: str, checks: dict[str, Any]) -> None:
        """Append checks of a norm."""
        self.checks.setdefault(norm, {}).update(checks)
        self._append({"norm": norm, "checks": checks})

    def _append(self, record: dict[str, Any]) -> None:
        if is_first():
            self._file.append(record)

    def _take(self, answers: dict[str, Tensor], found: dict[str, Examples]) -> dict[str, Examples]:
        """Take up a chunk; those of its examples that are among the most fragile and the hardest."""
        kept = {}
        self._parts.append(dict(answers))
        self.finished += len(answers["labels"])
        for norm, examples in found.items():
            shown = self.examples[norm] = examples.joined_with(self.examples.get(norm))
            kept[norm] = Examples(*(v[torch.isin(examples.places, shown.places)] for v in examples))
        return kept

    @classmethod
    def read(cls, path: Path) -> Progress | None:
        """What a file holds, or ``None`` if there is none that can be read.

        Of a file that is cut short or damaged, what is before the damage.
        """
        if not path.exists():
            return None
        progress = cls(path, identity={})
        try:
            for record in progress._file.read():
                progress._take_up(record)
        except UnreadableStateError as error:
            _logger.warning(
                "%s cannot be read; the evaluation starts anew: expected what an evaluation has "
                "finished, got %s; the file will be in previous-1, -2, ...",
                path,
                error,
            )
            return None
        if progress._file.dropped:
            _logger.warning(
                "%s is cut short or damaged: its last %d bytes cannot be used; what is before "
                "them, of %d samples, is intact, and the others are attacked again",
                path,
                progress._file.dropped,
                progress.finished,
            )
        return progress

    def _take_up(self, record: dict[str, Any]) -> None:
        try:
            if "checks" in record:
                self.checks.setdefault(record["norm"], {}).update(record["checks"])
                return
            self.identity = record.get("identity", self.identity)
            self._take(
                record["answers"], {n: Examples(**kept) for n, kept in record["examples"].items()}
            )
            is_plausible = self._is_plausible(self._parts[-1])
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UnreadableStateError("a file of another kind") from error
        if not is_plausible:
            raise UnreadableStateError("answers that no evaluation gives")

    def _is_plausible(self, new: dict[str, Tensor]) -> bool:
        labels, probabilities = new["labels"], new["probabilities"]
        margins = [values for name, values in new.items() if name.endswith("/margins")]
        return bool(
            all(len(values) == len(labels) for values in new.values())
            and _forms(new) == _forms(self._parts[0])
            and ((labels >= 0) & (labels < probabilities.shape[1])).all()
            and ((probabilities >= 0) & (probabilities <= 1)).all()
            and all((values >= 0).all() for values in margins)  # infinite if no error was found
            and all(
                ((kept.places >= 0) & (kept.places < self.finished)).all()
                for kept in self.examples.values()
            )
        )


def _forms(answers: dict[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    """What answers must have in common to be joined."""
    return {name: (values.dtype, values.shape[1:]) for name, values in answers.items()}
