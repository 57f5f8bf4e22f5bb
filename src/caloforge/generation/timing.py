"""How long generation takes, and how much memory, by batch size."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import caloforge
from caloforge.cascade.described import preset_of
from caloforge.devices import find_device, hardware
from caloforge.generation.energies import training_energies
from caloforge.generation.stopwatch import Report, TooLongError, stopwatch, timed_runs
from caloforge.processes import WorkerDiedError
from caloforge.training import RunFolder, find_run, load

__all__ = ["Timing", "TimingProgress", "TimingRow", "hardware", "software", "time_generation"]

FORMAT_VERSION = 1
MEGABYTE = 1e6
BUSY = 0.9  # fraction of a core below which other programs spoil a time


@dataclass(frozen=True)
class TimingRow:
    """Speed and memory at one batch size on one device.

    Args:
        device: where it was computed.
        threads: threads of the CPU.
        batch_size: showers sampled at once.
        n_showers: showers of one run, 0 if none was timed.
        runs: number of runs.
        ms_per_shower: mean of the runs [ms], None if it could not be measured.
        ms_per_shower_std: their population standard deviation [ms].
        peak_memory_MB: highest memory [MB]: resident memory of the whole process on a CPU, memory
            that PyTorch allocated on an accelerator.
        cpu_share: processor time over wall-clock time; below 1 on a CPU where other programs took
            the processor away, so that the times are too long.
        reason: why it could not be measured.
    """

    device: str
    threads: int
    batch_size: int
    n_showers: int
    runs: int
    ms_per_shower: float | None
    ms_per_shower_std: float | None
    peak_memory_MB: float | None  # noqa: N815 (a unit keeps its case)
    cpu_share: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Timing:
    """The time of generation, on one machine.

    Args:
        run: name of the run folder.
        system: name of the system.
        preset: its preset, None if its settings are those of no preset.
        geometry: name of the geometry.
        parameters: number of trainable parameters of each stage; generation uses all of them.
        hardware: `cpu`, `cores`, `memory_GB`, `gpu`.
        software: versions by package.
        protocol: how it was measured, in one sentence.
        rows: one for each device and batch size.
        sequential_passes: network passes that follow each other to sample a shower, which a batch
            shares; None in files that do not say it.
        choices: what the user chose, such as a solver, by name.
    """

    run: str
    system: str
    preset: str | None
    geometry: str
    parameters: Mapping[str, int]
    hardware: Mapping[str, Any]
    software: Mapping[str, str]
    protocol: str
    rows: tuple[TimingRow, ...]
    sequential_passes: int | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """All of it as JSON; `from_dict` is the inverse."""
        counts = self.parameters
        values = {
            "format_version": FORMAT_VERSION,
            **asdict(self),
            "parameters": {"total": sum(counts.values()), "stages": dict(counts)},
        }
        return json.dumps(values, indent=1)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Timing:
        """A timing from what `to_json` wrote.

        Raises:
            ValueError: if the values are of another format.
        """
        known = dict(values)
        version = known.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise ValueError(
                f"expected a timing of format {FORMAT_VERSION}, got {version}: "
                "measure it again with `caloforge bench`"
            )
        try:
            known["parameters"] = known["parameters"]["stages"]
            if "solvers" in known:  # once the only choices that were kept
                known["choices"] = known.pop("solvers")
            known["rows"] = tuple(TimingRow(**row) for row in known["rows"])
            return cls(**known)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"the timing is damaged ({error}): measure it again with `caloforge bench`"
            ) from error


@dataclass(frozen=True)
class TimingProgress:
    """How far a timing is.

    Args:
        device: of the row that is measured.
        batch_size: of the row that is measured.
        done: runs that are finished, those of earlier rows included.
        n: runs of all rows.
        ms_per_shower: of the last run [ms], None while a row warms up or if it was left out.
    """

    device: str
    batch_size: int
    done: int
    n: int
    ms_per_shower: float | None


def time_generation(
    run: str | Path,
    *,
    batch_sizes: Sequence[int] = (1, 100, 10_000),
    devices: Sequence[str] = ("auto",),
    threads: int = 1,
    runs: int = 10,
    n_showers: int | None = None,
    seed: int = 0,
    limit: float = 600.0,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[TimingProgress], None] | None = None,
) -> Timing:
    """Time the generation of a trained system by the protocol of the CaloChallenge.

    The time per shower is the mean, and its spread the population standard deviation, of several
    runs. A run goes from incident energies to showers in memory; it is one batch, or as many as
    take 5 seconds. Every run samples its incident energies from the spectrum of the training
    sample. Every row is measured in a fresh process, which loads the system and warms up
    with batches of 1, 1, 10, 100 … showers up to the batch size before the first run.

    Example:
        >>> timing = time_generation("runs/l2l", batch_sizes=[10], runs=2, n_showers=20)
        >>> timing.rows[0].n_showers  # and ms_per_shower
        20

    A script must call this under `if __name__ == "__main__":`, as multiprocessing asks.

    Args:
        run: the run folder of a trained system, or the name of a model.
        batch_sizes: showers sampled at once, one row each.
        devices: "cpu" and "cuda"; by default the accelerator if there is one.
        threads: threads of the CPU.
        runs: number of runs.
        n_showers: showers of a run at least, in whole batches; by default those of 5 seconds.
        seed: of the incident energies and the showers.
        limit: seconds that one row may take. What would take longer gets shorter runs, and if
            runs of one batch are still too long, a row without time that says so.
        options: what a user chooses at generation, of `system.choices`.
        progress: called with a `TimingProgress` when a row begins, and after every run.

    Returns:
        The times, with all that is needed to compare them with others.

    Raises:
        ValueError: for a run folder that is not trained, an unknown device, or numbers that are
            not positive, and for options that the system does not offer.
        FloatingPointError: if the system samples values that are not finite.

    Source: CaloChallenge 2022 (arXiv:2410.21611), section on generation times.
    """
    _check(batch_sizes, threads=threads, runs=runs, n_showers=n_showers, limit=limit)
    devices = _found(devices)
    chosen = {name: given for name, given in (options or {}).items() if given is not None}
    run = find_run(run)
    system = load(run)
    passes = system.passes(chosen)
    training_energies(RunFolder(run).config(), 1, seed)  # fails here rather than in a process
    cells = [
        _Cell(str(run), device, threads, size, runs, n_showers, seed, limit, chosen)
        for device in devices
        for size in batch_sizes
    ]
    rows = []
    for number, cell in enumerate(cells):
        report = partial(_report, progress, cell, number * runs, len(cells) * runs)
        report(0, None)
        rows.append(_measure(cell, report))
        if rows[-1].reason:
            report(runs, None)
    return Timing(
        run=Path(run).resolve().name,
        system=system.name,
        preset=preset_of(system),
        geometry=system.geometry.name,
        parameters=system.n_parameters,
        hardware=hardware(devices),
        software=software(),
        protocol=_protocol(runs),
        rows=tuple(rows),
        sequential_passes=sum(passes.values()),
        choices=chosen,
    )


@dataclass(frozen=True)
class _Cell:
    """What one row is to measure."""

    run: str
    device: str
    threads: int
    batch_size: int
    runs: int
    n_showers: int | None
    seed: int
    limit: float
    options: Mapping[str, Any]


def _measure(cell: _Cell, report: Report) -> TimingRow:
    """The row of a cell, measured in a process of its own."""
    empty = TimingRow(cell.device, cell.threads, cell.batch_size, 0, cell.runs, None, None, None)
    try:
        with stopwatch(cell.run, cell.device, cell.threads, cell.options) as watch:
            n, times = timed_runs(
                watch.seconds,
                cell.batch_size,
                runs=cell.runs,
                limit=cell.limit,
                n_showers=cell.n_showers,
                seed=cell.seed,
                report=report,
            )
            peak, share = watch.peak_memory(), watch.cpu_share()
    except TooLongError as error:
        return replace(empty, reason=str(error))
    except (MemoryError, RuntimeError) as error:
        return replace(empty, reason=_out_of_memory(error))
    return replace(
        empty,
        n_showers=n,
        ms_per_shower=float(np.mean(times)),
        ms_per_shower_std=float(np.std(times)),
        peak_memory_MB=peak / MEGABYTE,
        cpu_share=share,
    )


def _out_of_memory(error: Exception) -> str:
    """Say so if this is what the error is about, raise it again if not."""
    if isinstance(error, WorkerDiedError):
        return str(error)
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if known or "can't allocate memory" in str(error):  # the message of PyTorch on a CPU
        return "out of memory"
    raise error


def _report(
    progress: Callable[[TimingProgress], None] | None,
    cell: _Cell,
    before: int,
    n: int,
    done: int,
    ms_per_shower: float | None,
) -> None:
    if progress is not None:
        progress(TimingProgress(cell.device, cell.batch_size, before + done, n, ms_per_shower))


def _found(devices: Sequence[str]) -> tuple[str, ...]:
    """The devices to time, each once."""
    for device in devices:
        if device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"expected the device auto, cpu or cuda, got {device!r}")
    if not devices:
        raise ValueError("expected one device or more, got none")
    return tuple(dict.fromkeys(map(find_device, devices)))


def _check(batch_sizes: Sequence[int], **numbers: float | None) -> None:
    if not batch_sizes:
        raise ValueError("expected one batch size or more, got none")
    for name, value in {"batch size": min(batch_sizes), **numbers}.items():
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")


def software() -> dict[str, str]:
    """The versions that times depend on."""
    return {
        "caloforge": caloforge.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def _protocol(runs: int) -> str:
    return (
        f"Mean and population standard deviation of {runs} runs by the wall clock, from "
        "incident energies to showers in memory, voxels above the threshold or points, the "
        "energies sampled for each run from the spectrum of the training sample, the loading "
        "of the model excluded, after a warm-up with batches of 1, 1, 10, 100 and so on up to the "
        "batch size, an accelerator synchronised before the clock is read, every row in a fresh "
        "process; peak memory is the resident memory of that process on a CPU, and what PyTorch "
        "allocated on an accelerator."
    )
