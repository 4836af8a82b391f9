"""Robust training and robustness evaluation for medical AI, in MONAI.

Pure PyTorch: ``attacks``, ``logits``, ``losses``, ``margins``, ``objectives``, ``robustness``.
On MONAI and Ignite: ``networks``, ``data``, ``engines``, ``handlers``, ``settings``, ``bundle``,
``runs``.
What runs have left: ``evaluation``, ``selection``, ``experiments``; ``cli`` is the command.
"""

import importlib
from types import ModuleType

__version__ = "0.3.0"

_PARTS = (
    "attacks",
    "bundle",
    "data",
    "engines",
    "evaluation",
    "experiments",
    "handlers",
    "logits",
    "losses",
    "margins",
    "networks",
    "objectives",
    "report",
    "robustness",
    "runs",
    "selection",
    "settings",
)


def __getattr__(name: str) -> ModuleType:
    """Import a part on first use: importing the package itself loads nothing heavy."""
    if name not in _PARTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
