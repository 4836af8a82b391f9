"""Bundles run by two processes as ``torchrun --nproc_per_node=2 --max-restarts=3`` runs them.

``python launched.py`` imports once what every command imports, and forks the processes from there, by
torchrun's own launcher. It reads what to run on its standard input, a line of JSON each time, and answers
with a line. :class:`Launcher` is its other end.
"""

import atexit
import contextlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
import time
import uuid

LIMIT = 180  # seconds
# What a process says last: torchrun may name another, which failed when this one was gone.
KILLED = "this process is killed now"
IMPORTED = ("monai.bundle", "monai_ima.bundle", "monai_ima.evaluate_run")


class Launcher:
    """Runs bundles, one after the other.

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
            start_new_session=True,  # so that all that it has started can be ended
        )

    def run(self, *configs, kill=None, processes=2, **settings):
        """The seconds that it took; an error if it failed, or processes wait for one another.

        Args:
            configs: files.
            kill: which process is killed, and when: in its first start, before a step of training
                if it is a whole number, which counts them, otherwise after so many seconds.
            processes: how many there are.
            settings: of the command line.
        """
        flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
        words = ["run", "--config_file", str([str(config) for config in configs]), *flags]
        request = {"words": words, "kill": kill, "processes": processes, "log": str(self.log)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], LIMIT)[0]:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise TimeoutError(f"not done in {LIMIT} seconds\n{self.log.read_text()}")
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(f"{answer['error']}\n{self.log.read_text()}")
        return answer["seconds"]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.communicate()


# --- the process that forks -----------------------------------------------------------------------


def _serve():
    from monai.bundle import ComponentLocator
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for module in IMPORTED:
        __import__(module)
    ComponentLocator().get_component_module_name("")  # imports all of MONAI
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=request["processes"],
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=3,
            start_method="fork",
        )
        start = time.monotonic()
        try:
            elastic_launch(config, _run)(request["words"], request["kill"])
            answer = {"seconds": time.monotonic() - start}
        except Exception as error:  # noqa: BLE001  the other end raises it
            answer = {"error": repr(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _run(words, kill):
    """Run a command in this process."""
    time.sleep(1 - time.time() % 1)  # TensorBoard takes files of one second in any order
    disarm = None
    if kill is not None and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        rank, when = kill
        if os.environ["RANK"] == str(rank):
            disarm = _arm(when)
    sys.argv = ["monai.bundle", *words]
    try:
        # fire ends the program where it has run
        with contextlib.suppress(SystemExit):
            runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
    finally:
        if disarm is not None:
            disarm()
        atexit._run_exitfuncs()  # a forked process leaves them out


def _arm(when):
    """Have this process killed; what calls that off, if it can be."""
    if isinstance(when, float):
        timer = threading.Timer(when, _die)
        timer.start()
        return timer.cancel  # where the command has ended, nobody is to be killed any more
    from monai_ima.engines import RobustTrainer

    step, left = RobustTrainer._iteration, [when]

    def counted(trainer, engine, batch):
        left[0] -= 1
        if left[0] < 0:
            _die()
        return step(trainer, engine, batch)

    RobustTrainer._iteration = counted
    return None


def _die():
    os.write(2, f"{KILLED}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _serve()
