"""Files as storage, transfer and editors spoil them: one mutation or two, all from a seed."""

from __future__ import annotations

import re
import struct

NUMBERS = ("-1", "0", "1e9", "1e400", "nan", "-inf", "2.0", "007", "99999999999999999999", "", "x")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_SIZES = (0, 1, -1, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)


def mutated(content, draw, foreign, *, is_text):
    """Another content than this one.

    Args:
        content: of the file.
        draw: a ``random.Random``.
        foreign: contents of files of other kinds.
        is_text: whether lines and fields can be told.
    """
    ways = [*_BYTES, *(_TEXT * 2 if is_text else ())]
    for _ in range(100):
        changed = content
        for _ in range(draw.choice((1, 1, 1, 2))):
            changed = draw.choice(ways)(changed, draw)
        if draw.random() < 0.03:
            changed = draw.choice([b"", *foreign])
        if changed != content:
            return changed
    raise AssertionError("a content that cannot be changed")


def _place(content, draw):
    """Often near the start, where the headers are."""
    most = len(content) if draw.random() < 0.5 else min(len(content), 256)
    return draw.randrange(most) if most else 0


def _stretch(content, draw):
    start = _place(content, draw)
    return start, min(len(content), start + draw.choice((1, 2, 4, 16, 100, 1000)))


def flip(content, draw):
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 3, 10)) if content else 0):
        changed[_place(content, draw)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def set_bytes(content, draw):
    start, stop = _stretch(content, draw)
    return content[:start] + draw.randbytes(stop - start) + content[stop:]


def zero(content, draw):
    start, stop = _stretch(content, draw)
    return content[:start] + bytes(stop - start) + content[stop:]


def cut(content, draw):
    return content[: _place(content, draw)]


def remove(content, draw):
    start, stop = _stretch(content, draw)
    return content[:start] + content[stop:]


def insert(content, draw):
    start, stop = _stretch(content, draw)
    return content[:start] + draw.randbytes(stop - start) + content[start:]


def duplicate(content, draw):
    start, stop = _stretch(content, draw)
    return content[:stop] + content[start:]


def move(content, draw):
    start, stop = _stretch(content, draw)
    rest = content[:start] + content[stop:]
    to = _place(rest, draw)
    return rest[:to] + content[start:stop] + rest[to:]


def append(content, draw):
    return content + draw.choice((b"\0", b"\n", content[:50], draw.randbytes(20)))


def set_size(content, draw):
    """A number in a header, as large as it can be or negative."""
    packed = struct.pack(draw.choice("<>") + "q", draw.choice(_SIZES))
    width = draw.choice((2, 4))
    word = packed[:width] if draw.random() < 0.5 else packed[-width:]
    start = _place(content, draw)
    return content[:start] + word + content[start + width :]


def lines_of(change):
    def way(content, draw):
        lines = content.splitlines(keepends=True)
        if not lines:
            return content
        change(lines, draw)
        return b"".join(lines)

    return way


def swap_lines(lines, draw):
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def repeat_line(lines, draw):
    lines.insert(draw.randrange(len(lines)), draw.choice(lines))


def remove_line(lines, draw):
    del lines[draw.randrange(len(lines))]


def swap_fields(lines, draw):
    at = draw.randrange(len(lines))
    fields = re.split(rb"([,;\t ])", lines[at])
    one, other = (2 * draw.randrange((len(fields) + 1) // 2) for _ in range(2))
    fields[one], fields[other] = fields[other], fields[one]
    lines[at] = b"".join(fields)


def field_of_another_line(lines, draw):
    at, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    fields, others = (re.split(rb"([,;\t ])", lines[n]) for n in (at, other))
    column = 2 * draw.randrange((min(len(fields), len(others)) + 1) // 2)
    fields[column] = others[column]
    lines[at] = b"".join(fields)


def change_number(content, draw):
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    number = draw.choice(found)
    new = draw.choice(NUMBERS).encode()
    return content[: number.start()] + new + content[number.end() :]


def other_delimiter(content, draw):
    one, other = draw.sample([b",", b";", b"\t", b" ", b"\n", b"\r\n", b'"', b":"], 2)
    return content.replace(one, other, draw.choice((1, 3, -1)))


def other_code(content, draw):
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return content
    code = draw.choice(("utf-16", "utf-16-le", "utf-8-sig", "utf-32", "utf-7"))
    return text.encode(code)


def other_letters(content, draw):
    place = _place(content, draw)
    letters = draw.choice((b"\xe4", "ä".encode(), b"\0", b"{", b"[[[[", b"null", b"../", b"\x1a"))
    return content[:place] + letters + content[place:]


_BYTES = (
    *(flip, flip, set_bytes, zero, cut, remove, insert, duplicate, move, append),
    *(set_size, set_size),
)
_TEXT = (
    *(lines_of(way) for way in (swap_lines, repeat_line, remove_line)),
    *(lines_of(way) for way in (swap_fields, field_of_another_line)),
    *(change_number, change_number, other_delimiter, other_code, other_letters),
)
