"""Production of showers: chunk by chunk, in several processes, resumable."""

from __future__ import annotations

import hashlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, overload

import numpy as np

from caloforge.data import Parts, open_showers
from caloforge.geometry import Geometry
from caloforge.showers import VoxelShowers
from caloforge.simulation.detectors import Detector, detector_preset, detector_presets
from caloforge.simulation.geant4 import (
    check_physics,
    geant4_data,
    geant4_for,
    geant4_version,
)
from caloforge.simulation.gun import EnergySpectrum, Fixed, Gun, Vector
from caloforge.simulation.scoring import score
from caloforge.units import GeV, mm

__all__ = ["Progress", "simulate"]

CHUNK_ENERGY = 500 * GeV  # some ten seconds
MAX_CHUNK_SIZE = 1000


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


@dataclass(frozen=True)
class _Job:
    """All that determines the showers."""

    detector: Detector
    gun: Gun
    n: int
    seed: int
    chunk_size: int
    physics: str
    cut: float

    @property
    def n_chunks(self) -> int:
        return -(-self.n // self.chunk_size)

    def size(self, chunk: int) -> int:
        return min(self.chunk_size, self.n - chunk * self.chunk_size)

    def make(self, chunk: int) -> VoxelShowers:
        """Simulate one chunk; its random numbers follow from (seed, chunk) alone."""
        for_energies, for_geant4 = np.random.SeedSequence(self.seed, spawn_key=(chunk,)).spawn(2)
        rng = np.random.default_rng(for_energies)
        energy_inc = self.gun.energy.sample(self.size(chunk), rng).astype(np.float32)
        high, low = for_geant4.generate_state(2, np.uint64).tolist()
        geant4 = geant4_for(self.detector, self.physics, self.cut)
        return VoxelShowers.concatenate(
            [
                score(steps, energy_inc[bunch], self.detector, self.gun)
                for bunch, steps in geant4.run(energy_inc, self.gun, seed=(high << 64) | low)
            ]
        )

    def request(self) -> dict[str, Any]:
        """What was asked, in JSON's types."""
        digest = hashlib.sha256(repr(self.detector).encode()).hexdigest()[:12]
        return {
            "geometry": self.detector.name,
            "detector": digest,
            "shape": self.detector.shape,
            "particle": self.gun.particle,
            "energy": str(self.gun.energy),
            "position": list(self.gun.position),
            "direction": list(self.gun.direction),
            "n": self.n,
            "seed": self.seed,
            "chunk_size": self.chunk_size,
            "physics": self.physics,
            "cut_mm": self.cut,
            "generator": geant4_version(),
        }

    def attributes(self) -> dict[str, Any]:
        """What is written to the root of the file."""
        return {
            **self.request(),
            "threshold_MeV": self.detector.voxel_threshold,
            "sampling_fraction": self.detector.sampling_fraction,
            "request": json.dumps(self.request()),
            "command": self.command(),
        }

    def command(self) -> str:
        """The command that makes the same showers, for detectors that have a name."""
        name, shape = self.detector.name, self.detector.shape
        if name not in detector_presets() or self.detector != detector_preset(name, shape=shape):
            return "caloforge.simulation.simulate, with a detector of its own"
        options = {
            "--geometry": name,
            "--shape": shape,
            "--particle": self.gun.particle,
            "--energy": self.gun.energy,
            "-n": self.n,
            "--seed": self.seed,
            "--chunk-size": self.chunk_size,
            "--position": ",".join(f"{x:g}" for x in self.gun.position),
            "--direction": ",".join(f"{x:g}" for x in self.gun.direction),
            "--physics": self.physics,
            "--cut": f"{self.cut:g}",
        }
        return " ".join(["caloforge simulate", *(f"{key} {options[key]}" for key in options)])


@overload
def simulate(
    geometry: str | Geometry | Detector,
    *,
    energy: EnergySpectrum | str | float,
    n: int,
    particle: str | None = ...,
    seed: int = ...,
    output: None = ...,
    processes: int = ...,
    resume: bool = ...,
    chunk_size: int | None = ...,
    position: Vector = ...,
    direction: Vector = ...,
    physics: str = ...,
    cut: float = ...,
    mantissa_bits: int | None = ...,
    progress: Callable[[Progress], None] | None = ...,
) -> VoxelShowers: ...


@overload
def simulate(
    geometry: str | Geometry | Detector,
    *,
    energy: EnergySpectrum | str | float,
    n: int,
    output: str | Path,
    particle: str | None = ...,
    seed: int = ...,
    processes: int = ...,
    resume: bool = ...,
    chunk_size: int | None = ...,
    position: Vector = ...,
    direction: Vector = ...,
    physics: str = ...,
    cut: float = ...,
    mantissa_bits: int | None = ...,
    progress: Callable[[Progress], None] | None = ...,
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
    position: Vector = (0.0, 0.0, -1.0),
    direction: Vector = (0.0, 0.0, 1.0),
    physics: str = "standard",
    cut: float = 0.7 * mm,
    mantissa_bits: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> VoxelShowers | Path:
    """Simulate showers with Geant4.

    The showers follow from the seed and the chunk size; the number of processes, interruptions and
    resumptions change nothing.

    Example:
        >>> import caloforge as cf
        >>> showers = cf.simulate("calochallenge-2", particle="e-", energy=cf.Fixed(1e4), n=10)

    Args:
        geometry: name of a detector preset, a read-out of that name with other voxels, or a
            `Detector`.
        energy: spectrum of the kinetic energy, as an object, as text ("loguniform:1e3:1e6") or,
            for one energy, as a number [MeV].
        n: number of showers.
        particle: "e-", "e+" or "gamma"; the one of the official sample if not given.
        seed: any number from 0.
        output: where to write; without it the showers are returned.
        processes: how many to use. With more than one, a script must call this under
            `if __name__ == "__main__":`, as multiprocessing asks.
        resume: continue an interrupted run of the same request to the same output.
        chunk_size: showers of one chunk, some 500 GeV if not given.
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
    """
    detector = _detector(geometry)
    spectrum = _spectrum(energy)
    gun = Gun(particle or detector.readout.particle, spectrum, position, direction)
    size = chunk_size or max(1, min(MAX_CHUNK_SIZE, int(CHUNK_ENERGY / spectrum.mean)))
    for name, value, least in (("n", n, 1), ("processes", processes, 1), ("chunk_size", size, 1)):
        if value < least:
            raise ValueError(f"{name} must be {least} or more, got {value}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    check_physics(physics)
    job = _Job(detector, gun, int(n), int(seed), int(size), physics, float(cut))
    attributes = job.attributes()
    geant4_data()
    if output is None:
        if resume:
            raise ValueError("resume needs an output: only files keep the chunks of a former run")
        chunks = dict(_run(job, list(range(job.n_chunks)), processes, progress))
        return VoxelShowers.concatenate([chunks[i] for i in range(job.n_chunks)])
    target = Path(output)
    if resume and _is_finished(target, attributes):
        return target
    parts = Parts(target, job.n_chunks, job.request(), resume=resume)
    for chunk, showers in _run(job, parts.missing(), processes, progress):
        parts.save(chunk, showers)
    return parts.assemble(attributes, mantissa_bits=mantissa_bits)


def _detector(geometry: str | Geometry | Detector) -> Detector:
    if isinstance(geometry, Detector):
        return geometry
    if isinstance(geometry, Geometry):
        return replace(detector_preset(geometry.name), readout=geometry)
    return detector_preset(geometry)


def _spectrum(energy: EnergySpectrum | str | float) -> EnergySpectrum:
    if isinstance(energy, str):
        return EnergySpectrum.parse(energy)
    return Fixed(float(energy)) if isinstance(energy, int | float) else energy


def _is_finished(output: Path, attributes: dict[str, Any]) -> bool:
    """Whether the output is there and answers the same request."""
    if not output.exists() or output.with_name(output.name + ".parts").exists():
        return False
    with open_showers(output) as file:
        return bool(file.attributes.get("request") == attributes["request"])


def _run(
    job: _Job, chunks: list[int], processes: int, progress: Callable[[Progress], None] | None
) -> Iterator[tuple[int, VoxelShowers]]:
    """Make chunks and yield each, with its number, when it is finished."""
    begin = time.perf_counter()
    before = job.n - sum(job.size(chunk) for chunk in chunks)
    made, energy_made = 0, 0.0
    source = _in_processes if processes > 1 and len(chunks) > 1 else _in_this_process
    for chunk, showers in source(job, chunks, processes):
        yield chunk, showers
        made += len(showers)
        energy_made += float(showers.energy_inc.sum(dtype=np.float64))
        if progress is not None:
            seconds = time.perf_counter() - begin
            progress(Progress(before + made, job.n, made, energy_made, seconds))


def _in_this_process(
    job: _Job, chunks: list[int], processes: int
) -> Iterator[tuple[int, VoxelShowers]]:
    for chunk in chunks:
        yield chunk, job.make(chunk)


def _in_processes(
    job: _Job, chunks: list[int], processes: int
) -> Iterator[tuple[int, VoxelShowers]]:
    executor = ProcessPoolExecutor(
        min(processes, len(chunks)), mp_context=get_context("spawn"), initializer=_end_on_interrupt
    )
    try:
        futures = {executor.submit(job.make, chunk): chunk for chunk in chunks}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a process of the simulation died; finished chunks of a run with an output are kept: "
            "look at Geant4's message above, then resume"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _end_on_interrupt() -> None:
    # Ctrl-C reaches every process of the terminal: these end at once and in silence, and leave the
    # word to the one that asked for them.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
