"""The last line on the console when a command ends in an error."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import TracebackType

from monai.bundle.reference_resolver import ReferenceResolver

from monai_ima.bundle.one_of_several import await_the_end, left_alone, tell_torchrun

_PACKAGE = Path(__file__).parents[1]


# What this package does not raise to say what is wrong.
_ACCIDENTS = (AttributeError, LookupError, NameError, TypeError)


def say_errors_last() -> None:
    """After the traceback of an error that ends the program, repeat in one line what went wrong.

    MONAI wraps what goes wrong in a config into errors of its own, which end in the text of the
    expression; what the user should read is then a screen further up.
    """

    def hook(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception):  # Ctrl-C says enough
            sys.__excepthook__(kind, error, traceback)
            return
        chain: list[BaseException] = [error]
        while chain[-1].__cause__ is not None:
            chain.append(chain[-1].__cause__)
        if left := left_alone(chain[-1]):
            sys.stderr.write(f"\nStopped: {left}\n")
            sys.stderr.flush()
            await_the_end()
            return
        sys.__excepthook__(kind, error, traceback)
        said = _said(chain)
        sys.stderr.write(f"\nStopped: {said}\n")
        tell_torchrun(f"Stopped: {said}")

    sys.excepthook = hook


def _said(chain: list[BaseException]) -> str:
    """What went wrong and what to do, of an error and its causes."""
    cause = next(filter(is_ours, chain), chain[-1])
    said = _said_by_worker(str(cause)) or f"{type(cause).__name__}: {cause}"
    missing = re.search(r"No module named '(\w+)", said) if not is_ours(cause) else None
    if missing:  # MONAI adds a traceback of its own, behind an empty line
        said = said.partition("\n\n")[0]
    accident = not is_ours(cause) or isinstance(cause, _ACCIDENTS)
    if accident and (id_ := _built(chain)):
        said += f" (in {id_} of the config)"
    if missing:
        said += (
            f"; install the package that has {missing[1]} (mostly pip install {missing[1]}), or add "
            "the folder of a module of your own to PYTHONPATH"
        )
    return said


def is_ours(error: BaseException) -> bool:
    """Whether the error was raised by this package, which says what to do."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "")
    return module.startswith("monai_ima")


def _built(chain: list[BaseException]) -> str:
    """The part of the config that was being built or evaluated when it went wrong, if one was."""
    for error in reversed(chain):
        traceback, found = error.__traceback__, ""
        while traceback is not None:
            names = traceback.tb_frame.f_locals
            if isinstance(names.get("self"), ReferenceResolver):
                found = str(names.get("id", found))
            traceback = traceback.tb_next
        if found:
            return found
    return ""


def _said_by_worker(text: str) -> str:
    """What went wrong in a loading process, of which torch hands on no more than the traceback.

    Empty if ``text`` is no such traceback.
    """
    if not re.match(r"Caught \w+ in DataLoader worker process", text):
        return ""
    between = re.compile(
        r"\n\n(?:The above exception was the direct|During handling of the above) .*\n"
    )
    tracebacks = between.split(text)
    ours = [block for block in tracebacks if _raised_in(block).is_relative_to(_PACKAGE)]
    # what was raised is behind the last line of code, which is indented
    *_, said = re.split(r"\n +.*(?=\n\S)", (ours or tracebacks)[0])
    return re.sub(r"^(\w+\.)+(?=\w+:)", "", said.strip())


def _raised_in(traceback: str) -> Path:
    return Path(traceback.rpartition('  File "')[2].partition('"')[0])
