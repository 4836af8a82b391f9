"""Texts of people in a config, in which MONAI's parser gives some signs a meaning."""

from __future__ import annotations


def plain_text(text: str) -> str:
    """A text that MONAI's parser hands back as it is.

    To the parser one that begins with ``@``, ``$`` or ``%`` is a reference, an expression or a macro, and a
    ``#`` anywhere is ``::``. Such a text becomes an expression of itself.
    """
    is_plain = not text.startswith(("@", "$", "%")) and "#" not in text and "::" not in text
    return text if is_plain else as_expression(text)


def as_expression(text: str) -> str:
    """An expression of a text, in which all signs that mean something to MONAI's parser are escaped.

    Between double quotes where it can be, which a shell's single quotes leave alone.
    """
    written = repr(text)
    if '"' not in text and "'" not in text:
        written = f'"{written[1:-1]}"'
    for sign in "@%#:":
        written = written.replace(sign, rf"\x{ord(sign):02x}")
    return f"${written}"
