"""Tables in Markdown, and texts of people in it."""

from __future__ import annotations

import re
from collections.abc import Sequence

# An underscore within a word is one, as in names of runs, which are read on the console, too.
_MARKUP = re.compile(r"[\\`*<|$~]|(?<!\w)_|_(?!\w)|(?<=\])[(\[]|&(?=#?\w+;)")


def markdown_text(text: str) -> str:
    r"""A text, as a name, that Markdown shows as it is, in a cell of a table as well: in one line.

    Example:
        >>> print(markdown_text("A|B *bold* run_1"))
        A\|B \*bold\* run_1
    """
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of one length, the first of which is the heading, of texts in Markdown.

    Example:
        >>> print(markdown_table([("eps", "accuracy"), ("0", "0.9")]))
        | eps | accuracy |
        | --- | --- |
        | 0 | 0.9 |
    """
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
