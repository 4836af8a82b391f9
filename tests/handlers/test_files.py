"""Files that are whole or not there, and tables that a spreadsheet shows and does not run."""

import contextlib
import csv
import hashlib
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from monai_ima.bundle import prepare_output_dir
from monai_ima.handlers.files import (
    file_digest,
    put_back,
    read_csv,
    remove_unfinished,
    set_aside,
    write_csv,
    write_whole,
)

RUN = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'=1", "'quoted'"]


@pytest.mark.parametrize("text", RUN)
def test_text_that_a_spreadsheet_would_run_is_shown_and_read_back(tmp_path, text):
    write_csv(tmp_path / "samples.csv", [{"id": text, "margin": 0.5}])

    with (tmp_path / "samples.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["id"] == f"'{text}"
    assert read_csv(tmp_path / "samples.csv") == [{"id": text, "margin": "0.5"}]


def test_other_text_and_numbers_are_as_they_were(tmp_path):
    row = {"id": "A/1-2.png", "name": "Müller, x", "empty": "", "number": -1.5}
    write_csv(tmp_path / "samples.csv", [row])

    assert (tmp_path / "samples.csv").read_text("utf-8").splitlines()[1] == (
        'A/1-2.png,"Müller, x",,-1.5'
    )
    assert read_csv(tmp_path / "samples.csv") == [row | {"number": "-1.5"}]


@pytest.mark.parametrize(("text", "mark"), [("Müller", b"\xef\xbb\xbf"), ("Miller", b"")])
def test_excel_is_told_the_encoding_where_it_matters(tmp_path, text, mark):
    write_csv(tmp_path / "samples.csv", [{"id": text}])

    assert (tmp_path / "samples.csv").read_bytes() == mark + f"id\r\n{text}\r\n".encode()
    assert read_csv(tmp_path / "samples.csv") == [{"id": text}]


def test_a_damaged_row_is_read_as_it_is(tmp_path):
    (tmp_path / "samples.csv").write_text("id,label\na\nb,c,d\n")

    assert read_csv(tmp_path / "samples.csv") == [
        {"id": "a", "label": None},
        {"id": "b", "label": "c", None: ["d"]},
    ]


# --- files that are whole -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ended():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_run_had_not_finished_is_removed_at_the_next_start(tmp_path, ended):
    path = tmp_path / "kept_weights" / "epoch_0001.pt"

    def write(unfinished):
        unfinished.write_text("half")
        shutil.copy(unfinished, unfinished.with_name(as_of(ended, unfinished)))

    def as_of(pid, file):
        return file.name.replace(str(os.getpid()), str(pid))

    write_whole(path, write)
    assert len(list(path.parent.iterdir())) == 2

    prepare_output_dir(tmp_path, resume=True)
    assert list(path.parent.iterdir()) == [path]


def test_nothing_but_what_write_whole_leaves_is_removed(tmp_path, ended):
    ours = [f".checkpoint.pt.{ended}.pt", f".a.b.json.{ended}.json", f".x.png.{os.getpid()}.png"]
    theirs = [
        "checkpoint.pt",
        f"checkpoint.pt.{ended}.pt",
        f".checkpoint.pt.{ended}.png",
        f".checkpoint.pt.{ended}",
        f".pt.{ended}.pt",
        ".checkpoint.pt.x.pt",
        f".checkpoint.pt.{os.getppid()}.pt",  # of a process that may still write it
        ".nfs0001",
    ]
    for name in (*ours, *theirs):
        (tmp_path / name).touch()
    (tmp_path / f".folder.pt.{ended}.pt").mkdir()

    remove_unfinished(tmp_path, tmp_path / "none")
    assert {path.name for path in tmp_path.iterdir()} == {*theirs, f".folder.pt.{ended}.pt"}


def test_content_is_on_the_disk_before_its_name_and_the_name_at_the_end(tmp_path, monkeypatch):
    flushed = []

    def fsync(descriptor):
        here = Path(f"/proc/self/fd/{descriptor}").readlink()
        flushed.append((here.suffix, here == tmp_path, (tmp_path / "a.txt").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(tmp_path / "a.txt", lambda path: path.write_text("new"))
    assert flushed == [(".txt", False, False), ("", True, True)]


@pytest.mark.parametrize("write", ["torch", "text"])
def test_a_full_disk_is_named_with_what_to_do(tmp_path, write):
    """In the place of a full disk, a limit on the size of files."""
    path = tmp_path / "model.pt"
    path.write_text("old")
    writers = {
        "torch": lambda unfinished: torch.save(torch.zeros(100_000), unfinished),
        "text": lambda unfinished: unfinished.write_text("a" * 400_000),
    }
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"to write \S+model.pt, got: .* MB are free .*--resume"):
            write_whole(path, writers[write])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("model.pt", "old")]


def test_a_folder_that_is_gone_is_named(tmp_path):
    def write(unfinished):
        shutil.rmtree(tmp_path / "run")
        torch.save(torch.zeros(3), unfinished)

    with pytest.raises(OSError, match=r"there is no folder \S+run any more\. What"):
        write_whole(tmp_path / "run" / "model.pt", write)


def test_errors_that_are_not_of_the_disk_are_left_alone(tmp_path):
    def write(_):
        raise RuntimeError("CUDA error")

    with pytest.raises(RuntimeError, match=r"^CUDA error$"):
        write_whole(tmp_path / "model.pt", write)


# --- an earlier run that is moved aside -----------------------------------------------------------

FILES = ["checkpoint.pt", "model.pt", "robustness.csv", "events.out.tfevents.1.host"]


class Killed(BaseException):
    """In the place of SIGKILL."""


@pytest.fixture
def killed_at(monkeypatch):
    """Let so many file operations through, then none."""

    def arm(operations):
        left = [operations]
        for name in ("mkdir", "rename", "rmdir"):
            original = getattr(Path, name)

            def counted(self, *arguments, original=original, **options):
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
                return original(self, *arguments, **options)

            monkeypatch.setattr(Path, name, counted)

    yield arm
    monkeypatch.undo()


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def a_run(folder):
    for name in FILES:
        (folder / name).write_text(name)
    (folder / "plane").mkdir()
    (folder / "plane" / "epoch_0001.png").write_text("plane")
    return contents(folder)


@pytest.mark.parametrize("again", [True, False], ids=["resumed", "anew"])
@pytest.mark.parametrize("operations", range(1, 8))
def test_killed_while_it_moves_a_run_aside_the_run_is_whole_at_the_next_start(
    tmp_path, killed_at, monkeypatch, operations, again
):
    before = a_run(tmp_path)
    killed_at(operations)
    with contextlib.suppress(Killed):  # after the last operation
        set_aside(tmp_path, [*FILES[:3], "plane", "events.out.tfevents.*"])
    monkeypatch.undo()

    moved = {f"previous-1/{name}": content for name, content in before.items()}
    is_moved = operations == 7
    assert (contents(tmp_path) == moved) is is_moved
    assert (tmp_path / "previous-1").exists() is is_moved
    prepare_output_dir(tmp_path, resume=again)
    assert contents(tmp_path) == (moved if is_moved or not again else before)


@pytest.mark.parametrize("operations", range(1, 7))
def test_killed_again_while_it_moves_it_back(tmp_path, killed_at, monkeypatch, operations):
    before = a_run(tmp_path)
    killed_at(5)
    with pytest.raises(Killed):
        set_aside(tmp_path, [*FILES, "plane"])
    monkeypatch.undo()
    killed_at(operations)
    with contextlib.suppress(Killed):
        put_back(tmp_path)
    monkeypatch.undo()

    put_back(tmp_path)
    assert contents(tmp_path) == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_nothing_that_was_written_since_is_replaced(tmp_path, killed_at, monkeypatch):
    a_run(tmp_path)
    (tmp_path / "previous-1").mkdir()
    killed_at(3)
    with pytest.raises(Killed):
        set_aside(tmp_path, FILES)
    monkeypatch.undo()
    (tmp_path / "model.pt").write_text("new")

    put_back(tmp_path)
    assert (tmp_path / "model.pt").read_text() == "new"
    assert (tmp_path / "previous-2" / "model.pt").read_text() == "model.pt"


def test_the_names_in_both_folders_are_on_the_disk_at_the_end(tmp_path, monkeypatch):
    (tmp_path / "model.pt").touch()
    flushed = []

    def fsync(descriptor):
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", fsync)
    set_aside(tmp_path, ["model.pt"])
    assert flushed == [".previous-1", tmp_path.name]


def test_digest_is_that_of_all_bytes_of_a_file_of_several_parts(tmp_path):
    content = bytes(range(256)) * 10_000
    (tmp_path / "a").write_bytes(content)
    assert file_digest(tmp_path / "a") == hashlib.sha256(content).hexdigest()
