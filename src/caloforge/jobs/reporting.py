"""What a task says of itself while it is at work, wherever that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["Hear", "heard_by", "report"]

Hear = Callable[[Any], None]

_hear: ContextVar[Hear | None] = ContextVar("hear", default=None)


def report(message: Any) -> None:
    """Tell whoever runs the task at work, see `Executor.run`; outside of tasks nobody listens.

    Args:
        message: anything that can be handed to another process.
    """
    hear = _hear.get()
    if hear is not None:
        hear(message)


@contextmanager
def heard_by(hear: Hear | None) -> Iterator[None]:
    """Let someone hear what is reported within the block."""
    token = _hear.set(hear)
    try:
        yield
    finally:
        _hear.reset(token)
