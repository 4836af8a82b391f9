"""A bundle of the user's own, made from one that comes with the package."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_ima import __version__
from monai_ima.errors import RejectedError
from monai_ima.installed_bundles import bundle_folder, bundles_folder

_RELATIVE_LINK = re.compile(r"\[([^\]]*)\]\((?!\w+:)[^)]*\)")
_ROOT = re.compile(r'"bundle_root": "[^"]*"')
_OUTPUT = re.compile(r"""(?<="output_dir": ")(\$')?runs/[^"']*""")


def new_bundle(folder: Path, source: str, settings: Mapping[str, Any] | None = None) -> Path:
    """Write a bundle that is the user's to change, and runs from any folder.

    It is a copy of one that comes with the package, beside the files that put another training
    method into it (``objectives``) or run it in several processes (``scale``), with output folders named after it. It needs the version of
    monai_ima that made it, and says so in its ``metadata.json``.

    Args:
        folder: that is to be written; its name becomes the bundle's.
        source: name of the bundle that it is made from.
        settings: for its ``train.json``, by name, as ``{"eps_max": 0.03, "optimizer#lr": 0.01}``.

    Returns:
        The absolute path of the folder.

    Raises:
        RejectedError: if there is no bundle of that name, the new name is not one of letters, digits,
            ``_``, ``-`` and ``.``, or there is something in the folder.
    """
    folder = folder.resolve()
    name, origin = folder.name, bundle_folder(source)
    check_new(folder)
    unfinished = folder.with_name(f".{name}.{os.getpid()}")
    try:
        _copy(origin, unfinished)
        _copy(bundles_folder() / "scale", unfinished / "scale")
        if (origin / "train.json").exists():
            _copy(bundles_folder() / "objectives", unfinished / "objectives")
        for path in unfinished.glob("*.json"):
            path.write_text(_own_config(path.read_text("utf-8"), folder), "utf-8")
        if settings:
            _set(unfinished, settings)
        metadata, page = unfinished / "metadata.json", unfinished / "docs" / "README.md"
        metadata.write_text(_own_metadata(metadata.read_text("utf-8"), source), "utf-8")
        page.write_text(_own_page(page.read_text("utf-8"), name, source), "utf-8")
        if folder.exists():
            folder.rmdir()
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def check_new(folder: Path) -> None:
    """See that a bundle may be written to a folder.

    Raises:
        RejectedError: if its name is not one of a bundle, or there is something in it.
    """
    folder = folder.resolve()
    if not re.fullmatch(r"\w[\w.-]*", folder.name):
        raise RejectedError(
            f"expected a name of letters, digits, '_', '-' and '.', got {folder.name!r}; choose another"
        )
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RejectedError(
            f"expected a new folder, got {folder}, which is there; choose another name, or remove it"
        )


def _copy(origin: Path, folder: Path) -> None:
    """The texts alone: files of an installation may be read-only, and their folders, too."""
    for path in sorted(origin.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            copied = folder / path.relative_to(origin)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(path.read_bytes())


def _own_config(text: str, folder: Path) -> str:
    """With the folders of the new bundle: where it lies, and where its runs go.

    The former is absolute, as the configs that a run leaves lead back from it to the bundle.
    """
    root = f'"bundle_root": {json.dumps(str(folder))}'
    text = _ROOT.sub(lambda _: root, text)

    def output(found: re.Match[str]) -> str:
        return f"$'runs/{folder.name}_" if found[1] else f"runs/{folder.name}"

    return _OUTPUT.sub(output, text)


def _set(bundle: Path, settings: Mapping[str, Any]) -> None:
    train, evaluate = bundle / "train.json", bundle / "evaluate.json"
    text = train.read_text("utf-8")
    for name, value in settings.items():
        text = _with_setting(text, name, value)
    train.write_text(text, "utf-8")
    if "noise_levels" in settings:  # of one norm; an evaluation keeps its own in the other
        norm = json.loads(text)["norm"]
        evaluation = evaluate.read_text("utf-8")
        levels = {**json.loads(evaluation)["evaluation_levels"], norm: "@noise_levels"}
        evaluate.write_text(_with_setting(evaluation, "evaluation_levels", levels), "utf-8")


def _with_setting(text: str, name: str, value: Any) -> str:
    """A config's text with a value in its place; of a nested one, which MONAI sets last, at the end."""
    written = json.dumps(value)
    found = re.search(rf'^  "{re.escape(name)}": ', text, re.MULTILINE)
    if found is None:
        return f"{text.rstrip().removesuffix('}').rstrip()},\n  {json.dumps(name)}: {written}\n}}\n"
    _, end = json.JSONDecoder().raw_decode(text, found.end())
    return text[: found.end()] + written + text[end:]


def _own_metadata(text: str, source: str) -> str:
    metadata = json.loads(text)
    metadata["version"] = "0.1.0"
    metadata["changelog"] = {"0.1.0": f"made from {source} of monai_ima {__version__}"}
    metadata["required_packages_version"]["monai-ima"] = __version__
    return json.dumps(metadata, indent=2) + "\n"


def _own_page(text: str, name: str, source: str) -> str:
    """The page of the source for the new bundle, without links into the repository."""
    text = _RELATIVE_LINK.sub(r"\1", text)
    for old, new in {
        f"bundles/{source}": name,
        "bundles/objectives": f"{name}/objectives",
        "bundles/scale": f"{name}/scale",
        f"# Bundle `{source}`": f"# Bundle `{name}`",
    }.items():
        text = text.replace(old, new)
    note = (
        f"Made from `{source}` of monai_ima {__version__} by `monai-ima new`. It is yours to change. "
        "`bundle_root` in `train.json` is where it lies: change that when you move it.\n\n"
    )
    heading, _, rest = text.partition("\n\n")
    return f"{heading}\n\n{note}{rest}"
