"""Settings for which a config has no place, before MONAI looks for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver

from monai_ima.errors import RejectedError


def check_overrides(files: Sequence[str | Path], names: Iterable[str]) -> None:
    """See that the part which a setting is within is there; MONAI's own error does not name both.

    A new key in a part that is there is left to the checks of the config.

    Args:
        files: of the config.
        names: of the settings, such as ``train#dataloader#batch_size``.

    Raises:
        RejectedError: naming what is not there, and the nearest that is.
    """
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    for name in names:
        parts = ReferenceResolver.split_id(name.removeprefix("+"))
        place: Any = parser.config
        for depth, part in enumerate(parts, start=1):
            known = _inside(place)
            may_be_new = depth == len(parts) and isinstance(place, dict)
            if part not in known and not may_be_new:
                above = "".join(f"{each}#" for each in parts[: depth - 1])
                near = difflib.get_close_matches(part, known, n=1)
                hint = (
                    f"; did you mean --{'#'.join([above + near[0], *parts[depth:]])}?"
                    if near
                    else ""
                )
                raise RejectedError(
                    f"expected settings within what the config has, got --{name}, where there is no "
                    f"{above}{part}{hint}"
                )
            place = known.get(part)


def _inside(place: object) -> dict[str, Any]:
    if isinstance(place, list):
        return {str(at): each for at, each in enumerate(place)}
    return place if isinstance(place, dict) else {}
