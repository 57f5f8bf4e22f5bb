"""Executors of tasks: in this process, in several, or on other workers."""

from __future__ import annotations

import os
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any, NamedTuple, Protocol, runtime_checkable

from caloforge.jobs.reporting import Listener, heard_by
from caloforge.jobs.task import Schedule, Task
from caloforge.processes import worker_pool

__all__ = ["Executor", "Finished", "Processes", "Serial", "Workers", "find_executor"]


class Finished(NamedTuple):
    """A task that is done.

    Attributes:
        key: of the task.
        result: what its function returned, None where its result lies in files.
    """

    key: str
    result: Any


@runtime_checkable
class Executor(Protocol):
    """Does tasks, each after those that it needs."""

    def run(
        self,
        tasks: Sequence[Task],
        *,
        shared: Any = None,
        progress: Listener | None = None,
        work: str = "work",
        remedy: str = "do it again",
    ) -> Generator[Finished, None, None]:
        """Do tasks and yield each as soon as it is finished.

        Whoever leaves the loop before its end closes the generator (`contextlib.closing`), which
        stops what is still running.

        Args:
            tasks: in any order.
            shared: passed to each worker once, and then the first argument of every call; None
                where the calls have no such argument.
            progress: called, in this process, with what tasks `report`.
            work: what is done, to say what died.
            remedy: what the user can do if a worker dies.

        Raises:
            ValueError: if two tasks have one key, or needs are missing or form a circle.
            WorkerDiedError: if a worker dies.
            Exception: that a task raises; no other task is begun then.
        """


class Serial:
    """Does one task after the other, in this process."""

    def run(
        self,
        tasks: Sequence[Task],
        *,
        shared: Any = None,
        progress: Listener | None = None,
        work: str = "work",
        remedy: str = "do it again",
    ) -> Generator[Finished, None, None]:
        """See `Executor`."""
        return self._run(Schedule(tasks), _first(shared), progress)

    def _run(
        self, schedule: Schedule, first: tuple[Any, ...], progress: Listener | None
    ) -> Generator[Finished, None, None]:
        while schedule:
            for task in schedule.ready():
                with heard_by(progress):
                    result = task.run(*first)
                schedule.done(task.key)
                yield Finished(task.key, result)


class Future(Protocol):
    """A result to come, as `concurrent.futures` and dask have it."""

    def add_done_callback(self, call: Callable[[Any], object], /) -> None:
        """Let it be called with the future, once that is done."""

    def result(self) -> Any:
        """What was returned, or raise what was raised."""


Submit = Callable[[Task], Future]


class Workers(ABC):
    """Does tasks side by side: what all executors with several workers have in common."""

    @abstractmethod
    def begin(
        self,
        most: int,
        first: tuple[Any, ...],
        listener: Listener | None,
        *,
        work: str,
        remedy: str,
    ) -> AbstractContextManager[Submit]:
        """Workers for a block, which end their work with it.

        Args:
            most: tasks that are done at once at most.
            first: what every call has before its arguments.
            listener: takes what tasks report, from any thread; None for no reports.
            work: as for `run`.
            remedy: as for `run`.
        """

    def run(
        self,
        tasks: Sequence[Task],
        *,
        shared: Any = None,
        progress: Listener | None = None,
        work: str = "work",
        remedy: str = "do it again",
    ) -> Generator[Finished, None, None]:
        """See `Executor`."""
        # what tasks say, with the key None, and the futures of those that have ended
        events: queue.SimpleQueue[tuple[str | None, Any]] = queue.SimpleQueue()

        def put(key: str | None, what: Any) -> None:
            events.put((key, what))

        tell = progress or (lambda message: None)
        listener = None if progress is None else partial(put, None)
        workers = self.begin(len(tasks), _first(shared), listener, work=work, remedy=remedy)
        schedule = Schedule(tasks)

        def finished() -> Generator[Finished, None, None]:
            with workers as submit:

                def begin_ready() -> None:
                    for task in schedule.ready():
                        submit(task).add_done_callback(partial(put, task.key))

                begin_ready()
                while schedule:
                    key, what = events.get()
                    if key is None:
                        tell(what)
                        continue
                    result = what.result()
                    schedule.done(key)
                    begin_ready()  # no worker waits for the result to be taken
                    yield Finished(key, result)
            while not events.empty():  # said last, and heard after its task had ended
                tell(events.get()[1])

        return finished()


def _first(shared: Any) -> tuple[Any, ...]:
    return () if shared is None else (shared,)


class Processes(Workers):
    """Does tasks in processes of this machine, which end with this one.

    One task alone, or with one process, is done in this process. A script must use several under
    `if __name__ == "__main__":`, as multiprocessing asks.

    Args:
        n: number of processes at most. The numerical libraries of each have their share of the
            processors that this process may use.

    Raises:
        ValueError: if n is below 1.
    """

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"processes must be 1 or more, got {n}")
        self.n = n

    def __repr__(self) -> str:
        return f"Processes({self.n})"

    def run(self, tasks: Sequence[Task], **options: Any) -> Generator[Finished, None, None]:
        """See `Executor`."""
        if min(self.n, len(tasks)) <= 1:
            return Serial().run(tasks, **options)
        return super().run(tasks, **options)

    @contextmanager
    def begin(
        self,
        most: int,
        first: tuple[Any, ...],
        listener: Listener | None,
        *,
        work: str,
        remedy: str,
    ) -> Iterator[Submit]:
        """See `Workers`."""
        n = min(self.n, most)
        messages = None if listener is None else get_context("spawn").Queue()
        with (
            _forwarding(messages, listener),
            worker_pool(
                n,
                work=work,
                remedy=remedy,
                threads=max(1, len(os.sched_getaffinity(0)) // n),
                initializer=_begin,
                initargs=(first, messages),
            ) as pool,
        ):
            yield lambda task: pool.submit(_work, task)


class _Here:
    """What a worker process holds between tasks."""

    first: tuple[Any, ...]
    listener: Listener | None


def _begin(first: tuple[Any, ...], messages: Any) -> None:
    _Here.first, _Here.listener = first, None if messages is None else messages.put


def _work(task: Task) -> Any:
    with heard_by(_Here.listener):
        return task.run(*_Here.first)


@contextmanager
def _forwarding(messages: Any, listener: Listener | None) -> Iterator[None]:
    """Hand the workers' messages on, in a thread, until all of them are."""
    if messages is None or listener is None:
        yield
        return
    ended = threading.Event()

    # Nothing is put into the queue from here: a worker that was killed may have left it locked.
    def forward() -> None:
        while True:
            last = ended.is_set()
            try:
                listener(messages.get(timeout=0.1))
            except queue.Empty:
                if last:
                    return

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=5)


def find_executor(processes: int | Executor) -> Executor:
    """The executor that is meant by a number of processes; any other one is itself.

    Raises:
        ValueError: if it is neither a number from 1 nor an executor.
    """
    if isinstance(processes, int):
        return Processes(processes)
    if not isinstance(processes, Executor):
        raise ValueError(
            f"processes must be a number from 1 or an executor such as Processes(2), got "
            f"{processes!r}"
        )
    return processes
