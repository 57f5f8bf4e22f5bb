"""Time to sample a shower with the presets of L2LFlows, untrained, and where it goes.

    python benchmarks/sampling.py --preset l2lflows/paper-ild --showers ild-30.h5 \
        --batch-sizes 1,10,100,1000 -o benchmarks/results/sampling_paper-ild.json

One thread, from incident energies to showers in memory, in a fresh process for every batch size, as
`caloforge bench` does; but the fastest of several runs counts, which a busy machine disturbs least.
Weights are random, on which the time does not depend; the transforms are fitted to a few showers of
the file, which says the geometry. The parts are those of one more run in this process.

With `--against` another preset samples in turn with this one, both in this process, so that what
disturbs the machine disturbs both: how many times longer it takes.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import caloforge as cf
from caloforge.cascade import ShowerQuantities, System
from caloforge.flows.knots import KnotTable
from caloforge.flows.prepared import ChannelMap
from caloforge.generation.stopwatch import TooLongError, stopwatch, timed_runs
from caloforge.generation.timing import hardware
from caloforge.nets import UNet
from caloforge.showers import VoxelShowers
from caloforge.training import RunFolder

N_FITTED = 200  # showers that transforms and activation norms are fitted to

# What does not matter for sampling, or would need a training.
OVERRIDES: tuple[dict[str, Any], ...] = (
    {"layers.rotation": False, "layers.reflection": False},
    {"spectrum": None},
    {"energies.largest_ratio": None},
)

# ms per shower by batch size.
BESIDE: dict[str, dict[str, dict[int, float]]] = {
    "l2lflows/paper-ild": {
        "published, one thread of a Xeon E5-2640 v4 (arXiv:2405.20407, table 2)": {
            1: 1202.66,
            10: 514.49,
            100: 417.55,
            1000: 488.75,
        },
        "the authors' code, one thread of a machine like this": {1: 788, 10: 242, 100: 177},
        "target": {1: 250, 10: 120, 100: 105},
    },
    "l2lflows/paper-calochallenge-3": {
        "the authors' code, one thread of a machine like this": {1: 1035, 10: 350, 100: 265},
    },
}


class Parts:
    """Time by part of the sampling: what runs inside another part counts for itself alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._running = ["rest"]
        self._since = time.perf_counter()

    def _turn(self) -> None:
        now = time.perf_counter()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._turn()
        # of the energy flow, which is small, all is one part
        self._running.append("energy flow" if "energy flow" in self._running else name)
        yield
        self._turn()
        self._running.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        return run


def untrained(preset: str, showers: VoxelShowers) -> System:
    """A system with random weights whose transforms are fitted."""
    overrides: dict[str, Any] = {}
    for more in OVERRIDES:
        try:
            cf.build(preset, showers.geometry, overrides=more)
        except ValueError:
            continue  # a preset without that setting
        overrides |= more
    system = cf.build(preset, showers.geometry, overrides=overrides)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, stage in system.stages.items():
            sample = ShowerQuantities(showers, stage.learns or (*stage.reads, *stage.writes))
            stage.fit(sample, system.upstream(name), rng)
            for weights in stage.parameters():
                if not weights.any():  # what begins at zero, as if it were trained
                    weights.normal_(0, 0.02, generator=rng)
            stage.eval()
    return system


def save(system: System, showers: VoxelShowers, folder: Path) -> None:
    """A run folder, as if the system were trained."""
    quantiles = np.quantile(showers.energy_inc, np.linspace(0, 1, 101)).tolist()
    run = RunFolder(folder)
    run.create(system, data={"energy_inc_quantiles": quantiles})
    for name, stage in system.stages.items():
        run.stage(name).save_weights(stage)
        run.stage(name).finish({})


def timing(folder: Path, batch_size: int, runs: int, limit: float) -> dict[str, Any]:
    """Fastest and mean run of one batch size, and the memory it takes."""
    with stopwatch(folder, "cpu", 1) as watch:
        try:
            n, times = timed_runs(
                watch.seconds, batch_size, runs=runs, limit=limit, n_showers=batch_size
            )
        except TooLongError as error:
            return {"batch_size": batch_size, "reason": str(error)}
        return {
            "batch_size": batch_size,
            "runs": runs,
            "showers_per_run": n,
            "ms_per_shower_fastest": round(min(times), 2),
            "ms_per_shower_mean": round(float(np.mean(times)), 2),
            "ms_per_shower_std": round(float(np.std(times)), 2),
            "peak_memory_MB": round(watch.peak_memory() / 1e6),
            "cpu_share": round(watch.cpu_share(), 3),
        }


def parts(system: System, energies: np.ndarray, batch_size: int, runs: int) -> dict[str, float]:
    """ms per shower by part, of the fastest run."""
    chosen = np.resize(energies, batch_size)
    clock = Parts()
    with clocked(system, clock):
        fastest: dict[str, float] = {}
        for run in range(runs + 2):  # the first two prepare the flows and warm up
            clock.seconds.clear()
            with clock.part("rest"):
                system.generate(chosen, seed=run, batch_size=batch_size)
            spent = {name: 1e3 * value / batch_size for name, value in clock.seconds.items()}
            if run >= 2 and (not fastest or sum(spent.values()) < sum(fastest.values())):
                fastest = spent
    return {name: round(value, 2) for name, value in sorted(fastest.items())}


def in_turn(
    system: System, other: System, energies: np.ndarray, size: int, runs: int
) -> dict[str, float]:
    """Fastest ms per shower of both, sampled in turn, and their ratio, of processor time."""
    chosen = np.resize(energies, size)
    fastest = [np.inf, np.inf]
    for run in range(runs + 1):  # the first prepares the flows and warms up
        for i, sampled in enumerate((system, other)):
            begin = time.process_time()
            sampled.generate(chosen, seed=run, batch_size=size)
            if run:
                fastest[i] = min(fastest[i], 1e3 * (time.process_time() - begin) / size)
    own, against = fastest
    return {
        "ms_per_shower": round(own, 2),
        "ms_per_shower_against": round(against, 2),
        "ratio": round(against / own, 2),
    }


@contextmanager
def clocked(system: System, clock: Parts) -> Iterator[None]:
    """Every part tells the clock when it runs."""
    spline, channels, folded = KnotTable.inverse, ChannelMap.__call__, UNet.folded
    energies = system.stages["energies"]

    def timed_unet(net: UNet, *args: Any) -> Callable[..., Any]:
        return clock.timed("U-Nets", folded(net, *args))

    KnotTable.inverse = clock.timed("splines", spline)  # type: ignore[method-assign]
    ChannelMap.__call__ = clock.timed("linear maps", channels)  # type: ignore[method-assign]
    UNet.folded = timed_unet  # type: ignore[method-assign]
    energies.sample = clock.timed("energy flow", energies.sample)  # type: ignore[method-assign]
    try:
        for stage in system.stages.values():
            stage.prepare()
        yield
    finally:
        KnotTable.inverse, ChannelMap.__call__ = spline, channels  # type: ignore[method-assign]
        UNet.folded = folded  # type: ignore[method-assign]


def measure(
    preset: str, path: Path, sizes: list[int], runs: int, limit: float, against: str | None
) -> dict[str, Any]:
    with cf.open_showers(path) as file:
        showers = file[:N_FITTED]
    system = untrained(preset, showers)
    with tempfile.TemporaryDirectory() as folder:
        save(system, showers, Path(folder))
        rows = [timing(Path(folder), size, runs, limit) for size in sizes]
    for row in rows:
        beside = BESIDE.get(preset, {}).items()
        size = row["batch_size"]
        row["beside_ms"] = {name: ms[size] for name, ms in beside if size in ms}
        if "reason" not in row:
            row["ms_by_part"] = parts(system, showers.energy_inc, size, runs)
    if against is not None:
        other = untrained(against, showers)
        for row in rows:
            turns = in_turn(system, other, showers.energy_inc, row["batch_size"], runs)
            row["in_turn"] = {"against": against, **turns}
    counts = system.n_parameters
    return {
        "preset": preset,
        "geometry": system.geometry.name,
        "parameters": sum(counts.values()),
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--showers", type=Path, required=True, help="showers of the geometry")
    parser.add_argument("--batch-sizes", default="1,10,100,1000")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--limit", type=float, default=600, help="seconds for one batch size")
    parser.add_argument("--against", help="a preset to sample in turn with it")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [int(size) for size in arguments.batch_sizes.split(",")]
    results = {
        "machine": hardware(["cpu"]),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        **measure(
            arguments.preset,
            arguments.showers,
            sizes,
            arguments.runs,
            arguments.limit,
            arguments.against,
        ),
    }
    text = json.dumps(results, indent=1)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
