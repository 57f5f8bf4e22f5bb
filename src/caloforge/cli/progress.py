"""Live progress in a terminal, plain lines in a log."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from caloforge.evaluation import EvaluationProgress
from caloforge.generation import GenerationProgress, TimingProgress
from caloforge.simulation import Progress as SimulationProgress
from caloforge.training.progress import TrainingProgress
from caloforge.units import GeV

__all__ = [
    "EvaluationDisplay",
    "GenerationDisplay",
    "SimulationDisplay",
    "TimingDisplay",
    "TrainingDisplay",
]

LINE_EVERY = 20.0  # seconds between two lines of a log


class _Display:
    """One bar for the whole job, with a note after it; lines where there is no terminal.

    Attributes:
        even: whether all parts of the job take as long, so that it can be said what is left.
    """

    even = True

    def __init__(self, console: Console, title: str, total: int) -> None:
        self.console, self.title, self.total = console, title, total
        self.begin, self.last_line = time.monotonic(), -math.inf
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn() if total > 1 else TextColumn(""),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task(title, total=total, note="")

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the bar while the block runs."""
        with self.progress:
            yield

    def show(self, done: float, note: str) -> None:
        """Say how far the job is."""
        self.progress.update(self.task, completed=done, note=note)
        now = time.monotonic()
        if not self.console.is_terminal and (
            now - self.last_line > LINE_EVERY or done >= self.total
        ):
            self.last_line = now
            spent = now - self.begin
            left = f", {_clock(spent * (self.total / done - 1))} left" if self.even and done else ""
            share = f"{100 * done / self.total:.0f} %"
            line = f"{self.title}: {share}, {note}, {_clock(spent)} spent{left}"
            self.console.print(Text(line), soft_wrap=True)


class SimulationDisplay(_Display):
    """Progress of `simulate`: showers and GeV a second."""

    def __call__(self, progress: SimulationProgress) -> None:
        """Show it."""
        self.show(
            progress.done,
            f"{progress.showers_per_second:.1f} showers/s, "
            f"{progress.energy_per_second / GeV:.0f} GeV/s",
        )


class GenerationDisplay(_Display):
    """Progress of `generate`: showers a second."""

    def __call__(self, progress: GenerationProgress) -> None:
        """Show it."""
        self.show(progress.done, f"{progress.showers_per_second:.1f} showers/s")


class TimingDisplay(_Display):
    """Progress of `bench`: the current batch size, and the time of its last run."""

    def __call__(self, progress: TimingProgress) -> None:
        """Show it."""
        ms = progress.ms_per_shower
        self.show(
            progress.done,
            f"{progress.device}, batches of {progress.batch_size:,}"
            + ("" if ms is None else f": {ms:.3g} ms per shower"),
        )


class EvaluationDisplay(_Display):
    """Progress of `evaluate`: steps done, and the current one."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, "evaluation", 1)

    def __call__(self, progress: EvaluationProgress) -> None:
        """Show it."""
        if progress.total != self.total:
            self.total = progress.total
            self.progress.update(self.task, total=progress.total)
        self.show(progress.done, progress.task)


class TrainingDisplay(_Display):
    """Progress of `train`: finished stages, and a line for each running stage.

    Args:
        console: where to draw.
        stages: number of stages that are still to be done.
    """

    even = False

    def __init__(self, console: Console, stages: int) -> None:
        super().__init__(console, "training stages", stages)
        self.finished: set[str] = set()
        self.active: dict[str, float] = {}
        self.lines: dict[str, object] = {}
        self.begun: dict[str, tuple[float, int]] = {}

    def __call__(self, progress: TrainingProgress) -> None:
        """Show it."""
        name = progress.stage
        note = f"{progress.showers_per_second:.0f} showers/s"
        if not math.isnan(progress.loss):
            losses = f"loss {progress.loss:.3f}, validation {progress.validation:.3f}"
            note = f"{losses}, {note}"
        if progress.finished:
            self.finished.add(name)
            self.active.pop(name, None)
            line = self.lines.pop(name, None)
            if line is not None:
                self.progress.remove_task(line)  # type: ignore[arg-type]
        else:
            self.active[name] = progress.step / progress.steps
            if name not in self.lines:
                self.lines[name] = self.progress.add_task(
                    f"  {name}", total=progress.steps, note=""
                )
            self.progress.update(
                self.lines[name],  # type: ignore[arg-type]
                completed=progress.step,
                note=note,
            )
        done = len(self.finished) + sum(self.active.values())
        self.show(done, f"{name} {self._of_stage(progress)}, {note}")

    def _of_stage(self, progress: TrainingProgress) -> str:
        """Fraction of a stage that is done, and the time that the rest of it will take."""
        now = time.monotonic()
        begin, first = self.begun.setdefault(progress.stage, (now, progress.step))
        share = f"{100 * progress.step / progress.steps:.0f} %"
        if progress.finished or progress.step == first:
            return share
        rest = (progress.steps - progress.step) / (progress.step - first)
        return f"{share} ({_clock((now - begin) * rest)} left)"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
