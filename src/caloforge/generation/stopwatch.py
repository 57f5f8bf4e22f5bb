"""A trained system in a separate process, and the times of its runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from caloforge.cascade.system import System
from caloforge.generation.energies import training_energies
from caloforge.processes import worker_pool
from caloforge.training import RunFolder, load

__all__ = ["Report", "Stopwatch", "TooLongError", "Worker", "elapsed", "stopwatch", "timed_runs"]

Report = Callable[[int, float | None], None]

RUN_SECONDS = 5.0  # a run has as many batches as this allows, and one at least


class TooLongError(Exception):
    """What is to be timed would take longer than the limit."""


def timed_runs(
    seconds: Callable[[int, int, int], float],
    batch_size: int,
    *,
    runs: int,
    limit: float,
    n_showers: int | None = None,
    seed: int = 0,
    report: Report = lambda done, ms_per_shower: None,
) -> tuple[int, list[float]]:
    """Warm up, then time runs of as many batches as their length and the limit allow.

    Args:
        seconds: samples and measures the time, called with batch size, number of batches and seed.
        batch_size: showers sampled at once.
        runs: number of runs.
        limit: seconds that all of it may take.
        n_showers: showers of a run at least; by default those of `RUN_SECONDS`.
        seed: of the warm-up; the runs have the seeds that follow.
        report: called after every run with their number and the time of the last [ms].

    Returns:
        Showers of one run, and the time per shower of each run [ms].

    Raises:
        TooLongError: if the limit allows no run of one batch.
    """
    sizes = [1, 1]
    while sizes[-1] < batch_size:
        sizes.append(min(10 * sizes[-1], batch_size))
    spent, per_shower, batch = 0.0, 0.0, 0.0
    for size in sizes:
        # a shower of a larger batch takes no longer than one of a smaller
        if spent + size * per_shower > limit:
            raise TooLongError(
                f"a batch takes about {batch_size * per_shower:.3g} s, with a limit of {limit:g} s"
            )
        batch = seconds(size, 1, seed)
        spent, per_shower = spent + batch, batch / size
    allowed = (limit - spent) / (runs * batch)
    if allowed < 1:
        raise TooLongError(
            f"a batch takes {batch:.3g} s, {runs} runs {runs * batch:.3g} s, "
            f"with a limit of {limit:g} s"
        )
    wanted = RUN_SECONDS / batch if n_showers is None else math.ceil(n_showers / batch_size)
    n_batches = max(1, int(min(wanted, allowed)))
    n = n_batches * batch_size
    times = []
    for number in range(1, runs + 1):
        times.append(1e3 * seconds(batch_size, n_batches, seed + number) / n)
        report(number, times[-1])
    return n, times


def elapsed(
    work: Callable[[], None],
    synchronize: Callable[[], None],
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds that the work takes, what an accelerator still has in its queue included."""
    synchronize()
    begin = clock()
    work()
    synchronize()
    return clock() - begin


class Stopwatch:
    """A trained system in a process of its own that samples and measures the time."""

    def __init__(self, process: ProcessPoolExecutor) -> None:
        self.process = process

    def seconds(self, batch_size: int, n_batches: int, seed: int) -> float:
        """Seconds that batches of showers take, from incident energies to showers in memory."""
        return self.process.submit(Worker.seconds, batch_size, n_batches, seed).result()

    def peak_memory(self) -> int:
        """Highest memory so far [bytes]."""
        return self.process.submit(Worker.peak_memory).result()

    def cpu_share(self) -> float:
        """Processor time over wall-clock time since the system was loaded."""
        return self.process.submit(Worker.cpu_share).result()


class Worker:
    """What runs in the process that is timed."""

    system: System
    config: dict[str, Any]
    device: str
    options: Mapping[str, Any] | None
    begun: tuple[float, float]

    @classmethod
    def begin(
        cls, run: str, device: str, threads: int, options: Mapping[str, Any] | None = None
    ) -> None:
        """Load the system, which is not timed."""
        torch.set_num_threads(threads)
        cls.options = options
        cls.system, cls.config, cls.device = load(run).to(device), RunFolder(run).config(), device
        cls.begun = time.process_time(), time.perf_counter()

    @classmethod
    def seconds(cls, batch_size: int, n_batches: int, seed: int) -> float:
        """Sample batches of showers and drop them."""
        energies = training_energies(cls.config, n_batches * batch_size, seed)

        def sample() -> None:
            showers = cls.system.stream(
                energies,
                seed=seed,
                batch_size=batch_size,
                device=cls.device,
                options=cls.options,
            )
            for _ in showers:
                pass

        return elapsed(sample, torch.get_device_module(cls.device).synchronize)

    @classmethod
    def peak_memory(cls) -> int:
        """Highest memory so far [bytes]."""
        if cls.device == "cuda":
            return torch.cuda.max_memory_allocated()
        # not ru_maxrss, which a process inherits from the one that started it
        status = Path("/proc/self/status").read_text().splitlines()
        peak = next(line for line in status if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024

    @classmethod
    def cpu_share(cls) -> float:
        """Processor time over wall-clock time since the system was loaded."""
        cpu, wall = cls.begun
        return (time.process_time() - cpu) / (time.perf_counter() - wall)


@contextmanager
def stopwatch(
    run: str | Path, device: str, threads: int, options: Mapping[str, Any] | None = None
) -> Iterator[Stopwatch]:
    """Load a trained system into a fresh process, which ends with the block.

    Args:
        run: the run folder.
        device: where to compute.
        threads: threads of all numerical libraries.
        options: what a user chooses at generation.
    """
    remedy = "time it again with more memory free"
    with worker_pool(1, work="timing", remedy=remedy, threads=threads) as pool:
        pool.submit(Worker.begin, str(run), device, threads, options).result()
        yield Stopwatch(pool)
