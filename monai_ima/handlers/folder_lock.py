"""One command at a time in the folder of a run."""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import os
import socket
import time
from pathlib import Path
from typing import NamedTuple

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from monai_ima.errors import RejectedError

_logger = logging.getLogger(__name__)
_LOCK, _SOFT_LOCK = ".lock", ".lock-soft"
_PATIENCE = 1.0  # seconds, in which a command that is about to end has ended
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EIO}
_without: set[Path] = set()


class _Held(NamedTuple):
    """A lock, and the number of its file: the folder may be removed meanwhile, and made anew.

    It is that of one process: another one that was forked from it leaves it alone.
    """

    lock: BaseFileLock
    inode: int
    pid: int

    @property
    def is_there(self) -> bool:
        try:
            return Path(self.lock.lock_file).stat().st_ino == self.inode
        except OSError:
            return False


_held: dict[Path, _Held] = {}


class FolderInUseError(RejectedError):
    """Another command is in the folder: says which, and what to do."""


def make_and_lock(folder: str | Path, setting: str) -> bool:
    """Make a folder if need be, see that it can be written to, and :func:`lock_folder`.

    Args:
        folder: where files are to be written.
        setting: what names the folder, as the user writes it, for the message.

    Returns:
        Whether this call has locked it.

    Raises:
        FolderInUseError: if another process has it.
        OSError: if it cannot be written to.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        locked = lock_folder(folder, setting)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"expected {setting.lstrip('-')} to be a folder that can be written to, got {folder}: "
            f"{error}; choose another with {setting}"
        ) from error
    return locked


def lock_folder(folder: str | Path, setting: str) -> bool:
    """Keep other commands out of a folder until this process ends, in whatever way.

    Or until :func:`free_folder`, by who has locked it.

    The operating system holds the lock, and frees it when the process ends or is killed or the
    machine goes down. On a file system without such locks a file takes the place of one, which is known to
    be stale if its process, on this machine, is no more. A folder that can be locked in neither way
    is used as it is, which a warning says once.

    Args:
        folder: an existing folder. Further calls of this process do nothing.
        setting: what names the folder on the command line, for the message.

    Returns:
        Whether this call has locked it: not if it was locked, or cannot be.

    Raises:
        FolderInUseError: if another process has it.
        OSError: if the folder cannot be written to.
    """
    folder = Path(folder).resolve()
    held = _held.get(folder)
    if folder in _without or (held and held.is_there):
        return False
    try:
        _held[folder] = _locked(folder)
    except Timeout as timeout:
        raise FolderInUseError(_in_use(folder, Path(timeout.lock_file), setting)) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _without.add(folder)
        _logger.warning(
            "%s cannot be locked (%s): see to it yourself that no other command uses it meanwhile, "
            "which would mix their files",
            folder,
            error.strerror,
        )
        return False
    return True


def free_folder(folder: str | Path) -> None:
    """Let other commands into a folder that :func:`lock_folder` has locked.

    Args:
        folder: may be gone meanwhile.
    """
    folder = Path(folder).resolve()
    held = _held.get(folder)
    if held is None or held.pid != os.getpid():
        return
    with contextlib.suppress(OSError):
        if isinstance(held.lock, FileLock) and held.is_there:
            Path(held.lock.lock_file).unlink()  # whoever waits for it sees that, and makes another
        held.lock.release()
    del _held[folder]


@atexit.register
def _free_all() -> None:
    for folder in list(_held):
        free_folder(folder)


def _locked(folder: Path) -> _Held:
    path = folder / _LOCK
    try:
        lock: BaseFileLock = FileLock(
            path,
            timeout=_PATIENCE,
            thread_local=False,
            fallback_to_soft=False,
            on_acquired=_sign,
        )
        lock.acquire()
    except Timeout:
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        if path.stat().st_size == 0:  # nobody's signature
            path.unlink()
        lock = SoftFileLock(folder / _SOFT_LOCK, timeout=_PATIENCE, thread_local=False)
        lock.acquire()
    return _Held(lock, Path(lock.lock_file).stat().st_ino, os.getpid())


def _sign(descriptor: int) -> None:
    """Write who holds the lock, in the form of filelock's own soft locks."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n{socket.gethostname()}\n".encode(), 0)


def _in_use(folder: Path, lock: Path, setting: str) -> str:
    """Who is in the folder, since when, and what to do."""
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(lock.stat().st_mtime))
        pid, host, *_ = lock.read_text().split("\n")
    except (OSError, ValueError):  # it signs just now
        since, pid, host = "this second", "unknown", "unknown"
    host = host.partition("?")[0]  # behind it filelock has the container
    here = host == socket.gethostname()
    stale = "" if lock.name == _LOCK else f", remove {lock} if it is no more"
    return (
        f"expected no other command in {folder}, got process {pid} on {host}"
        f"{', this machine' if here else ''}, in it since {since}: two would mix their files. Wait "
        f"until it has ended, stop it ({'' if here else 'there, '}kill {pid}){stale}, or choose "
        f"another folder with {setting}"
    )
