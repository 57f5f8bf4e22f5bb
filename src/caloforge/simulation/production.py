"""Production of showers: chunk by chunk, in several processes, resumable."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from caloforge.data import Parts
from caloforge.geometry import Geometry, official_sample
from caloforge.processes import worker_pool
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
LARGEST_LOSS = 0.01  # mean share of energy outside that needs no word


class LossWarning(UserWarning):
    """Simulated showers lack energy that the particles deposit beside the read-out volume."""


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
    processes: int
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
    processes: int = 1,
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
    progress: Callable[[Progress], None] | None = None,
) -> VoxelShowers | PointShowers | Path:
    """Simulate showers with Geant4.

    The file's column `outside` says which share of each shower's deposited energy lies outside the
    voxels, or outside the box around points.

    The showers follow from the seed and the chunk size; the number of processes, interruptions and
    resumptions change nothing.

    Example:
        >>> import caloforge as cf
        >>> showers = cf.simulate("calochallenge-2", particle="e-", energy=cf.Fixed(1e4), n=10)
        >>> clouds = cf.simulate("ild-ecal", energy="uniform:1e4:1e5", n=10, points=True)

    Args:
        geometry: name of a detector preset, a read-out of that name with other voxels, or a
            `Detector`.
        energy: spectrum of the kinetic energy, as an object, as text ("loguniform:1e3:1e6") or,
            for one energy, as a number [MeV].
        n: number of showers.
        particle: "e-", "e+" or "gamma"; the one of the detector's official sample if not given.
        seed: any number from 0.
        output: where to write; without it the showers are returned.
        processes: how many to use. With more than one, a script must call this under
            `if __name__ == "__main__":`, as multiprocessing asks.
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
    for name, value, least in (("n", n, 1), ("processes", processes, 1), ("chunk_size", size, 1)):
        if value < least:
            raise ValueError(f"{name} must be {least} or more, got {value}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    check_physics(physics)
    clustering = _clustering(points, Clustering(pitch, box, random_grid))
    job = Job(detector, gun, int(n), int(seed), int(size), physics, float(cut), clustering)
    attributes = job.attributes()
    geant4_data()
    _warn_of_sides(detector, gun)
    if output is None:
        if resume:
            raise ValueError("resume needs an output: only files keep the chunks of a former run")
        chunks = dict(_run(job, list(range(job.n_chunks)), processes, progress))
        made: list[Any] = [chunks[i].showers for i in range(job.n_chunks)]
        joined: VoxelShowers | PointShowers = type(made[0]).concatenate(made)
        _warn_of_losses(job, np.concatenate([chunks[i].outside for i in range(job.n_chunks)]))
        return joined
    rounding = {} if mantissa_bits is None else {"mantissa_bits": mantissa_bits}
    parts = Parts(output, job.n_chunks, {**job.request(), **rounding}, resume=resume)
    if parts.is_finished:
        return parts.output
    for number, chunk in _run(job, parts.missing(), processes, progress):
        parts.save(number, chunk.showers, {OUTSIDE: chunk.outside})
    columns = {OUTSIDE: parts.column(OUTSIDE)}
    path = parts.assemble(attributes, columns=columns, mantissa_bits=mantissa_bits)
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
    """Say what share of the deposited energy showers hold nothing of."""
    if outside.mean() > LARGEST_LOSS:
        warnings.warn(
            f"{outside.mean():.2%} of the deposited energy lies outside {job.volume}, at most "
            f"{outside.max():.2%} of a shower's: these showers hold nothing of it. Widen the "
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
    job: Job, chunks: list[int], processes: int, progress: Callable[[Progress], None] | None
) -> Iterator[tuple[int, Chunk]]:
    """Make chunks and yield each, with its number, when it is finished."""
    begin = time.perf_counter()
    before = job.n - sum(job.size(chunk) for chunk in chunks)
    made, energy_made = 0, 0.0
    source = _in_processes if processes > 1 and len(chunks) > 1 else _in_this_process
    for number, chunk in source(job, chunks, processes):
        yield number, chunk
        made += len(chunk.showers)
        energy_made += float(chunk.showers.energy_inc.sum(dtype=np.float64))
        if progress is not None:
            seconds = time.perf_counter() - begin
            progress(Progress(before + made, job.n, made, energy_made, seconds))


def _in_this_process(job: Job, chunks: list[int], processes: int) -> Iterator[tuple[int, Chunk]]:
    for chunk in chunks:
        yield chunk, job.make(chunk)


def _in_processes(job: Job, chunks: list[int], processes: int) -> Iterator[tuple[int, Chunk]]:
    remedy = "finished chunks of a run with an output are kept, resume it"
    workers = min(processes, len(chunks))
    with worker_pool(workers, work="simulation", remedy=remedy) as executor:
        futures = {executor.submit(job.make, chunk): chunk for chunk in chunks}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
