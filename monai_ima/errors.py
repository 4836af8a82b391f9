"""Errors whose message is for the person who typed a command."""

from __future__ import annotations


class RejectedError(ValueError):
    """What was asked cannot be done, or would not be what it says.

    The message says what was expected, what was got and what to do; ``monai-ima`` prints it without
    a traceback.
    """
