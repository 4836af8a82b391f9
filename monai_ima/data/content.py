"""Digests of what samples hold, so that equal names with other pixels are told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from monai.data.utils import pickle_hashing

from monai_ima.data.tensors import TensorSamples

_BYTES = 8  # of a digest: that two of a million samples share one by chance has odds of 1 to 10^7
_READERS = 8
_READ = 16  # of the samples whose sizes are compared, evenly spread


def contents(samples: TensorSamples | Sequence[Mapping[str, Any]]) -> list[str]:
    """A digest of the content of each sample, in their order.

    Args:
        samples: tensors, of which the bytes of each input count, or items of a datalist, of which
            the bytes of the file (of all files, if it is a folder or a list) below ``image`` do.

    Raises:
        OSError: if a file cannot be read.
    """
    if isinstance(samples, TensorSamples):
        return [_digest(row.tobytes()) for row in samples.inputs.cpu().numpy()]
    with ThreadPoolExecutor(_READERS) as readers:  # hashing and reading release the interpreter
        return list(readers.map(lambda item: _of_files(item["image"]), samples))


def at_a_glance(samples: TensorSamples | Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """How many samples there are, and a digest of what is known of them when few files are read.

    Copies of one data set on several machines have the same, also where their processors round
    otherwise: names, labels and the sizes of files count, and of sixteen samples the bytes of the
    first file, since uncompressed images of equal sizes may be prepared in several ways.

    Args:
        samples: tensors, or items of a datalist. A file that is not there counts as nothing.
    """
    items = samples.samples if isinstance(samples, TensorSamples) else samples
    spread = max(1, -(-len(items) // _READ))
    are_read = (number % spread == 0 for number in range(len(items)))
    with ThreadPoolExecutor(_READERS) as readers:  # the files may be on another machine
        lines = list(readers.map(_line, items, are_read))
    return len(lines), _digest("".join(lines).encode())


def _line(item: Mapping[str, Any], is_read: bool) -> str:
    image = item.get("image")
    # of an array in its place nothing is told
    files = image if isinstance(image, str | Path | list | tuple) else ()
    seen = _seen_of_files(files, is_read) if files else ""
    return f"{item.get('id', files)}\t{item.get('label')}\t{seen}\n"


def hash_of_item(item: Mapping[str, Any]) -> bytes:
    """Name under which MONAI's ``PersistentDataset`` keeps a sample: another if its file changes.

    Its own goes by the item alone, and gives what an image was before.

    Args:
        item: of a datalist, with the path of a file below ``image``.

    Raises:
        OSError: if there is no such file.
    """
    state = Path(item["image"]).stat()
    name: bytes = pickle_hashing({**item, "file": (state.st_mtime_ns, state.st_size)})
    return name


def _of_files(image: str | Path | Sequence[str | Path]) -> str:
    files = _all_files(image)
    if len(files) == 1:
        return _digest(files[0].read_bytes())
    return _digest("".join(_digest(file.read_bytes()) for file in files).encode())


def _seen_of_files(image: str | Path | Sequence[str | Path], is_read: bool) -> str:
    try:
        files = _all_files(image)
        sizes = [str(file.stat().st_size) for file in files]
        return " ".join([*sizes, *(_digest(file.read_bytes()) for file in files[:is_read])])
    except OSError:  # whoever reads it says so
        return ""


def _all_files(image: str | Path | Sequence[str | Path]) -> list[Path]:
    given = [Path(image)] if isinstance(image, str | Path) else [Path(path) for path in image]
    return [file for path in given for file in _files_in(path)]


def _files_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=_BYTES).hexdigest()
