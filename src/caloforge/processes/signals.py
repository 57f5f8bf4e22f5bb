"""Signals that wait until what must not be interrupted is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["uninterrupted"]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C, and a SIGTERM that Python handles, wait until the block ends."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread handles signals
        return
    waiting: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    handled = {n: handler for n in numbers if callable(handler := signal.getsignal(n))}
    for number in handled:
        signal.signal(number, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])
