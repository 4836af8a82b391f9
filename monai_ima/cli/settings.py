"""Settings of a bundle on the command line, as MONAI's own command takes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fire.parser import DefaultParseValue

from monai_ima.config_checks.command_line import cut_short
from monai_ima.errors import RejectedError


def settings_text(words: Sequence[str]) -> dict[str, str]:
    """The settings ``--NAME VALUE`` by name, as they were typed.

    Raises:
        RejectedError: if they are not such pairs.
    """
    names, values = words[::2], words[1::2]
    if len(names) != len(values) or not all(re.fullmatch(r"--\w[\w:#]*", name) for name in names):
        raise RejectedError(
            f"expected settings of the bundle as --NAME VALUE, got {' '.join(words)}"
        )
    return {name[2:]: value for name, value in zip(names, values, strict=True)}


def settings_values(words: Sequence[str]) -> dict[str, Any]:
    """The settings ``--NAME VALUE`` by name, read as ``python -m monai.bundle run`` reads them.

    Raises:
        RejectedError: if they are not such pairs, or one would not be read to its end.
    """
    if found := "; and ".join(cut_short(words)):
        raise RejectedError(found)
    return {name: DefaultParseValue(value) for name, value in settings_text(words).items()}
