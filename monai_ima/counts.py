"""Whole numbers that a caller gives: how many steps, samples, patients."""

from __future__ import annotations


def checked_count(name: str, value: int, at_least: int) -> int:
    """Hand back a whole number of at least ``at_least``, or raise ``ValueError``."""
    if type(value) is not int or value < at_least:
        raise ValueError(f"expected {name} to be a whole number >= {at_least}, got {value!r}")
    return value
