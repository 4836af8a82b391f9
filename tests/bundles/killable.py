"""Real commands that are killed at a chosen point, by SIGKILL, which no process notices.

``python killable.py`` imports once what every command imports, which takes seconds, and forks for each
command a process that runs it as the shell would. It is told on its standard input what to run, a line
of JSON each time, and answers with a line: how the process ended. :class:`Commands` is its other end.

A point is a call of a function by its name, wherever that is called from: nothing in the package knows
of it.
"""

import atexit
import contextlib
import importlib
import json
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

IMPORTED = ("monai.bundle", "monai_ima.bundle", "monai_ima.evaluate_run", "monai_ima.cli.evaluate")


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


class Commands:
    """Runs commands, one after the other, in processes of their own.

    Args:
        root: the working folder.
        log: the file to which their output is appended.
    """

    def __init__(self, root, log):
        self.log = log
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__],
            cwd=root,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, module, *words, kill=None):
        """The exit code, negative for a signal, and whether a kill "within" was within the call."""
        command = {"words": [module, *map(str, words)], "log": str(self.log)}
        command["kill"] = None if kill is None else asdict(kill)
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return tuple(json.loads(self._process.stdout.readline()))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.communicate()


def bundle_words(*configs, **settings):
    """The words of ``python -m monai.bundle`` that run these configs with these settings."""
    flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    return "run", "--config_file", str([str(config) for config in configs]), *flags


# --- the process that forks -----------------------------------------------------------------------


def _serve():
    for module in IMPORTED:
        importlib.import_module(module)
    from monai.bundle import ComponentLocator

    ComponentLocator().get_component_module_name("")  # imports all of MONAI
    for line in sys.stdin:
        command = json.loads(line)
        point = Point(**command["kill"]) if command["kill"] else None
        time.sleep(1 - time.time() % 1)  # TensorBoard takes files of one second in any order
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            _run(command["words"], Path(command["log"]), point, write)
        os.close(write)
        if point is not None and point.when == "within" and os.read(read, 1):
            time.sleep(point.delay)
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        has_returned = os.read(read, 1) != b""
        os.close(read)
        answer = os.waitstatus_to_exitcode(status), not has_returned
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _run(words, log, point, passed):
    """Run a command in this process, and end it as Python's own start would."""
    code = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if point is not None:
            _arm(point, passed)
        sys.argv = list(words)
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001  as at the end of any program
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


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
            os.write(passed, b"<")
        if point.when == "torn":
            (descriptor,) = arguments
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - 100)
        if point.when in ("before", "torn"):
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **options)
        if point.when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(passed, b">")
        return result

    setattr(owner, name, counted)


def _text(argument):
    if isinstance(argument, int):
        with contextlib.suppress(OSError):
            return str(Path(f"/proc/self/fd/{argument}").readlink())
    return str(argument) if isinstance(argument, int | str | os.PathLike) else ""


if __name__ == "__main__":
    _serve()
