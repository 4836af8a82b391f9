"""What is in a file of weights, read without running any code that is in it."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load_file
from torch.serialization import MAGIC_NUMBER, safe_globals

from monai_ima.networks.sealed_file import is_as_sealed

_OLD = MAGIC_NUMBER.to_bytes(10, "little")  # of files of torch before 1.6, which are no archives
_HEADER_LIMIT = 100_000_000  # bytes, of the safetensors format
_CHUNK = 1 << 20
_FOLDER = 0x10  # mark of a folder in an archive, of which torch reads no content, without an error


class NumPyValue:
    """In the place of a NumPy scalar, array or type, such as the best accuracy beside the weights.

    None of them is needed, and NumPy's own constructors are not safe: from a file,
    ``numpy.ndarray(1, "O", buffer)`` makes an array of objects at any address.
    """

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# as numpy 1 and numpy 2 write them
_NUMPY: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (NumPyValue, f"numpy.{name}")
    for name in (
        "dtype",
        "ndarray",
        "core.multiarray.scalar",
        "core.multiarray._reconstruct",
        "_core.multiarray.scalar",
        "_core.multiarray._reconstruct",
    )
]


def read_checkpoint(file: Path) -> object:
    """What ``torch.save`` or safetensors wrote: tensors and plain values.

    Args:
        file: of either kind, which is found out by its content or else its suffix.

    Returns:
        What was saved, on the CPU, with a :class:`NumPyValue` for each value of NumPy's.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another kind, damaged or cut short, or has objects whose loading
            could run code. A changed value is noticed in what ``torch.save`` writes since version
            1.6 alone, because older files and safetensors have no checksums.
    """
    check_file(file, "checkpoint")
    check_intact(file, "checkpoint")
    if is_torchscript(file):
        raise ValueError(
            f"expected checkpoint to be a file of weights, got {file}, a TorchScript export; give "
            f"it as torchscript, without network and checkpoint"
        )
    is_safetensors = _is_safetensors(file)
    try:
        if is_safetensors:
            return load_file(file)
        with _stream(file) as stream, safe_globals(_NUMPY):
            content: object = torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # from the unpickler of any file: KeyError, EOFError and many more
        is_old = _OLD in _start(file)
        if isinstance(error, pickle.UnpicklingError) and (is_old or zipfile.is_zipfile(file)):
            named = re.search(r"GLOBAL (\S+)", str(error))
            raise ValueError(
                f"expected checkpoint to hold weights and plain values alone, got {file} with "
                f"{named[1] if named else 'other objects'}, whose loading could run any code; "
                f"{'copy it again if it may be damaged, or ' if is_old else ''}where it was made, "
                f"save the weights alone: torch.save(model.state_dict(), 'model.pt')"
            ) from error
        kind = "safetensors" if is_safetensors else "torch.save"
        # A RuntimeError of torch's says "unexpected EOF" if it is in the values of an old file.
        cut_short = isinstance(error, EOFError) or "EOF" in str(error)
        raise ValueError(
            f"expected checkpoint to be a file of {kind}, got {file}, "
            f"{nature(file, cut_short=cut_short)}; copy it again, or correct the path"
        ) from error
    return content


def _stream(file: Path) -> BinaryIO:
    """A stream, because of a name torch would take the suffix for the kind.

    An old file, whose pickle says how much is to be read, comes from memory, where that is bounded
    by what there is.
    """
    return file.open("rb") if zipfile.is_zipfile(file) else io.BytesIO(file.read_bytes())


def check_file(file: Path, name: str) -> None:
    """Reject what is no file.

    Raises:
        FileNotFoundError: naming the argument.
    """
    if not file.is_file():
        raise FileNotFoundError(
            f"expected {name} to be a file, got {file}: "
            f"{'a folder' if file.is_dir() else 'no such file'}; correct the path"
        )


def check_intact(file: Path, name: str) -> None:
    """Reject an archive whose records do not match their checksums, which torch does not compare.

    Raises:
        ValueError: naming the argument.
    """
    if not is_intact(file):
        raise ValueError(
            f"expected {name} to be an intact file, got {file}, which is damaged; copy it again"
        )


def is_torchscript(file: Path) -> bool:
    """Whether an intact file is an export of ``torch.jit.save``."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def nature(file: Path, *, cut_short: bool = False) -> str:
    """What a file is that could not be loaded, in words."""
    start = _start(file)
    if not start:
        return "an empty file"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, whose file is fetched by `git lfs pull`"
    if cut_short or (start.startswith(b"PK") and not zipfile.is_zipfile(file)):
        return "a file that was cut short"
    if _has_safetensors_header(start):
        return "a file that is damaged or was cut short"
    return "a file of another kind"


def first_line(error: Exception) -> str:
    """What an error says, without its details."""
    return str(error).strip().partition("\n")[0]


def is_intact(file: Path) -> bool:
    """Whether an archive is as it was written; of other files it cannot be told.

    If it is sealed, by the digest of all its bytes, or else by the checksums of its records.
    """
    try:
        if not zipfile.is_zipfile(file):
            return True
        if (as_sealed := is_as_sealed(file)) is not None:
            return as_sealed
        with zipfile.ZipFile(file) as archive:
            return all(_matches_checksum(archive, record) for record in archive.infolist())
    except Exception:  # noqa: BLE001  BadZipFile and, from damaged archives, many more
        return False


def _matches_checksum(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> bool:
    if record.external_attr & _FOLDER and record.file_size:
        return False
    if record.CRC:  # none after torch.serialization.set_crc32_options(False)
        with archive.open(record) as stream:
            while stream.read(_CHUNK):  # an error at the end if it does not match
                pass
    return True


def _start(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(32)


def _is_safetensors(file: Path) -> bool:
    if _has_safetensors_header(_start(file)):
        return True
    return file.suffix == ".safetensors" and not zipfile.is_zipfile(file)


def _has_safetensors_header(start: bytes) -> bool:
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= _HEADER_LIMIT
