"""Which bundle a datalist is for, and the settings that it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from monai_ima.bundle.config_text import plain_text
from monai_ima.data.images import count_channels
from monai_ima.errors import RejectedError


def datalist_settings(
    datalist: Path, dataset_dir: str | Path | None = None
) -> tuple[str, dict[str, Any]]:
    """The bundle and its settings for a list that ``monai-ima datalist`` has written.

    Args:
        datalist: the list.
        dataset_dir: folder of its images; by default that with which it was written.

    Returns:
        The name of the bundle, and the settings by name that the data ask for.

    Raises:
        RejectedError: if it is no such list, or its images are not there.
    """
    try:
        content = json.loads(datalist.read_text("utf-8"))
        first = content["training"][0]["image"]
        bundle, settings = content["bundle"], dict(content["bundle_settings"])
        root = Path(dataset_dir or content["settings"]["dataset_dir"])
    except FileNotFoundError as error:
        raise RejectedError(f"expected a datalist, got {datalist}: no such file") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RejectedError(
            f"expected a datalist that monai-ima datalist has written, got {datalist} "
            f"({type(error).__name__}: {error}); of another list, say --bundle, --dataset_dir, "
            "--datalist_file and --num_classes"
        ) from error
    try:
        count_channels(root / first)
    except (OSError, ValueError) as error:
        raise RejectedError(
            f"expected the images of {datalist} in {root}, but the first one cannot be read "
            f"({error.__cause__ or error}); say --dataset_dir FOLDER where they are now"
        ) from error
    return bundle, {"dataset_dir": _text(root), "datalist_file": _text(datalist), **settings}


def _text(path: Path) -> str:
    """A path as it is, or, where a config cannot have it so, in full as an expression."""
    return str(path) if plain_text(str(path)) == str(path) else plain_text(str(path.resolve()))
