"""Real commands that are killed at a chosen point, by SIGKILL, which no process notices.

A point is a call of a function by its name, wherever that is called from: nothing in the package knows
of it.
"""

import contextlib
import functools
import multiprocessing
import os
import pkgutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from bundle_run import Command


@dataclass(frozen=True)
class Point:
    """Where a command is killed.

    Attributes:
        name: full name of a function or method.
        call: which of its calls, from 1.
        of: only calls are counted of which an argument has this in it, as text; of a file's
            descriptor, its path.
        when: ``"before"`` or ``"after"`` the call; ``"torn"``, before it, with the end of what was
            written to the file whose descriptor it is given cut off; or ``"within"``, ``delay``
            seconds after its start, wherever the command is then.
        delay: see there.
    """

    name: str
    call: int = 1
    of: str = ""
    when: str = "before"
    delay: float = 0.0


def run_killed(point, module, *words):
    """How a command ended, and whether a kill "within" was within the call."""
    seen, passed = multiprocessing.Pipe(duplex=False)
    command = Command(module, *words, prepare=functools.partial(_arm, point, passed))
    passed.close()
    if point.when == "within" and _is_told(seen):
        time.sleep(point.delay)
        command.kill()
    return command.end(), not _is_told(seen)


def _is_told(seen):
    """Whether a call began or ended, rather than the process."""
    try:
        seen.recv_bytes()
    except EOFError:
        return False
    return True


# --- in the new process ---------------------------------------------------------------------------


def _arm(point, passed):
    owner_name, _, name = point.name.rpartition(".")
    owner = pkgutil.resolve_name(owner_name)
    original = getattr(owner, name)
    left = [point.call]

    def counted(*arguments, **options):
        if not any(point.of in _text(each) for each in ("", *arguments, *options.values())):
            return original(*arguments, **options)
        left[0] -= 1
        if left[0] != 0:
            return original(*arguments, **options)
        if point.when == "within":
            passed.send_bytes(b"<")
        if point.when == "torn":
            (descriptor,) = arguments
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - 100)
        if point.when in ("before", "torn"):
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **options)
        if point.when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        passed.send_bytes(b">")
        return result

    setattr(owner, name, counted)


def _text(argument):
    if isinstance(argument, int):
        with contextlib.suppress(OSError):
            return str(Path(f"/proc/self/fd/{argument}").readlink())
    return str(argument) if isinstance(argument, int | str | os.PathLike) else ""
