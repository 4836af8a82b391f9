"""The bundles that come with the package."""

from __future__ import annotations

from pathlib import Path

from monai_ima.errors import RejectedError

_PACKAGE = Path(__file__).resolve().parent


def bundles_folder() -> Path:
    """Where the bundles lie: in the package as it is installed, beside it in a clone."""
    packed = _PACKAGE / "bundles"
    return packed if packed.is_dir() else _PACKAGE.parent / "bundles"


def bundle_names() -> list[str]:
    """Names of the bundles that come with the package."""
    return sorted(path.parent.name for path in bundles_folder().glob("*/metadata.json"))


def bundle_folder(name: str) -> Path:
    """The folder of one of the bundles.

    Raises:
        RejectedError: if there is none of that name.
    """
    if name not in bundle_names():
        raise RejectedError(f"expected a bundle among {', '.join(bundle_names())}; got {name!r}")
    return bundles_folder() / name


def method_file(method: str) -> Path:
    """The file that puts a training method into any bundle, after its ``train.json``.

    Raises:
        RejectedError: if there is none of that name.
    """
    if method not in method_names():
        raise RejectedError(f"expected a method among {', '.join(method_names())}; got {method!r}")
    return bundles_folder() / "objectives" / f"{method}.json"


def method_names() -> list[str]:
    """Names of the training methods."""
    return sorted(path.stem for path in (bundles_folder() / "objectives").glob("*.json"))
