"""How to train with what a command has written, as a person would type it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue

from monai_ima.bundle.config_text import as_expression, plain_text


def training_commands(bundle: str, settings: Mapping[str, Any]) -> list[str]:
    """The training with one of the packed bundles; outside of a clone, behind the making of an own.

    Args:
        bundle: its name.
        settings: by name, which mean what they say.
    """
    config, before = Path("bundles", bundle, "train.json"), []
    if not config.exists():  # not in a clone of the repository
        study = _free_name("my_study")
        config, before = Path(study, "train.json"), [f"monai-ima new {study} --from {bundle}"]
    plain = {
        name: plain_text(value) if isinstance(value, str) else value
        for name, value in settings.items()
    }
    return [*before, run_command(config, plain)]


def run_command(config: Path, settings: Mapping[str, Any]) -> str:
    """The run of a bundle's config, with settings by name, as a config has them."""
    words = ["python", "-m", "monai.bundle", "run", "--config_file", config.as_posix()]
    for name, value in settings.items():
        words += [f"--{name}", setting_word(value) if isinstance(value, str) else json.dumps(value)]
    return " ".join(map(quoted, words))


def setting_word(text: str) -> str:
    """A word which MONAI's command reads as this text of a config, and not as a number."""
    return text if DefaultParseValue(text) == text else as_expression(text)


def quoted(word: str) -> str:
    """For a shell, as a person would."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def _free_name(name: str) -> str:
    """A name for a new folder: one that is there may be of other data, or of another bundle."""
    tried, number = name, 1
    while Path(tried).exists():
        number += 1
        tried = f"{name}_{number}"
    return tried
