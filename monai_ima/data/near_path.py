"""What a list may mean by a path at which there is nothing."""

from __future__ import annotations

import os
from collections import defaultdict
from functools import lru_cache
from itertools import takewhile
from pathlib import Path, PurePosixPath

from monai_ima.data.image_formats import IMAGE_SUFFIXES


def near_path(root: Path, path: str) -> str | None:
    """The file of a data set that is likely to be meant, whatever its folder, case or suffix.

    Args:
        root: the data set's folder.
        path: that a list has, and at which there is no file.

    Returns:
        Of the files of that name, relative to ``root``, the one in folders of the most alike names;
        ``None`` if there is none, or several are alike.
    """
    *folders, name = PurePosixPath(path.casefold()).parts or ("",)
    found = [file for suffix in ("", *IMAGE_SUFFIXES) for file in _by_name(root)[name + suffix]]

    def shared(file: str) -> int:
        own = PurePosixPath(file.casefold()).parts[-2::-1]
        pairs = takewhile(
            lambda pair: pair[0] == pair[1], zip(own, reversed(folders), strict=False)
        )
        return sum(1 for _ in pairs)

    alike = [file for file in found if shared(file) == max(map(shared, found))]
    return alike[0] if len(alike) == 1 else None


@lru_cache(maxsize=1)  # of a list all of whose paths are wrong
def _by_name(root: Path) -> dict[str, list[str]]:
    by_name: dict[str, list[str]] = defaultdict(list)
    for folder, _, files in os.walk(root):
        for file in files:
            path = (Path(folder) / file).relative_to(root).as_posix()
            by_name[file.casefold()].append(path)
    return by_name
