"""A place in a list of handlers, for a config to fill."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ignite.engine import Engine


@runtime_checkable
class Attachable(Protocol):
    """What MONAI calls a handler."""

    def attach(self, engine: Engine) -> None:
        """Register what it does with the engine's events."""
        ...


class HandlerSlot:
    """Hand on to another handler, or to none.

    In a bundle's config a handler with a key of its own can be replaced by name, or by ``null``,
    from an overriding file; but MONAI's ``check_properties`` takes only components for the items
    of ``train#handlers``, not references. This is the component that holds the reference.

    Args:
        handler: any handler, or ``None`` for nothing to happen.

    Raises:
        TypeError: if it is neither.
    """

    def __init__(self, handler: Attachable | None) -> None:
        if handler is not None and not isinstance(handler, Attachable):
            raise TypeError(f"expected a handler, or None, got {type(handler).__name__}")
        self.handler = handler

    def attach(self, engine: Engine) -> None:
        if self.handler is not None:
            self.handler.attach(engine)
