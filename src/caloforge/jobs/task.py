"""Tasks in plain values, so that they can be sent to any process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pkgutil import resolve_name
from typing import Any

__all__ = ["Schedule", "Task"]


@dataclass(frozen=True)
class Task:
    """A call of a function, in plain values.

    What cannot be expressed in plain values, such as showers in memory, is shared by all tasks of a
    run, see `Executor.run`; or it lies in files. A task is made by a program: `call` decides what
    is executed, so that none is ever read from a file.

    Example:
        >>> Task("norm", "math:hypot").run(3.0, 4.0)
        5.0

    Args:
        key: its name, another one for each task of a run.
        call: the function, as "package.module:function" or "package.module:Class.method".
        arguments: what it is called with, by name, in JSON's types.
        needs: keys of the tasks that must be finished before.

    Raises:
        ValueError: if `call` names nothing that can be imported and called, or for arguments that
            JSON would not give back as they are.
    """

    key: str
    call: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            found = callable(resolve_name(self.call)) and ":" in self.call
        except (ValueError, ImportError, AttributeError):
            found = False
        if not found:
            raise ValueError(
                f"the task {self.key!r} must call a function that can be imported, written "
                f"package.module:function, got {self.call!r}"
            )
        try:
            plain = json.loads(json.dumps(self.arguments))
        except (TypeError, ValueError):
            plain = None
        if plain != self.arguments or not isinstance(plain, dict):
            raise ValueError(
                f"the task {self.key!r} takes arguments in JSON's types (numbers, text, lists, "
                f"dicts by text), got {self.arguments!r}: share what else its function needs"
            )

    def run(self, *shared: Any) -> Any:
        """Call the function, with what is shared before its arguments."""
        return resolve_name(self.call)(*shared, **self.arguments)


class Schedule:
    """Which tasks may begin, as others are finished.

    Args:
        tasks: in the order in which they begin, as far as their needs allow it.

    Raises:
        ValueError: if two tasks have one key, or needs are missing or form a circle.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = {task.key: task for task in tasks}
        keys = [task.key for task in tasks]
        if twice := sorted({key for key in self._tasks if keys.count(key) > 1}):
            raise ValueError(f"every task has a key of its own, {', '.join(twice)} comes twice")
        for task in tasks:
            if missing := [need for need in task.needs if need not in self._tasks]:
                raise ValueError(
                    f"the task {task.key} needs {', '.join(missing)}, which is none of the tasks: "
                    "add it, or leave the need out if it is done"
                )
        self._sorter = TopologicalSorter({task.key: task.needs for task in tasks})
        try:
            self._sorter.prepare()
        except CycleError as error:
            circle = " before ".join(error.args[1])
            raise ValueError(f"the tasks need each other in a circle: {circle}") from error

    def __bool__(self) -> bool:
        """Whether tasks are still to begin or to end."""
        return self._sorter.is_active()

    def ready(self) -> list[Task]:
        """Tasks that may begin now, each given once."""
        return [self._tasks[key] for key in self._sorter.get_ready()]

    def done(self, key: str) -> None:
        """A task is finished: those that need it may be ready."""
        self._sorter.done(key)
