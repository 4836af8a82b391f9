"""Texts of people in a config, in which MONAI's parser gives some signs a meaning."""

from __future__ import annotations


def plain_text(text: str) -> str:
    """A text that MONAI's parser hands back as it is.

    To the parser one that begins with ``@``, ``$`` or ``%`` is a reference, an expression or a macro, and a
    ``#`` anywhere is ``::``. Such a text becomes an expression of itself, in which these signs are escaped.
    """
    if not text.startswith(("@", "$", "%")) and "#" not in text and "::" not in text:
        return text
    written = repr(text)
    for sign in "@%#:":
        written = written.replace(sign, rf"\x{ord(sign):02x}")
    return f"${written}"
