"""One file, or one series, by one of MONAI's readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from monai.data import ImageReader, MetaTensor
from monai.transforms.io.array import switch_endianness
from monai.utils import ImageMetaKey


def read_by(
    reader: ImageReader, path: Path, dtype: npt.DTypeLike = np.float32
) -> tuple[MetaTensor, dict[str, Any]]:
    """What MONAI's ``LoadImage`` makes of a file, by the one reader that is given.

    ``LoadImage`` makes a reader of every kind for itself as well, some of which complain of what they
    miss, and answers for a broken file with the complaints of all.

    Args:
        reader: of MONAI.
        path: of a file, or of the folder of a series.
        dtype: of the values.

    Returns:
        The values with their affine, and all that the reader says of them.
    """
    values, meta = reader.get_data(reader.read(str(path)))
    meta = switch_endianness(meta, "<")
    meta[ImageMetaKey.FILENAME_OR_OBJ] = str(path)
    values = switch_endianness(np.asarray(values).astype(dtype, copy=False), "<")
    image: MetaTensor = MetaTensor.ensure_torch_and_prune_meta(values, dict(meta))
    return image, meta
