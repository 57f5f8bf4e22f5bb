"""Generate and upsample showers with trained systems, in memory or streamed to disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import ArrayLike

from caloforge.cascade.arguments import incident_particles
from caloforge.cascade.asked import asked_particles, outside_trained
from caloforge.cascade.kinds import Upsamples
from caloforge.cascade.system import System
from caloforge.data import Layout, Parts, check_layout
from caloforge.devices import find_device
from caloforge.generation.job import Job
from caloforge.jobs import Executor, Task, find_executor
from caloforge.showers import Particles, Showers, VoxelShowers, check_units

__all__ = ["GenerationProgress", "generate", "upsample"]

PART_SIZE = 1000  # showers kept in memory before they are written


@dataclass(frozen=True)
class GenerationProgress:
    """How far a generation is.

    Args:
        done: showers that are finished.
        n: showers that were asked for.
        showers_per_second: speed of this run.
    """

    done: int
    n: int
    showers_per_second: float


@overload
def generate(
    system: System,
    particles: Particles | ArrayLike,
    *,
    seed: int,
    output: None = ...,
    layout: Layout = ...,
    attributes: dict[str, Any] | None = ...,
    batch_size: int = ...,
    device: torch.device | str = ...,
    options: Mapping[str, Any] | None = ...,
    strict: bool = ...,
    processes: int | Executor = ...,
    resume: bool = ...,
    progress: Callable[[GenerationProgress], None] | None = ...,
) -> Showers: ...


@overload
def generate(
    system: System,
    particles: Particles | ArrayLike,
    *,
    seed: int,
    output: str | Path,
    layout: Layout = ...,
    attributes: dict[str, Any] | None = ...,
    batch_size: int = ...,
    device: torch.device | str = ...,
    options: Mapping[str, Any] | None = ...,
    strict: bool = ...,
    processes: int | Executor = ...,
    resume: bool = ...,
    progress: Callable[[GenerationProgress], None] | None = ...,
) -> Path: ...


def generate(
    system: System,
    particles: Particles | ArrayLike,
    *,
    seed: int,
    output: str | Path | None = None,
    layout: Layout = "sparse",
    attributes: dict[str, Any] | None = None,
    batch_size: int = 100,
    device: torch.device | str = "auto",
    options: Mapping[str, Any] | None = None,
    strict: bool = False,
    processes: int | Executor = 1,
    resume: bool = False,
    progress: Callable[[GenerationProgress], None] | None = None,
) -> Showers | Path:
    """Generate showers, one (or `options.resample`) for each incident particle.

    With an output the showers are written in parts as they are made: memory stays flat, and an
    interrupted job can be resumed with the same result. Showers resampled from one coarse shower
    follow each other; the file's column `coarse_shower` numbers them.

    Example:
        >>> system = cf.load("runs/l2l")
        >>> showers = cf.generate(system, [1e4, 5e4], seed=1)
        >>> aslant = cf.Particles([1e4, 5e4], direction=[0.6, 0.0, 0.8], pdg="gamma")
        >>> showers = cf.generate(cf.load("runs/directed"), aslant, seed=1)

    Args:
        system: a trained system.
        particles: n incident particles, such as those of showers or of an open file; or their
            energies [MeV], shape (n,), for particles of the direction and kind of the training
            sample.
        seed: a shower depends on it and on its number alone, up to rounding.
        output: where to write; without it the showers are returned.
        layout: of the file, see `caloforge.data.create`.
        attributes: written to the root of the file.
        batch_size: showers sampled at once.
        device: where to compute; by default the accelerator if there is one.
        options: what a user chooses at generation, of `system.choices`.
        strict: refuse particles unlike those that the system was trained on.
        processes: how many to use, or an `Executor`, such as one on a cluster. With several, a
            script must call this under `if __name__ == "__main__":`, as multiprocessing asks.
        resume: continue an interrupted job of the same request to the same output.
        progress: called with a `GenerationProgress` after every batch.

    Returns:
        The showers, or the path of the file that holds them.

    Raises:
        ValueError: for particles that `Particles` refuses, or of directions that the system was
            not trained on, parts of another job at the output, and see `strict`.
        NoSpaceError: if the disk is full; what is finished is kept.

    Warns:
        UnitsWarning: if the energies look as if they were not in MeV.
        ExtrapolationWarning: for particles outside the trained range. A file has the range and
            their number in its attributes `trained_energy_inc_MeV` and `n_outside_trained`.
    """
    asked = asked_particles(system, particles)
    check_units("energies to generate for", system.geometry, asked.energy)
    chosen = system.chosen(options)
    find_device(device)
    outside = outside_trained(system, asked, strict=strict)
    check_layout(system.kind, layout)
    job = Job(system, asked, None, seed, batch_size, str(device), chosen, PART_SIZE)
    facts = {**job.facts(int(outside.sum())), **(attributes or {})}
    return _run(
        job, output, layout, facts, find_executor(processes), resume=resume, progress=progress
    )


def upsample(
    system: System,
    coarse: VoxelShowers | System,
    particles: Particles | ArrayLike | None = None,
    *,
    seed: int,
    output: str | Path | None = None,
    layout: Layout = "sparse",
    attributes: dict[str, Any] | None = None,
    batch_size: int = 100,
    device: torch.device | str = "auto",
    options: Mapping[str, Any] | None = None,
    strict: bool = False,
    processes: int | Executor = 1,
    resume: bool = False,
    progress: Callable[[GenerationProgress], None] | None = None,
) -> Showers | Path:
    """Sample the fine voxels of coarse showers, `options.resample` times each.

    Example:
        >>> system = cf.load("runs/supercalo")
        >>> showers = cf.upsample(system, cf.read("showers.h5")[:10], seed=1)
        >>> showers = cf.upsample(system, cf.load("runs/coarse"), [1e4, 5e4], seed=1)

    Args:
        system: a trained system that upsamples, such as SuperCalo.
        coarse: showers in its coarse voxels, or in its fine ones, which are made coarse first; or
            another trained system, which samples coarse ones.
        particles: incident particles for the other system, or their energies [MeV], shape (n,).
        seed: a shower depends on it and on its number alone, up to rounding.
        output: where to write; without it the showers are returned.
        layout: of the file, see `caloforge.data.create`.
        attributes: written to the root of the file.
        batch_size: coarse showers at once.
        device: where to compute; by default the accelerator if there is one.
        options: what a user chooses at generation, of `system.choices`.
        strict: refuse particles unlike those that the system was trained on.
        processes: how many to use, or an `Executor`, such as one on a cluster. With several, a
            script must call this under `if __name__ == "__main__":`, as multiprocessing asks.
        resume: continue an interrupted job of the same request to the same output.
        progress: called with a `GenerationProgress` after every batch.

    Returns:
        The showers, or the path of the file that holds them.

    Raises:
        ValueError: for a system that upsamples nothing, showers that do not fit it, energies that
            are missing or too many, parts of another job at the output, and see `strict`.

    Warns:
        ExtrapolationWarning: as for `generate`, of the system and of the other one.
    """
    if not isinstance(system, Upsamples):
        raise ValueError(f"{system.name} samples showers of particles: it upsamples none")
    if not isinstance(coarse, VoxelShowers | System):
        raise ValueError(
            f"upsample takes showers in voxels or a system that samples them, got {coarse!r}: "
            "project points into the coarse voxels first"
        )
    if isinstance(coarse, System) != (particles is not None):
        raise ValueError(
            "upsample takes coarse showers, which have their energy_inc, or a system that samples "
            "them and particles for it"
        )
    if isinstance(coarse, System):
        asked = asked_particles(coarse, particles if particles is not None else [])
        check_units("energies to generate for", coarse.geometry, asked.energy)
    else:
        asked = incident_particles(coarse.particles)
        check_units("coarse showers", coarse.geometry, asked.energy, coarse.total_energy())
    chosen = system.chosen(options)
    find_device(device)
    outside = outside_trained(system, asked, strict=strict)
    if isinstance(coarse, System):
        outside = outside | outside_trained(coarse, asked, strict=strict)
    check_layout(system.kind, layout)
    job = Job(system, asked, coarse, seed, batch_size, str(device), chosen, PART_SIZE)
    facts = {**job.facts(int(outside.sum())), **(attributes or {})}
    return _run(
        job, output, layout, facts, find_executor(processes), resume=resume, progress=progress
    )


def _run(
    job: Job,
    output: str | Path | None,
    layout: Layout,
    facts: dict[str, Any],
    executor: Executor,
    *,
    resume: bool,
    progress: Callable[[GenerationProgress], None] | None,
) -> Showers | Path:
    """The showers, or the path of the file that holds them."""
    if output is None:
        if resume:
            raise ValueError("resume needs an output: only files keep what a former job made")
        made, _ = _make(job, list(range(job.n_parts)), executor, progress)
        showers: Showers = job.system.kind.concatenate([made[i] for i in range(job.n_parts)])
        return showers
    kind = job.system.kind
    parts = Parts(output, job.n_parts, job.request(), resume=resume, kind=kind, layout=layout)
    if parts.is_finished:
        return parts.output
    wanted = parts.missing()
    with parts.making():
        _, n_rejected = _make(replace(job, parts=parts), wanted, executor, progress)
    if len(wanted) == job.n_parts and n_rejected > 0:
        # a resumed job has counted those rejected in its last run alone
        facts = {"n_rejected": n_rejected, **facts}
    columns = {}
    if job.resample > 1:
        columns["coarse_shower"] = np.repeat(np.arange(job.n), job.resample)
    return parts.assemble(facts, columns=columns)


def _make(
    job: Job,
    wanted: list[int],
    executor: Executor,
    progress: Callable[[GenerationProgress], None] | None,
) -> tuple[dict[int, Showers], int]:
    """Make parts: their showers by number, where they are not written, and the number rejected."""
    tasks = [
        Task(str(part), "caloforge.generation.job:Job.make", {"part": part}) for part in wanted
    ]
    before, n_rejected = job.system.n_rejected, 0
    n = job.n * job.resample
    tell = progress and _Reporter(progress, n, before=n - sum(map(job.size, wanted)))
    remedy = "finished parts of a job with an output are kept, resume it"
    made: dict[int, Any] = {}
    with closing(
        executor.run(tasks, shared=job, progress=tell, work="generation", remedy=remedy)
    ) as finished:
        for key, part in finished:
            made[int(key)], n_rejected = part.showers, n_rejected + part.n_rejected
    job.system.n_rejected = before + n_rejected  # wherever they were sampled
    return made, n_rejected


class _Reporter:
    """Counts showers and reports how far the job is."""

    def __init__(self, progress: Callable[[GenerationProgress], None], n: int, before: int) -> None:
        self.progress, self.n, self.before, self.made = progress, n, before, 0
        self.begin = time.monotonic()

    def __call__(self, made: int) -> None:
        self.made += made
        speed = self.made / max(1e-9, time.monotonic() - self.begin)
        self.progress(GenerationProgress(self.before + self.made, self.n, speed))
