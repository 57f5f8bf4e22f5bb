"""Speed of `simulate` against calzone's own event loop, and its memory over a long run.

    python benchmarks/simulation.py [--rounds 6] [--showers 1500]

The same electrons are simulated in the same stack in turns: by calzone's bare `Simulation.run`,
which records nothing, sums per volume, or records every step, and by `caloforge.simulate`, which
records every step and makes voxels of them. CPU time is compared, so that other programs of the
machine do not count. Results go to benchmarks/results/simulation.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import caloforge as cf
from caloforge.generation.timing import hardware
from caloforge.simulation import Fixed, Progress, detector_preset
from caloforge.simulation.geant4 import (
    calzone_definition,
    geant4_for,
    geant4_version,
    import_calzone,
)
from caloforge.units import GeV, cm

ENERGY = 10 * GeV
ELECTRONS_PER_ROUND = 30
GEOMETRY = "calochallenge-2"
RESULTS = Path(__file__).with_name("results") / "simulation.json"


def bare_loop(sample_deposits: str | None) -> Callable[[int], None]:
    """calzone alone on the stack of the detector."""
    calzone = import_calzone()
    definition, _ = calzone_definition(detector_preset(GEOMETRY))
    simulation = calzone.Simulation(
        calzone.Geometry(definition),
        calzone.Physics("standard", default_cut=0.7 / cm),
        sample_deposits=sample_deposits,
    )
    # The argument None means the default to calzone, the attribute means to record nothing.
    simulation.sample_deposits = sample_deposits

    def run(seed: int) -> None:
        simulation.random = calzone.Random(seed)
        simulation.run(
            calzone.particles(
                ELECTRONS_PER_ROUND,
                pid="e-",
                energy=ENERGY,
                position=(0, 0, -0.1),
                direction=(0, 0, 1),
            )
        )

    return run


def whole_simulation(seed: int) -> None:
    cf.simulate(GEOMETRY, particle="e-", energy=Fixed(ENERGY), n=ELECTRONS_PER_ROUND, seed=seed)


class TimedLoop:
    """calzone's simulation, with the CPU time that its event loop takes."""

    def __init__(self, simulation: Any) -> None:
        self.simulation = simulation
        self.seconds = 0.0

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "random":
            self.simulation.random = value
        else:
            super().__setattr__(name, value)

    def run(self, particles: Any) -> Any:
        start = time.process_time()
        deposits = self.simulation.run(particles)
        self.seconds += time.process_time() - start
        return deposits


def measure_share_of_the_loop(rounds: int) -> float:
    """Fraction of the CPU time of `simulate` that calzone's event loop takes."""
    geant4 = geant4_for(detector_preset(GEOMETRY), "standard", 0.7)
    loop = geant4._simulation = TimedLoop(geant4._simulation)
    start = time.process_time()
    for seed in range(rounds):
        whole_simulation(seed)
    total = time.process_time() - start
    geant4._simulation = loop.simulation
    return loop.seconds / total


def measure_speed(rounds: int) -> dict[str, dict[str, float]]:
    contenders: dict[str, Callable[[int], None]] = {
        "calzone, nothing recorded": bare_loop(None),
        "calzone, energy per volume": bare_loop("brief"),
        "calzone, every step": bare_loop("detailed"),
        "caloforge.simulate": whole_simulation,
    }
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run(0)  # builds tables
    for seed in range(1, rounds + 1):
        for name, run in contenders.items():
            start = time.process_time()
            run(seed)
            seconds = time.process_time() - start
            speeds[name].append(ELECTRONS_PER_ROUND * ENERGY / GeV / seconds)
            print(f"{seed:3d} {name:28s} {speeds[name][-1]:7.1f} GeV/s")
    return {
        name: {
            "GeV_per_cpu_second": float(np.mean(found)),
            "error": float(np.std(found) / rounds**0.5),
        }
        for name, found in speeds.items()
    }


def measure_memory(showers: int) -> dict[str, float | list[list[float]]]:
    """Resident memory [MB] after every chunk of a run to a file."""
    page = resource.getpagesize()
    seen: list[list[float]] = []

    def note(progress: Progress) -> None:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * page / 1e6
        seen.append([progress.done, round(resident, 1)])

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        cf.simulate(
            GEOMETRY,
            particle="e-",
            energy=Fixed(ENERGY),
            n=showers,
            output=Path(folder) / "long.h5",
            progress=note,
        )
    resident = np.array(seen)[:, 1]
    half = len(resident) // 2
    return {
        "showers": showers,
        "GeV": showers * ENERGY / GeV,
        "wall_seconds": time.perf_counter() - start,
        "MB_first_half_mean": float(resident[:half].mean()),
        "MB_second_half_mean": float(resident[half:].mean()),
        "MB_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "showers_and_MB": seen,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--showers", type=int, default=1500)
    arguments = parser.parse_args()
    memory = measure_memory(arguments.showers)
    speed = measure_speed(arguments.rounds)
    whole = speed["caloforge.simulate"]["GeV_per_cpu_second"]
    results = {
        "generator": geant4_version(),
        "machine": hardware(["cpu"]),
        "python": platform.python_version(),
        "geometry": GEOMETRY,
        "electrons_GeV": ENERGY / GeV,
        "speed": speed,
        "share_of_calzones_speed": {
            name: whole / other["GeV_per_cpu_second"]
            for name, other in speed.items()
            if name.startswith("calzone")
        },
        "share_of_the_time_in_calzones_loop": measure_share_of_the_loop(arguments.rounds),
        "memory": memory,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps({key: value for key, value in results.items() if key != "memory"}, indent=1))
    print({key: value for key, value in memory.items() if key != "showers_and_MB"})


if __name__ == "__main__":
    main()
