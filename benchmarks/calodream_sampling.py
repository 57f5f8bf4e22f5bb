"""Time of CaloDREAM's networks and of complete showers, beside that of the authors' code.

    python benchmarks/calodream_sampling.py -o benchmarks/results/calodream_sampling.json
    python benchmarks/calodream_sampling.py --device cuda \
        -o benchmarks/results/calodream_sampling_cuda.json

Timed are one evaluation of the shape network's velocity, the energy network from the incident
energy to all ratios, the decoder of the latent variant, and showers of dataset 2 from incident
energies to voxels in memory. Weights are random, those that begin at zero as well, as if they were
trained: times do not depend on them. One thread; the fastest of a few runs counts, by the wall
clock and in processor time, which a busy machine disturbs less. A batch that seems to take longer
than `--limit` is left out, such as 100 showers by RK4 with 20 steps. All takes about 8 minutes.

The leaderboard's preset has the shape network of dataset 2, and datasets 2 and 3 have one energy
network: these are timed once.

The authors' figures are of their code (arXiv:2405.09629), with networks of these sizes in 32 bits,
on one thread of a machine like this; three numbers are those of 1, 10 and 100 showers.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

import caloforge as cf
from caloforge import samples
from caloforge.cascade import ShowerQuantities, System
from caloforge.cascade.seeds import Seeds
from caloforge.generation.stopwatch import elapsed
from caloforge.generation.timing import hardware, software
from caloforge.stages.ratios import EnergyRatioStage
from caloforge.stages.shape import ShapeStage
from caloforge.systems.calodream.autoencoder import AutoencoderStage

N_FITTED = 200  # showers that transforms are fitted to
RUNS = 3
SHORTEST, LONGEST = 1.5, 12.0  # of all runs together [s]: more of short ones, fewer of long ones

PUBLISHED = "rk4-20", "rk4-50"  # solvers of the shape and of the energies

Part = Literal["velocity", "energies", "decoder", "shower"]

# ms per shower: of one evaluation, of all ratios with "rk4-50", of all evaluations with "rk4-20"
AUTHORS: dict[tuple[Part, str], str] = {
    ("velocity", "paper-calochallenge-2"): "67, 57, 66",
    ("velocity", "paper-calochallenge-3"): "274 to 316",
    ("velocity", "latent-calochallenge-2"): "104 to 145",
    ("velocity", "latent-calochallenge-3"): "72 to 76",
    ("energies", "rk4-50"): "-, 548, 141",
    ("decoder", "latent-calochallenge-2"): "44",
    ("decoder", "latent-calochallenge-3"): "255",
    ("shower", "rk4-20"): "5200 (the shape alone)",
}


@dataclass(frozen=True)
class Work:
    """What is timed.

    Args:
        part: of the system.
        preset: of CaloDREAM.
        precision: of the shape network.
        solver: of the shape, None where none is used.
        energy_solver: of the energies, likewise.
    """

    part: Part
    preset: str
    precision: Literal["32", "bf16"] = "32"
    solver: str | None = None
    energy_solver: str | None = None

    @property
    def authors(self) -> str:
        """The authors' time for it [ms per shower], empty where there is none."""
        if self.precision != "32":
            return ""
        keys = {"energies": self.energy_solver, "shower": self.solver}
        key = keys.get(self.part, self.preset) or ""
        if self.preset.startswith("leaderboard"):
            return ""  # another energy network
        return AUTHORS.get((self.part, key), "")


def works() -> Iterator[Work]:
    """All that is timed."""
    precisions: tuple[Literal["32", "bf16"], ...] = ("32", "bf16")
    for kind in ("paper", "latent"):
        for dataset in (2, 3):
            for precision in precisions:
                yield Work("velocity", f"{kind}-calochallenge-{dataset}", precision)
    for kind in ("paper", "leaderboard"):
        for solver in ("rk4-50", "midpoint-4", "midpoint-2"):
            yield Work("energies", f"{kind}-calochallenge-2", energy_solver=solver)
    for dataset in (2, 3):
        yield Work("decoder", f"latent-calochallenge-{dataset}")
    for solvers in (("distilled-1", "midpoint-4"), ("distilled-1", "midpoint-2"), PUBLISHED):
        for precision in precisions:
            yield Work("shower", "paper-calochallenge-2", precision, *solvers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", help="of velocity, energies, decoder, shower; all by default")
    parser.add_argument("--presets", help="such as paper-calochallenge-2; all by default")
    parser.add_argument("--batch-sizes", default="1,10,100")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--limit", type=float, default=120, help="seconds of one run at most")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [
        work
        for work in works()
        if (arguments.parts is None or work.part in arguments.parts.split(","))
        and (arguments.presets is None or work.preset in arguments.presets.split(","))
    ]
    sizes = sorted(int(size) for size in arguments.batch_sizes.split(","))
    heads = ["part", "preset", "precision", "solvers", *map(str, sizes), "authors' code"]
    print(joined(heads), joined(["---"] * len(heads)), sep="\n")
    rows = []
    for work in chosen:
        of_work = timed(work, sizes, arguments.device, arguments.limit)
        print(line(work, of_work), flush=True)
        rows += of_work
    if arguments.output:
        machine = {**hardware([arguments.device]), **software()}
        result = {"machine": machine, "threads": 1, "rows": rows}
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


@cache
def untrained(preset: str, device: str) -> System:
    """A system with random weights that can sample, and be sampled with in one jump.

    The transforms of other geometries than that of the bundled showers are not fitted: a whole
    shower cannot be sampled there, but its networks evaluated.
    """
    distillation = {"recipe": {"epochs": 1, "batch_size": 1, "learning_rate": 1e-3}, "steps": 1}
    distilled = {} if preset.startswith("latent") else {"distillation": distillation}
    system = cf.build(f"calodream/{preset}", overrides=distilled)
    rng = torch.Generator().manual_seed(0)
    showers = samples.load()[:N_FITTED]
    for name, stage in system.stages.items():
        if showers.geometry.name == system.geometry.name and not preset.startswith("latent"):
            quantities = stage.learns or (*stage.reads, *stage.writes)
            stage.fit(ShowerQuantities(showers, quantities), system.upstream(name), rng)
        for weights in stage.parameters():
            if not weights.any():
                nn.init.normal_(weights, std=0.02, generator=rng)
    system.prepare(device)
    return system


def task(work: Work, size: int, device: str) -> Callable[[], Any]:
    """What is run, on a batch of random numbers, or of incident energies from 1 to 100 GeV."""
    system = untrained(work.preset, device)
    rng = torch.Generator(device).manual_seed(size)
    options = system.chosen(
        {"solver": work.solver, "energy_solver": work.energy_solver, "precision": work.precision}
    )
    if work.part == "shower":
        energy_inc = np.geomspace(1e3, 1e5, size)
        seeds = Seeds.of(size, np.arange(size), device)
        return lambda: system.draw(energy_inc, seeds=seeds, options=options)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(size, *shape, generator=rng, device=device)

    n_layers = system.geometry.n_layers
    if work.part == "energies":
        energies = system.stages["energies"]
        assert isinstance(energies, EnergyRatioStage)
        network, solver = energies.network, energies.solver(options)
        noise, incident = normal(n_layers), normal(1)
        return lambda: network.sample(solver, noise, incident)
    context = normal(1 + n_layers)
    if work.part == "decoder":
        autoencoder = system.stages["autoencoder"]
        assert isinstance(autoencoder, AutoencoderStage)
        decode, latent = autoencoder.net.decode, normal(*autoencoder.grid_shape)
        return lambda: decode(latent, context)
    shape = ShapeStage.of(system.stages, "shape")
    x, t = normal(*shape.shape), torch.full((size,), 0.5, device=device)

    def velocity() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=work.precision == "bf16"):
            shape.velocity(x, t, context)

    return velocity


@torch.inference_mode()
def timed(work: Work, sizes: list[int], device: str, limit: float) -> list[dict[str, Any]]:
    """A row for each batch size, smaller ones first, which tell how long larger ones take."""
    synchronize = torch.get_device_module(device).synchronize
    task(work, 1, device)()  # warms up
    rows, per_shower = [], 0.0
    for size in sizes:
        row: dict[str, Any] = {"batch_size": size, **asdict(work), "authors_ms": work.authors}
        rows.append(row)
        if size * per_shower > limit:
            row["left_out"] = f"a batch takes about {size * per_shower:.0f} s"
            continue
        run = task(work, size, device)
        runs: list[tuple[float, float]] = []
        while not runs or enough(runs) > len(runs):
            begin = time.process_time()
            wall = elapsed(run, synchronize)
            runs.append((wall, time.process_time() - begin))
        wall, processor = np.min(runs, 0) / size
        per_shower = wall
        row |= {"ms": round(1e3 * wall, 3), "cpu_ms": round(1e3 * processor, 3), "runs": len(runs)}
    return rows


def enough(runs: list[tuple[float, float]]) -> int:
    """How many runs it takes, by the first."""
    first, _ = runs[0]
    return int(min(max(RUNS, SHORTEST / first), LONGEST / first))


def line(work: Work, rows: list[dict[str, Any]]) -> str:
    """Of the table: ms per shower by the wall clock, and in processor time, by batch size."""
    times = [
        f"{row['ms']:.4g} ({row['cpu_ms']:.4g})" if "ms" in row else "left out" for row in rows
    ]
    solvers = ", ".join(solver for solver in (work.solver, work.energy_solver) if solver)
    return joined([work.part, work.preset, work.precision, solvers, *times, work.authors])


def joined(cells: list[str]) -> str:
    """A line of Markdown."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
