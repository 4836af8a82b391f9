"""Margins of validation samples, among which a case's margin has its percentile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from monai_ima.handlers.json_file import read_json, write_json
from monai_ima.handlers.state_file import UnreadableStateError
from monai_ima.prediction.unlike import Levels
from monai_ima.robustness import Protocol, get_protocol


@dataclass(frozen=True)
class ReferenceMargins:
    """What a model's margins are on samples that it was not trained on.

    Attributes:
        margins: by norm, ``(N,)`` of each sample the distance to the nearest other answer that the
            attacks of the protocol found, in units of the inputs; infinite where they found none.
        protocol: these attacks.
        bounds: range of valid inputs.
        source: which samples they are, in words.
        levels: how bright and how varied they are, as ``levels_of`` has it;
            empty where it is not known.
    """

    margins: Mapping[str, Tensor]
    protocol: Protocol
    bounds: tuple[float, float]
    source: str
    levels: Levels = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write a JSON file, where an infinite margin is ``null``."""
        content = {
            "source": self.source,
            "n": len(next(iter(self.margins.values()))),
            "protocol": {
                "name": self.protocol.name,
                "version": self.protocol.version,
                "description": self.protocol.description,
                "settings": asdict(self.protocol),
            },
            "bounds": list(self.bounds),
            "levels": {name: list(ends) for name, ends in self.levels.items()},
            "margins": {
                norm: [
                    None if math.isinf(m) else m for m in margins.double().sort().values.tolist()
                ]
                for norm, margins in self.margins.items()
            },
        }
        write_json(path, content)

    @classmethod
    def read(cls, path: Path) -> ReferenceMargins:
        """What :meth:`write` has written.

        Raises:
            ValueError: if the file is damaged or of another kind, or this version of monai_ima has
                other attacks under the protocol's name.
        """
        try:
            content = read_json(path)
            said = content["protocol"]
            protocol = get_protocol(said["name"])
            if protocol.version != said["version"]:
                raise ValueError(
                    f"expected margins by version {protocol.version} of the protocol {protocol.name}, "
                    f"got version {said['version']} in {path}: percentiles among them would be of "
                    f"another attack; export the run again"
                )
            return cls(
                {norm: _tensor(margins) for norm, margins in content["margins"].items()},
                type(protocol)(**said["settings"]),
                (float(content["bounds"][0]), float(content["bounds"][1])),
                str(content["source"]),
                {
                    name: (float(least), float(most))
                    for name, (least, most) in content.get("levels", {}).items()
                },
            )
        except (UnreadableStateError, KeyError, TypeError, IndexError) as error:
            raise ValueError(
                f"expected {path} to hold the margins of validation samples, got {error}; export the "
                "run again"
            ) from error


def _tensor(margins: list[Any]) -> Tensor:
    found = [math.inf if margin is None else float(margin) for margin in margins]
    return torch.tensor(found, dtype=torch.float64)
