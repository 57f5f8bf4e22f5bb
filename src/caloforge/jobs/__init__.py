"""Jobs: tasks in plain values, and executors that do them in order, in parallel or on a cluster."""

from caloforge.jobs.executor import Executor, Finished, Processes, Serial, find_executor
from caloforge.jobs.reporting import report
from caloforge.jobs.task import Task

__all__ = ["Executor", "Finished", "Processes", "Serial", "Task", "find_executor", "report"]
