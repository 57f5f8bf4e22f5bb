"""Work for executors to do, where their workers can import it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from caloforge.jobs import report

__all__ = ["Board", "fail", "say", "square", "threads"]


def square(x: float) -> float:
    return x**2


def say(words: Sequence[str]) -> int:
    for word in words:
        report(word)
    return os.getpid()


def fail(reason: str) -> None:
    raise ZeroDivisionError(reason)


def threads() -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


class Board:
    """A folder where tasks meet; each worker has a copy of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arrivals = 0

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.arrivals += 1  # one journey from process to process

    def write(self, name: str, reads: Sequence[str]) -> int:
        """Write a file that says what those said that are read."""
        words = [(self.folder / other).read_text() for other in reads]
        (self.folder / name).write_text(" ".join([name, *words]))
        return self.arrivals

    def tick(self, name: str) -> None:
        """Say a word and write a letter a hundred times, which takes long."""
        for _ in range(100):
            report(name)
            with (self.folder / name).open("a") as file:
                file.write("x")
            time.sleep(0.1)

    def die(self) -> None:
        signal.raise_signal(signal.SIGKILL)
