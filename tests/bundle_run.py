"""Commands, as a user types them, in processes of their own.

A server imports once what every command imports, which takes seconds, and forks for each command a
process that runs it as the shell would.
"""

import atexit
import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing import forkserver
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_context = multiprocessing.get_context("forkserver")


def run_bundle(*configs, **settings):
    """Run the configs with these settings; the ended process with its output."""
    return start_bundle(*configs, **settings).end()


def start_bundle(*configs, **settings):
    """The same, which goes on."""
    return Command("monai.bundle", *bundle_words(*configs, **settings))


def run_command(*words):
    """Run ``monai-ima`` with these words; the ended process with its output."""
    return Command("monai_ima", *words).end()


def bundle_words(*configs, **settings):
    """The words of ``python -m monai.bundle`` that run these configs with these settings."""
    return "run", "--config_file", str([str(config) for config in configs]), *flags(settings)


def flags(settings):
    """The words that give these settings."""
    return [text for name, value in settings.items() for text in (f"--{name}", str(value))]


class Command:
    """``python -m MODULE WORDS``, on one thread.

    Args:
        module: a module.
        words: of the command line.
        folder: in which it is started.
        prepare: called in the new process before the module is run.
    """

    def __init__(self, module, *words, folder=ROOT, prepare=None):
        _start_server()
        self.words = [module, *map(str, words)]
        self._output = Path(tempfile.mkdtemp(prefix="command-"))
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        arguments = (self.words, folder, environment, self._output, prepare)
        self._process = _context.Process(target=_run, args=arguments, daemon=True)
        self._process.start()
        self.pid = self._process.pid

    def is_running(self):
        return self._process.is_alive()

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """End it, and all that it has started, by SIGKILL, which no process notices."""
        if self.is_running():
            os.killpg(self.pid, signal.SIGKILL)
        return self.end()

    def wait_for(self, path):
        """Wait until a file is there."""
        deadline = time.monotonic() + 120
        while not path.exists() and time.monotonic() < deadline:
            assert self.is_running(), self.end()
            time.sleep(0.01)

    def end(self):
        """Wait for its end, as :func:`subprocess.run` does."""
        self._process.join()
        said = [(self._output / name).read_text() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(self.words, self._process.exitcode, *said)


def fork_commands():
    """To prepare a command that starts Python itself, by :func:`subprocess.run`: fork it as well."""

    def run(words, check):
        assert not check
        assert words[:2] == [sys.executable, "-m"]
        pid = os.fork()
        if pid == 0:
            _run_module(words[2:])
        _, status = os.waitpid(pid, 0)
        return subprocess.CompletedProcess(words, os.waitstatus_to_exitcode(status))

    subprocess.run = run


def _start_server():
    """Start the server, which imports from where this process does, unless it is there."""
    _context.set_forkserver_preload(["bundle_run_imports"])
    before = dict(os.environ)
    os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, sys.path)), OMP_NUM_THREADS="1")
    forkserver.ensure_running()
    os.environ.clear()
    os.environ.update(before)


def _run(words, folder, environment, output, prepare):
    """Run a command in this process, which the server has made."""
    os.setsid()
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(output / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    if prepare is not None:
        prepare()
    _run_module(words)


def _run_module(words):
    """Run a module in this process, and end it as Python's own start would."""
    code = 1
    try:
        sys.argv = list(words)
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
    except BaseException:  # noqa: BLE001  as at the end of any program
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
