"""Tasks on a cluster, with dask."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

from distributed import Client, KilledWorker, WorkerPlugin, get_worker
from distributed.protocol import deserialize_bytes, serialize_bytes

from caloforge.jobs.executor import Submit, Workers
from caloforge.jobs.reporting import Listener, heard_by
from caloforge.jobs.task import Task
from caloforge.processes import WorkerDiedError

__all__ = ["Dask"]


class Dask(Workers):
    """Does tasks on the workers of dask, on this machine or on a cluster.

    Each worker has one thread, as training and Geant4 belong to whole processes, sees the files of
    this machine under the same paths, and has the same caloforge. A task that is stopped is not
    begun if it waits, and ends with its next report if it runs.

    Args:
        client: a `distributed.Client`.
    """

    def __init__(self, client: Client) -> None:
        self.client = client

    def __repr__(self) -> str:
        return f"Dask({self.client!r})"

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
        run, futures = f"caloforge-{uuid4().hex}", []

        def submit(task: Task) -> Any:
            key = f"{run}-{task.key}"
            futures.append(self.client.submit(_work, task, run, key=key, pure=False))
            return futures[-1]

        # a plugin reaches workers that come later, too
        self.client.register_plugin(_Run(run, first, heard=listener is not None), name=run)
        if listener is not None:
            self.client.subscribe_topic(run, partial(_unpack, listener))
        try:
            yield submit
        except (KilledWorker, CancelledError) as error:
            raise WorkerDiedError(f"a worker of the {work} died ({error}): {remedy}") from error
        finally:
            self.client.cancel(futures)
            if listener is not None:
                self.client.unsubscribe_topic(run)
            self.client.unregister_worker_plugin(run)


class _Run(WorkerPlugin):
    """What a worker holds between the tasks of a run."""

    def __init__(self, name: str, first: tuple[Any, ...], *, heard: bool) -> None:
        self.name, self.first, self.heard = name, first, heard


def _work(task: Task, run: str) -> Any:
    worker = get_worker()
    if worker.state.nthreads != 1:
        raise ValueError(
            f"caloforge needs workers of one thread, got one of {worker.state.nthreads}: start "
            "them with threads_per_worker=1, or with as many processes as cores"
        )
    here = worker.plugins[run]
    with heard_by(partial(_say, worker, here, f"{run}-{task.key}")):
        return task.run(*here.first)


def _say(worker: Any, run: _Run, key: str, message: Any) -> None:
    state = worker.state.tasks.get(key)
    if state is None or state.state == "cancelled":
        raise CancelledError(f"{key} was stopped")
    if run.heard:
        worker.log_event(run.name, serialize_bytes(message))


def _unpack(listener: Listener, event: tuple[Any, bytes]) -> None:
    listener(deserialize_bytes(event[1]))
