"""JSON that is read again is as it was written, or named as what it is."""

import json
import random

import pytest

from monai_ima.handlers.json_file import read_json, write_json
from monai_ima.handlers.state_file import UnreadableStateError

CONTENT = {"b": [1, 2.5, None, float("inf")], "a": {"ä": (1, 2)}, "curves": []}


def test_it_is_read_as_it_was_written_in_any_order_of_its_names(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, CONTENT)
    read = read_json(path)
    assert read == {**CONTENT, "a": {"ä": [1, 2]}}
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(content.items()))))
    assert read_json(path) == read


def test_an_older_file_without_a_digest_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a damaged file: Expecting value"),
        (b"\xff", "a damaged file: 'utf-8'"),
        (b"[" * 100_000, "a damaged file: "),
        (b"[1]", "a file of another kind"),
        (b'{"a": 2, "sha256": "00"}', "a file that was changed after it had been written"),
    ],
)
def test_others_are_named(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UnreadableStateError, match=message):
        read_json(tmp_path / "a.json")


def test_no_flipped_bit_changes_what_is_read(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, CONTENT)
    content, whole = path.read_bytes(), read_json(path)
    number, refused = random.Random(0), 0
    for place in range(content.index(b'"sha256"')):  # behind, the name of the digest may be hit
        flipped = content[place] ^ 1 << number.randrange(8)
        path.write_bytes(content[:place] + bytes([flipped]) + content[place + 1 :])
        try:
            assert read_json(path) == whole
        except UnreadableStateError:
            refused += 1
    assert refused > 0.5 * len(content.split(b'"sha256"')[0])
