"""A pool of worker processes that never outlive the process that asked for them.

A worker leaves Ctrl-C, which reaches every process of a terminal, to the one that asked for it. It
ends when that one asks, or has died for any reason: at once on Linux, whose kernel tells
it, else as soon as its watching thread runs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import parent_process, resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from pickle import UnpicklingError  # noqa: TID251 (the error alone)
from typing import Any

from caloforge.processes.signals import uninterrupted

__all__ = ["WorkerDiedError", "worker_pool"]

GRACE = 2.0  # seconds in which a worker that is asked to end may tidy up
ASKED = 128 + signal.SIGTERM  # exit code of a worker that was asked to end
# Read by the numerical libraries when they are first imported.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PR_SET_PDEATHSIG = 1  # of Linux's prctl.h


class WorkerDiedError(RuntimeError):
    """A worker process ended before its work did."""


@contextmanager
def worker_pool(
    n: int,
    *,
    work: str,
    remedy: str,
    threads: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Sequence[Any] = (),
) -> Iterator[ProcessPoolExecutor]:
    """Start up to `n` worker processes, which end with the block.

    If the block raises, the workers are asked to end, and killed when they take too long.

    Args:
        n: number of processes.
        work: what they do, to say what died.
        remedy: what the user can do if one dies.
        threads: of the numerical libraries of each process; None: as many as they choose.
        initializer: called in each process before its first task.
        initargs: its arguments.

    Raises:
        WorkerDiedError: if a worker dies, such as where memory runs out.
    """
    context = _Context(threads)
    executor = ProcessPoolExecutor(
        n, mp_context=context, initializer=_begin, initargs=(initializer, tuple(initargs))
    )
    try:
        yield executor
    except BaseException as error:
        workers = [worker for worker in context.workers if worker.pid is not None]
        with uninterrupted():
            _stop(executor, workers)
        if isinstance(error, BrokenProcessPool):
            cause = _cause(workers)
            raise WorkerDiedError(f"a process of the {work} died{cause}: {remedy}") from error
        raise
    executor.shutdown()


def _stop(executor: ProcessPoolExecutor, workers: Sequence[_Worker]) -> None:
    executor.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + GRACE
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        if worker.exitcode is None:
            worker.kill()
    executor.shutdown()


def _cause(workers: Sequence[_Worker]) -> str:
    """How the first worker died that was not asked to end."""
    asked = (None, 0, ASKED, -signal.SIGTERM)
    for code in (worker.exitcode for worker in workers):
        if code not in asked and code is not None:
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            out_of_memory = ", as happens where memory runs out" if code == -signal.SIGKILL else ""
            return f" ({how}{out_of_memory})"
    return ""


class _Worker(SpawnProcess):
    """A process that does not hear Ctrl-C and ends with its parent."""

    threads: int | None = None

    def start(self) -> None:
        # Its start would unblock the signal: it must be there before.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # is inherited
        try:
            # a half-started process has no handle to end it by
            with uninterrupted(), _inherited(self.threads):
                super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def __reduce__(self) -> tuple[Any, ...]:
        # What arrives first in the new process is told of its parent before all that its work
        # needs is imported, which takes seconds.
        return _arrive, (os.getpid(),), self.__dict__

    def run(self) -> None:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            super().run()
        except (EOFError, UnpicklingError):
            # What a task raises is a result: this is half a message of the queue, the other half of
            # which a worker read that was asked to end just then.
            sys.exit(ASKED)


class _Context(SpawnContext):
    """Starts workers, and keeps a list of them."""

    def __init__(self, threads: int | None) -> None:
        super().__init__()
        self.threads = threads
        self.workers: list[_Worker] = []

    def Process(self, *args: Any, **options: Any) -> _Worker:  # type: ignore[override]  # noqa: N802
        worker = _Worker(*args, **options)
        worker.threads = self.threads
        self.workers.append(worker)
        return worker


@contextmanager
def _inherited(threads: int | None) -> Iterator[None]:
    """Let processes that are started within the block use so many threads."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES if threads is not None}
    os.environ.update(dict.fromkeys(before, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _arrive(parent: int) -> _Worker:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(ASKED)  # it died before
    return _Worker.__new__(_Worker)


def _begin(initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
    if initializer is not None:
        initializer(*initargs)
    signal.signal(signal.SIGTERM, _end)  # from here on there may be something to tidy up


def _end(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what tidies up is not interrupted
    sys.exit(ASKED)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(ASKED)
