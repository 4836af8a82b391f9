"""Records, read if they and all before them are as they were written."""

import pytest
import torch
from same import same

from monai_ima.handlers.record_file import RecordFile
from monai_ima.handlers.state_file import UnreadableStateError

RECORDS = [{"a": torch.arange(5), "b": "x"}, {"c": [1, None, 2.5]}, {"d": {"e": torch.eye(2)}}]


@pytest.fixture
def written(tmp_path):
    """The path, and where each record ends."""
    file, ends = RecordFile(tmp_path / "a.records"), []
    for record in RECORDS:
        file.append(record)
        ends.append(file.path.stat().st_size)
    return file.path, ends


def test_what_is_read_is_what_was_appended_and_is_appended_to(written):
    path, ends = written
    before = path.read_bytes()
    file = RecordFile(path)
    assert same(list(file.read()), RECORDS)
    file.append({"f": 1})
    assert same(list(RecordFile(path).read()), [*RECORDS, {"f": 1}])
    assert path.read_bytes()[: ends[-1]] == before


def test_cut_anywhere_the_whole_records_before_are_read_and_the_rest_is_replaced(written):
    path, ends = written
    content = path.read_bytes()
    for length in range(ends[0], len(content), 7):
        path.write_bytes(content[:length])
        file = RecordFile(path)
        whole = sum(end <= length for end in ends)
        assert same(list(file.read()), RECORDS[:whole])
        assert file.dropped == length - ends[whole - 1]
    file.append(RECORDS[2])
    assert same(list(RecordFile(path).read()), RECORDS)


def test_a_record_left_out_or_twice_is_noticed(written):
    path, ends = written
    content = path.read_bytes()
    first, second, third = content[: ends[0]], content[ends[0] : ends[1]], content[ends[1] :]
    for order in ((first, third), (first, third, second), (first, second, second, third)):
        path.write_bytes(b"".join(order))
        read = list(RecordFile(path).read())
        assert same(read, RECORDS[: 2 if order[1] is second else 1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"PK\x03\x04", "a file that was cut short"),
        (b"cut short", "a file of another kind"),
        (b"monai_ima records 3\nxyz", "a file of format 3, where this monai_ima has 2: go on with"),
        (b"monai_ima records 2\n", "a damaged file"),
        (b"monai_ima records 2\n" + bytes(100), "a damaged file"),
        (b"monai_ima records 2\n" + b"\xff" * 100, "a damaged file"),
    ],
)
def test_other_files_are_named(tmp_path, content, message):
    (tmp_path / "a.records").write_bytes(content)
    with pytest.raises(UnreadableStateError, match=message):
        list(RecordFile(tmp_path / "a.records").read())


def test_a_failed_append_leaves_what_was_there(written, monkeypatch):
    path, _ = written
    file = RecordFile(path)
    list(file.read())

    def fails(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(OSError, match=r"to write \S+a.records, got: .*No space .*MB are free"):
        file.append({"f": 1})
    monkeypatch.undo()
    file.append({"g": 2})
    assert same(list(RecordFile(path).read()), [*RECORDS, {"g": 2}])
