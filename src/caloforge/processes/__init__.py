"""Worker processes that end with the one that asked for them, and signals that wait."""

from caloforge.processes.pool import WorkerDiedError, worker_pool
from caloforge.processes.signals import uninterrupted

__all__ = ["WorkerDiedError", "uninterrupted", "worker_pool"]
