"""Write train.json and evaluate.json of every bundle from bundle_sources, where what bundles share is once.

    python scripts/assemble_bundles.py

A bundle's files are complete, and can be read and copied without the rest; what is to change in one is
changed in its source. A source is a config file of MONAI's that goes over those before it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

ROOT = Path(__file__).resolve().parents[1]
SOURCES, BUNDLES = ROOT / "bundle_sources", ROOT / "bundles"
# What follows what all trainings share in the bundle's own files.
TRAINED = {"oct_ima": ["oct_ima"], "volume_ima": ["oct_ima", "volume_ima"]} | {
    name: ["tensors", name] for name in ("ecg_ima", "fashion_mnist_ima", "moons_ima", "svhn_ima")
}
FIRST = {"train.json": ["train"], "evaluate.json": ["report", "evaluate"]}
LAYERS = {
    f"{bundle}/{file}": [f"common/{name}.json" for name in first]
    + [f"{layer}/{file}" for layer in layers]
    for bundle, layers in TRAINED.items()
    for file, first in FIRST.items()
} | {
    "robustness_evaluation/evaluate.json": [
        "common/report.json",
        "robustness_evaluation/evaluate.json",
    ]
}
WIDTH = 140  # of a line that holds more than one value


def main() -> None:
    """Write the files of all bundles."""
    for file, layers in LAYERS.items():
        (BUNDLES / file).write_text(assembled(layers), encoding="utf-8")


def assembled(layers: list[str]) -> str:
    """The text of the config that these sources make together.

    MONAI merges them: a key replaces that of an earlier source, ``a::b`` reaches into a section, and
    ``+key`` adds to one. The keys of the first are in its order, and a new one of a later source
    follows the key before it there.
    """
    paths = [SOURCES / layer for layer in layers]
    merged = ConfigParser.load_config_files([str(path) for path in paths])
    order: list[str] = []
    for path in paths:
        place = 0
        for key in json.loads(path.read_text(encoding="utf-8")):
            top = key.lstrip("+").partition("::")[0]
            if top not in order:
                order.insert(place, top)
            place = order.index(top) + 1
    return _written({key: merged[key] for key in order}) + "\n"


def _written(value: Any, indent: str = "", key: str = "") -> str:
    """Lines of JSON: what fits into one is in one, and plain arguments of a part fill theirs."""
    start = f"{indent}{json.dumps(key)}: " if key else indent
    line = start + json.dumps(value, ensure_ascii=False)
    if not _is_nested(value) or (indent and len(line) <= WIDTH):
        return line
    items = value.items() if isinstance(value, dict) else (("", item) for item in value)
    lines = [_written(item, indent + "  ", name) for name, item in items]
    if indent and isinstance(value, dict) and not any(map(_is_nested, value.values())):
        lines = _filled(lines)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{start}{opening}\n" + ",\n".join(lines) + f"\n{indent}{closing}"


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def _filled(lines: list[str]) -> list[str]:
    filled = lines[:1]
    for line in lines[1:]:
        longer = f"{filled[-1]}, {line.lstrip()}"
        filled[-1:] = [longer] if len(longer) <= WIDTH else [filled[-1], line]
    return filled


if __name__ == "__main__":
    main()
