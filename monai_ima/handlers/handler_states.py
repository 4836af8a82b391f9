"""What handlers remember from one epoch to the next, for a checkpoint to keep."""

from __future__ import annotations

import inspect
import io
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from torch import nn


def states_of_handlers(engines: Iterable[Engine], known: Iterable[object]) -> dict[str, Any]:
    """The objects with a state among the handlers of engines, or in an attribute of one.

    Such as the scheduler in MONAI's ``LrScheduleHandler``. Metrics start anew in every epoch.

    Args:
        engines: whose handlers are looked at.
        known: objects whose state is kept anyway, with all modules in them.

    Returns:
        The objects by a name that is the same whenever the same handlers are attached.

    Raises:
        TypeError: if a state is more than tensors and plain values, which alone a checkpoint holds.
    """
    seen = {id(part) for whole in known for part in _with_modules(whole)}
    found: dict[str, Any] = {}
    for owner in _owners(engines):
        for attribute, part in {"": owner, **getattr(owner, "__dict__", {})}.items():
            if not _has_state(part) or id(part) in seen:
                continue
            seen.update(id(each) for each in _with_modules(part))
            name = ".".join(filter(None, [type(owner).__name__, attribute]))
            again = sum(other.split(" ")[0] == name for other in found)
            found[f"{name} {again + 1}" if again else name] = part
            if part is owner:
                break
    for name, part in found.items():
        _check_loadable(name, part)
    return found


def _owners(engines: Iterable[Engine]) -> Iterator[object]:
    for engine in engines:
        for handlers in engine._event_handlers.values():
            for handler, *_ in handlers:
                called = inspect.unwrap(handler)  # Ignite wraps those of some events only
                owner = getattr(called, "__self__", called)
                if not isinstance(owner, Engine | Metric):
                    yield owner


def _has_state(part: object) -> bool:
    if isinstance(part, Engine | Metric | type):
        return False
    return callable(getattr(part, "state_dict", None)) and callable(
        getattr(part, "load_state_dict", None)
    )


def _with_modules(part: object) -> Iterator[object]:
    yield from part.modules() if isinstance(part, nn.Module) else [part]


def _check_loadable(name: str, part: Any) -> None:
    file = io.BytesIO()
    try:
        torch.save(part.state_dict(), file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except Exception as error:  # of pickle and of the state itself: any
        said = " ".join(str(error).split())[:300]
        raise TypeError(
            f"expected the state of the handler {name} to be tensors and plain values, which a "
            f"checkpoint keeps, got: {said}; a run with it could not be resumed: take another"
        ) from error
