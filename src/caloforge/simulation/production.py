"""Production of showers: chunk by chunk, in several processes, resumable."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from caloforge.data import Layout, Parts, check_layout
from caloforge.geometry import Geometry, official_sample
from caloforge.jobs import Executor, Task, find_executor
from caloforge.showers import PointShowers, VoxelShowers
from caloforge.simulation.clustering import Clustering
from caloforge.simulation.detectors import Detector, detector_preset
from caloforge.simulation.geant4 import check_physics, geant4_data
from caloforge.simulation.gun import PARTICLES, EnergySpectrum, Fixed, Gun, Vector
from caloforge.simulation.job import Chunk, Job
from caloforge.units import GeV, mm

__all__ = ["LossWarning", "Progress", "simulate"]

CHUNK_ENERGY = 500 * GeV  # some ten seconds
MAX_CHUNK_SIZE = 1000
OUTSIDE = "outside"  # the column of a file
LARGEST_LOSS = 0.01  # mean fraction of energy outside without a warning


class LossWarning(UserWarning):
    """Simulated showers lack energy that the particles deposit outside the read-out volume."""


@dataclass(frozen=True)
class Progress:
    """How far a simulation is.

    Args:
        done: showers that are finished.
        n: showers that were asked for.
        made: showers that this run made; the others were there when it resumed.
        energy_made: their incident energy [MeV].
        seconds: since this run began.
    """

    done: int
    n: int
    made: int
    energy_made: float
    seconds: float

    @property
    def showers_per_second(self) -> float:
        """Speed of this run."""
        return self.made / self.seconds

    @property
    def energy_per_second(self) -> float:
        """Incident energy that this run simulates in a second [MeV/s]."""
        return self.energy_made / self.seconds


class _Options(TypedDict, total=False):
    particle: str | None
    seed: int
    processes: int | Executor
    resume: bool
    chunk_size: int | None
    pitch: float | None
    box: float
    random_grid: bool
    position: Vector
    direction: Vector
    physics: str
    cut: float
    mantissa_bits: int | None
    layout: Layout
    progress: Callable[[Progress], None] | None


@overload
def simulate(
    geometry: str | Geometry | Detector,
    *,
    energy: EnergySpectrum | str | float,
    n: int,
    points: Literal[False] = ...,
    output: None = ...,
    **options: Unpack[_Options],
) -> VoxelShowers: ...


@overload
def simulate(
    geometry: str | Geometry | Detector,
    *,
    energy: EnergySpectrum | str | float,
    n: int,
    points: Literal[True],
    output: None = ...,
    **options: Unpack[_Options],
) -> PointShowers: ...


@overload
def simulate(
    geometry: str | Geometry | Detector,
    *,
    energy: EnergySpectrum | str | float,
    n: int,
    points: bool = ...,
    output: str | Path,
    **options: Unpack[_Options],
) -> Path: ...


def simulate(
    geometry: str | Geometry | Detector,
    *,
    energy: EnergySpectrum | str | float,
    n: int,
    particle: str | None = None,
    seed: int = 0,
    output: str | Path | None = None,
    processes: int | Executor = 1,
    resume: bool = False,
    chunk_size: int | None = None,
    points: bool = False,
    pitch: float | None = Clustering.pitch,
    box: float = Clustering.box,
    random_grid: bool = Clustering.random_grid,
    position: Vector = (0.0, 0.0, -1.0),
    direction: Vector = (0.0, 0.0, 1.0),
    physics: str = "standard",
    cut: float = 0.7 * mm,
    mantissa_bits: int | None = None,
    layout: Layout = "sparse",
    progress: Callable[[Progress], None] | None = None,
) -> VoxelShowers | PointShowers | Path:
    """Simulate showers with Geant4.

    The file's column `outside` says which fraction of each shower's deposited energy lies outside
    the voxels, or outside the box around points.

    The showers follow from the seed and the chunk size; the number of processes, interruptions and
    resumptions change nothing.

    Example:
        >>> showers = cf.simulate("calochallenge-2", particle="e-", energy=cf.Fixed(1e3), n=2)
        >>> clouds = cf.simulate("ild-ecal", energy="uniform:1e3:2e3", n=2, points=True)

    Args:
        geometry: name of a detector preset, a read-out of that name with other voxels, or a
            `Detector`.
        energy: spectrum of the kinetic energy, as an object, as text ("loguniform:1e3:1e6") or,
            for one energy, as a number [MeV].
        n: number of showers.
        particle: "e-", "e+" or "gamma"; the one of the detector's official sample if not given.
        seed: any number from 0.
        output: where to write; without it the showers are returned.
        processes: how many to use, or an `Executor`, such as one on a cluster. With several, a
            script must call this under `if __name__ == "__main__":`, as multiprocessing asks.
        resume: continue an interrupted run of the same request to the same output.
        chunk_size: showers of one chunk, some 500 GeV if not given.
        points: keep the steps, clustered on a fine grid, in place of the energies of voxels.
        pitch: of the grid of points [mm], see `Clustering`; None keeps every step.
        box: half the width of the box around the impact point [mm]; points outside are discarded.
        random_grid: move the grid by a random part of its pitch, shower by shower.
        position: of the gun (x, y, z) [mm], z <= 0; the front face lies at z = 0.
        direction: of the gun (x, y, z).
        physics: "standard", another electromagnetic physics list of Geant4 ("option4", …), or a
            hadronic one, alone or before it ("FTFP_BERT+option4").
        cut: production cut [mm].
        mantissa_bits: round the energies of the file to so many bits to make it smaller.
        layout: of the file, see `caloforge.data.create`.
        progress: called with a `Progress` after every chunk.

    Returns:
        The showers, or the path of the file that holds them.

    Raises:
        ValueError: for a request that makes no sense, or another than the one that is resumed.
        ModuleNotFoundError: if calzone is not installed.
        FileNotFoundError: if Geant4's data are not there.

    Warns:
        LossWarning: if on average more than 1 % of the energy lies outside, or the line of flight
            leaves the plates at a side.
    """
    detector = _detector(geometry)
    spectrum = _spectrum(energy)
    gun = Gun(particle or _usual_particle(detector), spectrum, position, direction)
    size = chunk_size or max(1, min(MAX_CHUNK_SIZE, int(CHUNK_ENERGY / spectrum.mean)))
    executor = find_executor(processes)
    for name, value, least in (("n", n, 1), ("chunk_size", size, 1)):
        if value < least:
            raise ValueError(f"{name} must be {least} or more, got {value}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    check_physics(physics)
    kind = PointShowers if points else VoxelShowers
    form: dict[str, Any] = {"kind": kind, "layout": layout, "mantissa_bits": mantissa_bits}
    check_layout(**form)
    clustering = _clustering(points, Clustering(pitch, box, random_grid))
    job = Job(detector, gun, int(n), int(seed), int(size), physics, float(cut), clustering)
    attributes = job.attributes()
    geant4_data()
    _warn_of_sides(detector, gun)
    if output is None:
        if resume:
            raise ValueError("resume needs an output: only files keep the chunks of a former run")
        chunks = dict(_run(job, list(range(job.n_chunks)), executor, progress))
        showers: list[Any] = [chunks[i].showers for i in range(job.n_chunks)]
        joined: VoxelShowers | PointShowers = type(showers[0]).concatenate(showers)
        _warn_of_losses(job, np.concatenate([chunks[i].outside for i in range(job.n_chunks)]))
        return joined
    parts = Parts(output, job.n_chunks, job.request(), resume=resume, **form)
    if parts.is_finished:
        return parts.output
    with parts.making(), closing(_run(job, parts.missing(), executor, progress)) as made:
        for number, chunk in made:
            parts.save(number, chunk.showers, {OUTSIDE: chunk.outside})
    columns = {OUTSIDE: parts.column(OUTSIDE)}
    path = parts.assemble(attributes, columns=columns)
    _warn_of_losses(job, columns[OUTSIDE])
    return path


def _warn_of_sides(detector: Detector, gun: Gun) -> None:
    """Say where particles leave the plates at a side: nothing is deposited there, nor counted."""
    if detector.shape != "planes":
        return
    slope = np.divide(gun.direction[:2], gun.direction[2])
    back = np.abs(gun.impact + slope * detector.depth).max()
    if back > detector.width / 2:
        warnings.warn(
            f"the line of flight leaves the plates, {detector.width:g} mm wide, at a side: it "
            f"would reach the back at {back:.0f} mm from the middle; widen the detector or aim at "
            "it",
            LossWarning,
            stacklevel=3,
        )


def _warn_of_losses(job: Job, outside: NDArray[np.float64]) -> None:
    """Warn of the fraction of the deposited energy that is not in the showers."""
    if outside.mean() > LARGEST_LOSS:
        warnings.warn(
            f"{outside.mean():.2%} of the deposited energy lies outside {job.volume}, at most "
            f"{outside.max():.2%} of a shower's: it is not in these showers. Widen the "
            "read-out or the box, choose another geometry, or aim the gun at its middle",
            LossWarning,
            stacklevel=3,
        )


def _clustering(points: bool, asked: Clustering) -> Clustering | None:
    if not points and asked != Clustering():
        raise ValueError(
            "pitch, box and random grid are of points: ask for points, or leave them out"
        )
    return asked if points else None


def _detector(geometry: str | Geometry | Detector) -> Detector:
    if isinstance(geometry, Detector):
        return geometry
    if isinstance(geometry, Geometry):
        return replace(detector_preset(geometry.name), readout=geometry)
    return detector_preset(geometry)


def _usual_particle(detector: Detector) -> str:
    official = official_sample(detector.readout)
    if official is None:
        raise ValueError(
            f"no official sample says which particle to shoot at {detector.name}: give "
            f"particle=…, one of {', '.join(PARTICLES)}"
        )
    return official.particle


def _spectrum(energy: EnergySpectrum | str | float) -> EnergySpectrum:
    if isinstance(energy, str):
        return EnergySpectrum.parse(energy)
    return Fixed(float(energy)) if isinstance(energy, int | float) else energy


def _run(
    job: Job,
    chunks: list[int],
    executor: Executor,
    progress: Callable[[Progress], None] | None,
) -> Generator[tuple[int, Chunk], None, None]:
    """Make chunks and yield each, with its number, when it is finished."""
    begin = time.perf_counter()
    before = job.n - sum(job.size(chunk) for chunk in chunks)
    made, energy_made = 0, 0.0
    call = "caloforge.simulation.job:Job.make"
    tasks = [Task(str(chunk), call, {"chunk": chunk}) for chunk in chunks]
    remedy = "finished chunks of a run with an output are kept, resume it"
    with closing(executor.run(tasks, shared=job, work="simulation", remedy=remedy)) as finished:
        for number, chunk in finished:
            yield int(number), chunk
            made += len(chunk.showers)
            energy_made += float(chunk.showers.energy_inc.sum(dtype=np.float64))
            if progress is not None:
                seconds = time.perf_counter() - begin
                progress(Progress(before + made, job.n, made, energy_made, seconds))
