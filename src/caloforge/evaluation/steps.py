"""How far an evaluation is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["EvaluationProgress", "Steps"]


@dataclass(frozen=True)
class EvaluationProgress:
    """How far an evaluation is: steps done and parts of one, steps in all, the current one."""

    done: float
    total: int
    task: str


@dataclass
class Steps:
    """Steps of the work, each announced when it begins."""

    progress: Callable[[EvaluationProgress], None] | None
    total: int = 0
    begun: int = 0
    task: str = ""
    run: int = 0
    runs: int = 1

    def begin(self, task: str) -> None:
        """The next step begins."""
        self.begun, self.task = self.begun + 1, task
        self._tell(0, task)

    def train(self, epoch: int, epochs: int) -> None:
        """An epoch of one of several runs of a step is done."""
        share = (self.run + epoch / epochs) / self.runs
        run = f"run {self.run + 1} of {self.runs}, epoch {epoch} of {epochs}"
        self._tell(share, f"{self.task}, {run}")

    def _tell(self, share: float, task: str) -> None:
        if self.progress is not None:
            self.progress(EvaluationProgress(self.begun - 1 + share, self.total, task))
