"""One command at a time in a folder, whatever became of the one before."""

import contextlib
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from filelock import SoftFileLock

from monai_ima.bundle import claim_folder
from monai_ima.handlers import folder_lock
from monai_ima.handlers.folder_lock import FolderInUseError, lock_folder

# Locks a folder, says so, and waits to be told what to do.
COMMAND = """
import os, runpy, sys, time
lock_folder = runpy.run_path(sys.argv[1])["lock_folder"]  # to import all else takes seconds
lock_folder(sys.argv[2], "--output_dir")
if sys.argv[3:] and os.fork() == 0:
    time.sleep(60)
print("locked", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def other():
    """Start another command in a folder."""
    started = []

    def start(folder, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, folder_lock.__file__, str(folder), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout.readline() == "locked\n"
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_who_is_in_a_folder_is_named_with_what_to_do(tmp_path, other):
    process = other(tmp_path)
    today = time.strftime("%Y-%m-%d")
    with pytest.raises(
        FolderInUseError,
        match=rf"no other command in {tmp_path}, got process {process.pid} on "
        rf"{socket.gethostname()}, this machine, in it since {today} [\d:]+: .* Wait until it has "
        rf"ended, stop it \(kill {process.pid}\), or choose another folder with --evaluation_dir$",
    ):
        claim_folder(tmp_path, "evaluation_dir")
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]

    process.communicate("go\n")
    assert list(tmp_path.iterdir()) == []  # nothing is left of it
    claim_folder(tmp_path)
    claim_folder(str(tmp_path))  # our own


@pytest.mark.parametrize("arguments", [(), ("with a process of its own",)])
def test_the_folder_of_a_command_that_was_killed_is_free(tmp_path, other, arguments):
    """Even if a process that it forked, such as one that loads data, lives on."""
    process = other(tmp_path, *arguments)
    process.kill()
    process.wait()
    assert (tmp_path / ".lock").exists()
    lock_folder(tmp_path, "--output_dir")
    pid, host = (tmp_path / ".lock").read_text().splitlines()
    assert (pid, host) == (str(os.getpid()), socket.gethostname())


def test_folders_within_each_other_are_two(tmp_path, other):
    """An evaluation below a training that runs."""
    other(tmp_path)
    claim_folder(tmp_path / "evaluation", "evaluation_dir")


def test_a_folder_made_anew_is_locked_anew(tmp_path, other):
    folder = tmp_path / "run"
    claim_folder(folder)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.mkdir()
    other(folder)
    with pytest.raises(FolderInUseError):
        claim_folder(folder)


# --- file systems without locks -------------------------------------------------------------------


@pytest.fixture
def no_flock(monkeypatch):
    """As on some network file systems."""

    def fails(descriptor, operation):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", fails)
    monkeypatch.setattr(folder_lock, "_PATIENCE", 0.2)


def soft(folder, pid, host, token):
    (folder / ".lock-soft").write_text(f"{pid}\n{host}\n{token}\n")


@pytest.fixture(scope="module")
def signature(tmp_path_factory):
    """Process, host and start of a process that holds a soft lock, as filelock writes them."""
    path = tmp_path_factory.mktemp("soft") / "lock"
    with SoftFileLock(path):
        pid, host, token = path.read_text().split()
    assert int(pid) == os.getpid()
    return int(pid), host, int(token)


def test_without_flock_a_file_stands_for_the_lock(tmp_path, no_flock, signature, caplog):
    lock_folder(tmp_path, "--output_dir")
    assert [path.name for path in tmp_path.iterdir()] == [".lock-soft"]
    assert caplog.messages == []
    signed = (tmp_path / ".lock-soft").read_text().split()
    assert (int(signed[0]), signed[1], int(signed[2])) == signature


def test_without_flock_a_living_process_is_named(tmp_path, no_flock, signature):
    pid, host, token = signature
    soft(tmp_path, pid, host, token)
    with pytest.raises(FolderInUseError, match=rf"process {pid} on {socket.gethostname()}, this"):
        lock_folder(tmp_path, "--output_dir")


@pytest.mark.parametrize(
    "stale", ["ended", "its number is another's", "another start of the machine"]
)
def test_without_flock_a_stale_lock_is_known(tmp_path, no_flock, signature, stale):
    pid, host, token = signature
    if stale == "ended":
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        pid = process.pid
    elif stale == "its number is another's":
        token -= 1
    else:
        token ^= 1 << 100
    soft(tmp_path, pid, host, token)
    lock_folder(tmp_path, "--output_dir")
    assert int((tmp_path / ".lock-soft").read_text().split()[0]) == os.getpid()


def test_without_flock_another_machine_cannot_be_asked(tmp_path, no_flock):
    soft(tmp_path, 7, "elsewhere", 1)
    with pytest.raises(
        FolderInUseError,
        match=rf"process 7 on elsewhere, in it since .*stop it \(there, kill 7\), remove "
        rf"{tmp_path}/.lock-soft if it is no more, or choose",
    ):
        lock_folder(tmp_path, "--output_dir")


def test_a_folder_that_cannot_be_locked_is_used_and_said_once(
    tmp_path, no_flock, caplog, monkeypatch
):
    opened = os.open

    def open_but_no_soft_lock(path, *arguments, **options):
        if str(path).endswith(".lock-soft"):
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", open_but_no_soft_lock)
    for _ in range(2):
        claim_folder(tmp_path)
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path} cannot be locked (Operation not supported): see to it")
    assert list(tmp_path.iterdir()) == []
