"""The data sets and methods that are measured, the paper's and one of volumes, as the bundles have them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from monai_ima.errors import RejectedError
from monai_ima.installed_bundles import bundle_folder, method_names

STRENGTHS = {"adv": "adv_eps", "iaat": "iaat_eps", "trades": "trades_beta"}


class DataSet(NamedTuple):
    """A data set, whose bundle has its settings, and its levels if it has none of its own.

    Attributes:
        bundle: name of the bundle.
        accuracy: the accuracy that the paper's table has, by its name in a result file.
        class_levels: of each norm, the levels at which its tables have each class; its settings then
            say how frequent the classes are, ``test_shares``.
        own_levels: noise levels of a norm that are not the bundle's.
    """

    bundle: str
    accuracy: str = "accuracy"
    class_levels: Mapping[str, Sequence[float]] = {}
    own_levels: Mapping[str, Sequence[float]] = {}

    def config(self, name: str) -> dict[str, Any]:
        """One of the bundle's files, without its suffix."""
        path = bundle_folder(self.bundle) / f"{name}.json"
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return content

    def levels(self, norm: str) -> list[float]:
        """Noise levels of a norm; the largest one is ``eps_max``, too."""
        if norm in self.own_levels:
            return list(self.own_levels[norm])
        train = self.config("train")
        levels: list[float] = (
            train["noise_levels"]
            if norm == train["norm"]
            else self.config("evaluate")["evaluation_levels"][norm]
        )
        return levels


DATA_SETS = {
    "ecg": DataSet(
        "ecg_ima",
        accuracy="balanced_accuracy",
        class_levels={"linf": (0, 0.05, 0.1, 0.2), "l2": (0, 0.25, 0.5, 1)},
    ),
    "fashion_mnist": DataSet("fashion_mnist_ima"),
    "oct": DataSet("oct_ima"),
    "svhn": DataSet("svhn_ima"),
    "hippocampus": DataSet("volume_ima", own_levels={"linf": (0, 0.005, 0.01, 0.02, 0.03, 0.04)}),
    "moons": DataSet("moons_ima"),
}


def split_method(method: str) -> tuple[str, dict[str, str]]:
    """Name of a method and its strength as a setting, from both in one word.

    Raises:
        RejectedError: if there is no such method, or it has no strength.

    Example:
        >>> split_method("adv0.1")
        ('adv', {'adv_eps': '0.1'})
    """
    found = re.fullmatch(r"([a-z]+)(\d[\d.]*)?", method)
    kind, strength = found.groups() if found else (method, None)
    if kind not in method_names() or (strength and kind not in STRENGTHS):
        raise RejectedError(
            f"expected a method among {', '.join(method_names())}, of which {', '.join(STRENGTHS)} "
            f"may have their strength behind, as in adv0.1; got {method!r}"
        )
    return kind, {STRENGTHS[kind]: strength} if strength else {}
