"""Values that a config asks for by name."""

from __future__ import annotations

from typing import Any, Literal

from monai_ima.effective_config import current_resolver

_REQUIRED = object()


def given(key: str, default: Any = _REQUIRED) -> Any:
    """What another file of the config, or the command line, gives a key that this one leaves open.

    A reference to a key that nobody gives would be an error of MONAI's. To be called by an
    expression in a config.

    Args:
        key: top-level key of the config.
        default: what is meant where nobody gives the key.

    Raises:
        ValueError: if nobody gives the key, and there is no default.
    """
    resolver = current_resolver()
    if key in resolver.items:
        return resolver.get_resolved_content(key)
    if default is _REQUIRED:
        raise ValueError(
            f"expected a {key}, got none; add --{key} ..., or a file that has it to --config_file"
        )
    return default


def flag(name: str, value: object) -> bool:
    """A setting that is true or false; the command line hands over the words.

    Raises:
        ValueError: if it is neither.
    """
    word = str(value).lower()
    if word not in ("true", "false"):
        raise ValueError(f"expected {name} to be true or false, got {value!r}")
    return word == "true"


def flag_or_auto(name: str, value: object) -> bool | Literal["auto"]:
    """A setting that is true, false, or ``"auto"``: as it fits.

    Raises:
        ValueError: if it is none of them.
    """
    return "auto" if value == "auto" else flag(name, value)
