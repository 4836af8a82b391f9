"""Which bundle a datalist is for, and the settings that it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from monai_ima.data_report import ImageReader
from monai_ima.errors import RejectedError

_ALSO = ("allow_outside", "nan_value")  # of the data, whatever reads them


def datalist_settings(
    datalist: Path, dataset_dir: str | Path | None = None
) -> tuple[str, dict[str, Any]]:
    """The bundle and its settings for a list that ``monai-ima datalist`` has written.

    Args:
        datalist: the list.
        dataset_dir: folder of its images; by default that with which it was written.

    Returns:
        The name of the bundle, of volumes that for volumes; and settings by name.

    Raises:
        RejectedError: if it is no such list, or its images are not there.
    """
    try:
        content = json.loads(datalist.read_text("utf-8"))
        classes, first = content["labels"], content["training"][0]["image"]
        made = content.get("settings", {})
        root = Path(dataset_dir or made["dataset_dir"])
    except FileNotFoundError as error:
        raise RejectedError(f"expected a datalist, got {datalist}: no such file") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RejectedError(
            f"expected a datalist that monai-ima datalist has written, got {datalist} "
            f"({type(error).__name__}: {error}); of another list, say --bundle, --dataset_dir, "
            "--datalist_file and --num_classes"
        ) from error
    try:
        image = ImageReader(made.get("nan_value"))(root / first)
    except (OSError, ValueError) as error:
        raise RejectedError(
            f"expected the images of {datalist} in {root}, but the first one cannot be read "
            f"({error.__cause__ or error}); say --dataset_dir FOLDER where they are now"
        ) from error
    settings = {
        "dataset_dir": str(root),
        "datalist_file": str(datalist),
        "num_classes": len(classes),
        **{name: made[name] for name in _ALSO if name in made},
    }
    return "oct_ima" if image.grey.ndim == 2 else "volume_ima", settings
