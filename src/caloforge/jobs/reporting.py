"""What a task reports while it runs, in whichever process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["Listener", "heard_by", "report"]

Listener = Callable[[Any], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def report(message: Any) -> None:
    """Report to whatever runs the task, see `Executor.run`; without effect outside of tasks.

    Args:
        message: anything that can be passed to another process.
    """
    listener = _listener.get()
    if listener is not None:
        listener(message)


@contextmanager
def heard_by(listener: Listener | None) -> Iterator[None]:
    """Let a listener hear what is reported within the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
