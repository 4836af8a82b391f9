"""Dotted names in configs and docs mean what they say on every Python.

From Python 3.12 on, MONAI's look-up of a ``_target_`` prefers a module to a function of its name.
"""

import importlib
import pkgutil
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import monai_ima

ROOT = Path(__file__).resolve().parents[1]
TEXTS = sorted(
    path
    for pattern in ("bundles/**/*.json", "bundles/**/*.md", "docs/**/*.md", "README.md")
    for path in ROOT.glob(pattern)
)
PACKAGES = ["monai_ima"] + [
    module.name
    for module in pkgutil.walk_packages(monai_ima.__path__, "monai_ima.")
    if module.ispkg
]


def is_module(name):
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # what is before the last dot is no package
        return False


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_is_that_of_a_module(package):
    public = getattr(importlib.import_module(package), "__all__", ())
    assert not [name for name in public if is_module(f"{package}.{name}")]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_target_is_a_module(path):
    text = path.read_text()
    targets = re.findall(r"['\"]_target_['\"]: ?['\"]([\w.]+)['\"]", text)
    called = re.findall(r"(monai_ima(?:\.\w+)+)\(", text)
    assert not [name for name in (*targets, *called) if "." in name and is_module(name)]
