"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of one length, the first of which is the heading.

    Example:
        >>> print(markdown_table([("eps", "accuracy"), ("0", "0.9")]))
        | eps | accuracy |
        | --- | --- |
        | 0 | 0.9 |
    """
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
