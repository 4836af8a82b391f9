"""Read mutants of each kind of file in a process of its own, and say what came of them.

python tests/files/try_mutants.py OUTPUT.json [KIND ...]
"""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import torch
from kinds import KINDS, Said, trained
from mutation import mutated

SECONDS = 20  # that a mutant may take
MEMORY = 2**30  # bytes that it may take beyond what is loaded


def try_all(names):
    """For each kind, how each mutant ended."""
    torch.set_num_threads(1)  # others would not be there after a fork
    trained()
    scratch = Path(tempfile.mkdtemp(prefix="mutants-"))
    foreign = []
    for name in KINDS:
        folder = scratch / name
        folder.mkdir()
        KINDS[name].write(folder)
        foreign += [(folder / KINDS[name].files[0]).read_bytes()]
    found = {}
    for name in names:
        answers = scratch / f"{name}.jsonl"
        pid = os.fork()
        if pid == 0:
            limited()
            with answers.open("w", buffering=1) as file:
                for answer in trials(KINDS[name], name, scratch / name, foreign):
                    file.write(json.dumps(answer) + "\n")
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        found[name] = [json.loads(line) for line in answers.read_text().splitlines()]
        if status != 0:
            code = os.waitstatus_to_exitcode(status)
            last = found[name][-1]["number"] + 1 if found[name] else 0
            found[name].append({"number": last, "outcome": "dies", "said": f"exit code {code}"})
    shutil.rmtree(scratch)
    shutil.rmtree(trained().parent)
    return found


def limited():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def trials(kind, name, folder, foreign):
    """How each mutant of a kind ended."""
    logging.getLogger("monai_ima").addHandler(Said(logging.WARNING))
    valid = kind.read(folder)
    assert not kind.broken(valid, valid, folder), (name, kind.broken(valid, valid, folder))
    whole = {file: (folder / file).read_bytes() for file in kind.files}
    for number in range(kind.trials):
        draw = random.Random(f"{name} {number}")
        file = draw.choice(kind.files)
        content = whole[file]
        if kind.pack and draw.random() < 0.7:
            unpack, pack = kind.pack
            changed = pack(mutated(unpack(content), draw, [], is_text=kind.is_text))
        else:
            changed = mutated(content, draw, foreign, is_text=kind.is_text)
        (folder / file).write_bytes(changed)
        before = tree(folder)
        signal.alarm(SECONDS)
        outcome, said = judged(kind, valid, folder)
        signal.alarm(0)
        if tree(folder) != before:
            outcome, said = "leaves files", str(sorted(set(tree(folder)) ^ set(before)))
        (folder / file).write_bytes(content)
        yield {"number": number, "file": file, "outcome": outcome, "said": said}


def judged(kind, valid, folder):
    """What became of a mutant, and what was said of it."""
    try:
        result = kind.read(folder)
    except Exception as error:  # noqa: BLE001  whatever it is
        said = f"{type(error).__name__}: {error}"
        if ran_out_of_memory(error):
            return "takes too much memory", said
        named = any(file in str(error) for file in kind.files)
        if isinstance(error, ValueError | OSError) and named:
            return "refused", said
        return "obscure", said + "".join(traceback.format_tb(error.__traceback__)[-1:])
    fault = kind.broken(result, valid, folder)
    return ("accepted wrongly", fault) if fault else ("accepted", "")


def ran_out_of_memory(error):
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def tree(folder):
    return {
        str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    output, *names = sys.argv[1:]
    Path(output).write_text(json.dumps(try_all(names or list(KINDS))))
