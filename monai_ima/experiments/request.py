"""What is asked of a run: method, seed and options, and whether they go together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from monai_ima.errors import RejectedError
from monai_ima.experiments.data_sets import DATA_SETS, split_method

# Settings that are chosen here, for a training and for an evaluation.
CHEAP = {"protocol": "screen", "eval_steps": "1", "robust_interval": "0"}
CURVE_ONLY = {"check_samples": "0", "noise_draws": "0", "auroc_steps": "0"}
_CHOSEN_HERE = {*CHEAP, *CURVE_ONLY, "noise_levels", "evaluation_levels", "output_dir"}
_CHOSEN_HERE |= {"evaluation_dir", "eval_restarts", "method", "resume"}
_OBJECTIVES_OWN = "(adv|ddn|iaat|trades)_"
_PRIVATE = {"dataset_dir", "datalist_file"}  # paths of whoever made the run


class Request(NamedTuple):
    """A run that is to be made.

    Attributes:
        data: name of the data set.
        size: name of the size, which is in front of the result's file name.
        norm: of the noise.
        protocol: of the evaluation.
        method: as in the tables, with its strength if it has one.
        seed: of the training and of the attacks.
        given: options of the bundle by name, without the method's own strength.
    """

    data: str
    size: str
    norm: str
    protocol: str
    method: str
    seed: int
    given: dict[str, str]

    @property
    def file_name(self) -> str:
        """Of the result, without its suffix."""
        return f"{self.size}_{self.norm}_{self.method}_seed{self.seed}"

    @property
    def options(self) -> dict[str, str]:
        """All options of the training."""
        levels = str(DATA_SETS[self.data].levels(self.norm))
        _, strength = split_method(self.method)
        return self.given | {"seed": str(self.seed), **strength, "noise_levels": levels}

    def check_same(self, result: Mapping[str, Any], path: Path) -> None:
        """Reject a result that is there already, but was asked for with other options.

        Raises:
            RejectedError: naming what differs.
        """
        if differing := differences(public(self.options), result["options"]):
            raise RejectedError(
                f"expected the options that {path} was made with, but {differing}; choose another "
                "--name, or give the same options"
            )


def check_options(options: Iterable[str]) -> None:
    """Reject options of the bundle that are chosen here.

    Raises:
        RejectedError: naming one.
    """
    if own := sorted(_CHOSEN_HERE.intersection(options)):
        raise RejectedError(f"expected no --{own[0]}, which is chosen here; leave it out")


def check_methods(methods: Iterable[str], options: Iterable[str]) -> None:
    """Reject methods that do not exist, and options that only another method knows.

    Raises:
        RejectedError: naming the method or the option.
    """
    options = list(options)
    for method in methods:
        kind, _ = split_method(method)
        for name in options:
            if (whose := re.match(_OBJECTIVES_OWN, name)) and whose[1] != kind:
                raise RejectedError(
                    f"expected --{name} with the method {whose[1]} alone, got also {method}; call "
                    "once for each, or write the strength behind the name, as in adv0.1"
                )


def public(options: Mapping[str, str]) -> dict[str, str]:
    """The options without the paths of whoever made the run."""
    return {name: value for name, value in options.items() if name not in _PRIVATE}


def known_to_an_evaluation(options: Mapping[str, str]) -> dict[str, str]:
    """The options without those of a training's objective."""
    return {name: v for name, v in options.items() if not re.match(_OBJECTIVES_OWN, name)}


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Which options differ, and how, in a sentence; "" if none do."""
    names = [n for n in sorted(ours.keys() | theirs.keys()) if ours.get(n) != theirs.get(n)]
    return ", ".join(f"{name} is {theirs.get(name)} there, {ours.get(name)} here" for name in names)
