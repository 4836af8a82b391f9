"""What MONAI's command makes of the words that were typed."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from fire.parser import DefaultParseValue


def typed_words() -> Sequence[str]:
    """The words of ``python -m monai.bundle``, if that is what runs."""
    is_monais = Path(*sys.argv[:1]).parts[-3:] == ("monai", "bundle", "__main__.py")
    return sys.argv[1:] if is_monais else ()


def cut_short(words: Sequence[str]) -> Iterator[str]:
    """Complain of settings ``--NAME VALUE`` that are read up to a ``#``, behind which is a remark to Python."""
    single = (part for word in words for part in word.split("=", 1 if word[:2] == "--" else 0))
    for name, value in itertools.pairwise(single):
        kept, sign, _ = value.partition("#")
        if name[:2] != "--" or value[:2] == "--" or not sign:
            continue
        if DefaultParseValue(value) == DefaultParseValue(kept.rstrip()):
            written = value.replace("#", r"\x23")
            yield (
                f"expected {name[2:]} without a #, got {value!r}, which is read as {kept.rstrip()!r}; "
                f"write it as an expression, like \"$'{written}'\""
            )
