"""How many steps, samples, patients: numbers that a caller gives, and numbers in a sentence."""

from __future__ import annotations


def checked_count(name: str, value: int, at_least: int) -> int:
    """Hand back a whole number of at least ``at_least``, or raise ``ValueError``."""
    if type(value) is not int or value < at_least:
        raise ValueError(f"expected {name} to be a whole number >= {at_least}, got {value!r}")
    return value


def counted(number: int, noun: str) -> str:
    """A number of things with their noun.

    Example:
        >>> counted(1, "sample"), counted(2, "sample")
        ('1 sample', '2 samples')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"
