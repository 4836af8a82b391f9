"""Arrays of numbers from MATLAB files of version 5, read within the bounds of what they hold.

scipy's reader trusts the sizes in a file: one that is damaged can end the interpreter.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[Any]

_HEADER = 128  # bytes
_ARRAY, _COMPRESSED = 14, 15  # types of elements
_TYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}  # fmt: skip
_COMPLEX = 0x0800


def read_arrays(file: Path, names: Collection[str], most_bytes: int) -> dict[str, Numbers]:
    """Read arrays of real numbers by their names; those that are not there are left out.

    Args:
        file: of MATLAB's version 5, as ``save`` writes it up to ``-v7``.
        names: which arrays.
        most_bytes: the most that one may unpack to.

    Raises:
        ValueError: if the file is of another form, is damaged, or an array is larger or of another
            kind.
    """
    content = memoryview(file.read_bytes())
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
    if len(content) < _HEADER or order is None:
        raise ValueError("no header of a MATLAB file of version 5")
    if bytes(content[:6]) != b"MATLAB" or content[124 + (order == "<")] != 1:
        raise ValueError("another version of MATLAB's files; save it with -v7")
    found: dict[str, Numbers] = {}
    for kind, data in _elements(content[_HEADER:], order):
        if kind == _COMPRESSED:
            data = _unpacked(data, order, most_bytes)  # noqa: PLW2901
        elif kind != _ARRAY:
            raise ValueError(f"an element of the type {kind} where an array is expected")
        name, array = _array(data, order)
        if name in names:
            found[name] = array()
    return found


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and content of one element after another."""
    while len(data):
        if len(data) < 8:
            raise ValueError("an element that is cut off")
        kind, size = struct.unpack(f"{order}II", data[:8])
        start, stop = 8, 8 + size
        if (
            kind >> 16
        ):  # a small element: the size and the type in one word, the content in the next
            kind, size = kind & 0xFFFF, kind >> 16
            start, stop = 4, 4 + size
            if size > 4:
                raise ValueError(f"a small element of {size} bytes")
        if stop > len(data):
            raise ValueError(f"an element of {size:,} bytes, of which {len(data):,} are there")
        yield kind, data[start:stop]
        data = data[stop if kind == _COMPRESSED else -(-stop // 8) * 8 :]


def _unpacked(data: memoryview, order: str, most_bytes: int) -> memoryview:
    stream = zlib.decompressobj()
    tag = stream.decompress(data, 8)
    if len(tag) < 8:
        raise ValueError("a compressed element without content")
    kind, size = struct.unpack(f"{order}II", tag)
    if kind != _ARRAY or size > most_bytes:
        raise ValueError(f"a compressed element of the type {kind} and {size:,} bytes")
    content = stream.decompress(stream.unconsumed_tail, size + 1)
    content += stream.flush() if len(content) <= size else b""
    if len(content) != size or not stream.eof:
        raise ValueError(f"a compressed element of more or fewer than {size:,} bytes")
    return memoryview(content)


def _array(data: memoryview, order: str) -> tuple[str, Any]:
    """The name of an array, and what reads its numbers."""
    parts = list(_first(data, order, 4))
    if [kind for kind, _ in parts[:3]] != [6, 5, 1] or len(parts[0][1]) != 8:
        raise ValueError("an array without flags, sizes and a name")
    flags = struct.unpack(f"{order}II", parts[0][1])[0]
    shape = tuple(np.frombuffer(parts[1][1], f"{order}i4").tolist())
    name = bytes(parts[2][1]).decode("latin-1")

    def numbers() -> Numbers:
        dtype = _CLASSES.get(flags & 0xFF)
        if dtype is None or flags & _COMPLEX or len(parts) < 4 or parts[3][0] not in _TYPES:
            raise ValueError(f"{name}, no array of real numbers")
        kind, values = parts[3]
        stored = np.dtype(order + _TYPES[kind])
        if min(shape, default=-1) < 0 or math.prod(shape) * stored.itemsize != len(values):
            raise ValueError(f"{name} of {len(values):,} bytes for the shape {shape}")
        return np.frombuffer(values, stored).astype(dtype).reshape(shape, order="F")

    return name, numbers


def _first(data: memoryview, order: str, count: int) -> Iterator[tuple[int, memoryview]]:
    for _, element in zip(range(count), _elements(data, order), strict=False):
        yield element
