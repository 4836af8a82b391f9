"""How one of several processes ends in an error, so that of all of them one message is read."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

# What gloo, NCCL and torch's store say in a process whose neighbour is gone.
_GONE = re.compile(
    r"Connection (was likely )?(closed|reset)|Broken pipe|Socket closed|ncclRemoteError"
    r"|Failed to recv, got 0 bytes"
)
_PATIENCE = 5.0  # seconds, in which torchrun has ended this process, too


def left_alone(error: BaseException) -> str:
    """What to say where this process stops since another one is gone; empty if it does not.

    Its traceback would be the longest thing on the console, and says nothing of the cause.

    Args:
        error: the first cause.
    """
    one_of_several = os.environ.get("WORLD_SIZE", "1") != "1"
    if not (one_of_several and isinstance(error, RuntimeError) and _GONE.search(str(error))):
        return ""
    return (
        f"process {os.environ.get('RANK', 'unknown')} has lost another one, which has stopped before: "
        "do what that one says; if it says nothing, it was killed, mostly for want of memory, or "
        f"the network failed ({type(error).__name__}: {error})"
    )


def await_the_end() -> None:
    """Give torchrun the time to see who has stopped first, whom it names as the cause."""
    time.sleep(_PATIENCE)


def tell_torchrun(said: str) -> None:
    """Have torchrun, if it has started this process, say in its own last lines what went wrong.

    They are ``ChildFailedError`` and a table, where it otherwise refers to a page on how to see more.
    """
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not file:
        return
    about = {"py_callstack": said, "timestamp": str(int(time.time()))}
    Path(file).write_text(json.dumps({"message": {"message": said, "extraInfo": about}}))
