"""Time and memory of CaloClouds' points, by many steps, few and one, beside the authors' code.

    python benchmarks/caloclouds_sampling.py -o benchmarks/results/caloclouds_sampling.json
    python benchmarks/caloclouds_sampling.py --device cuda \
        -o benchmarks/results/caloclouds_sampling_cuda.json

Showers of 3,000 and 6,000 points are sampled by the published network with random weights, from
given counts, visible energies and latent vectors to calibrated points in memory. The published
chain has 100 steps; the same network as a denoiser of any noise needs few, and distilled one. One
thread; the fastest of a few runs counts, by the wall clock and in processor time, which a busy
machine disturbs less. Memory is that of the whole process at its highest. GFLOP/s are those of the
products of points and weights alone, beside those of products of large square matrices between the
runs. All takes about 10 minutes.

The authors' figures are of their code (arXiv:2305.04847 and arXiv:2309.05704), in 32 bits and
showers one by one, on one thread of a machine like this.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import caloforge as cf
from caloforge import samples
from caloforge.cascade import SamplingOptions, ShowerQuantities
from caloforge.cascade.seeds import Seeds
from caloforge.generation.stopwatch import elapsed
from caloforge.generation.timing import hardware, software
from caloforge.systems.caloclouds import CaloClouds

RUNS = 3
PRODUCT = 1024
LIMIT = 60.0  # of one run, beyond which larger batches are left out [s]

CHAIN, FEW, ONE = "ddpm-100", "dpm-16", "consistency-1"
AUTHORS_MS = {(CHAIN, 3000): 3835, (CHAIN, 6000): 7772, (ONE, 3000): 38, (ONE, 6000): 75}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--solvers", default=f"{ONE},{FEW},{CHAIN}")
    parser.add_argument("--precisions", default="32,bf16")
    parser.add_argument("--points", default="3000,6000")
    parser.add_argument("--batch-sizes", default="1,10,100")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sizes = sorted(int(size) for size in arguments.batch_sizes.split(","))
    rows = []
    for solver in arguments.solvers.split(","):
        for precision in arguments.precisions.split(","):
            for n_points in map(int, arguments.points.split(",")):
                options = SamplingOptions(solver=solver, precision=precision)
                for row in timed(options, n_points, sizes, arguments.device):
                    print(json.dumps(row), flush=True)
                    rows.append(row)
    if arguments.output:
        machine = {**hardware([arguments.device]), **software()}
        result = {"machine": machine, "threads": 1, "rows": rows}
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


@cache
def untrained(process: str, device: str) -> CaloClouds:
    """The published network with random weights, as the chain or as a denoiser and distilled."""
    denoiser = {
        "points.process": "edm",
        "points.solver": FEW,
        "distillation": {"recipe": {"epochs": 1, "batch_size": 1, "learning_rate": 1e-3}},
    }
    chain = {"calibration": None}
    system = cf.build(
        "caloclouds/paper", overrides=chain if process == "chain" else {**chain, **denoiser}
    )
    assert isinstance(system, CaloClouds)
    for stage in (system.stages["conditions"], system.points):
        showers = ShowerQuantities(samples.load_points(), stage.learns)
        stage.fit(showers, system.upstream("points"), torch.Generator().manual_seed(0))
    system.prepare(device)
    return system


def task(options: SamplingOptions, n_points: int, size: int, device: str) -> Callable[[], Any]:
    """Sample a batch of showers of so many points."""
    system = untrained("chain" if options.solver == CHAIN else "edm", device)
    n_layers = system.geometry.n_layers
    seeds = Seeds.of(size, np.arange(size), device)
    counts = torch.full((size, n_layers), n_points // n_layers, dtype=torch.float32)
    counts[:, 0] += n_points - counts.sum(1)
    latent = torch.randn(
        size, system.config.points.encoder.latent, generator=torch.Generator().manual_seed(size)
    )
    given = {"layer_counts": counts, "visible_energy": torch.full((size,), 1e3), "latent": latent}
    energies = np.full(size, 5e4)
    return partial(system.draw, energies, seeds=seeds, options=options, given=given)


def timed(
    options: SamplingOptions, n_points: int, sizes: list[int], device: str
) -> list[dict[str, Any]]:
    """A row for each batch size, smaller ones first, which tell how long larger ones take."""
    synchronize = torch.get_device_module(device).synchronize
    task(options, n_points, 1, device)()  # warms up
    system = untrained("chain" if options.solver == CHAIN else "edm", device)
    weights = sum(layer.layer.weight.numel() for layer in system.points.network.layers)
    evaluations = system.passes(options)["points"]
    rows, per_shower = [], 0.0
    for size in sizes:
        if size * per_shower > LIMIT:
            continue
        run = task(options, n_points, size, device)
        runs, best = [], 0.0
        begin_peak(device)
        for _ in range(RUNS if size * per_shower < LIMIT / 10 else 1):
            best = max(best, product(options.precision, device))
            begin = time.process_time()
            wall = elapsed(run, synchronize)
            runs.append((wall, time.process_time() - begin))
        wall, processor = np.min(runs, 0) / size
        per_shower = wall
        rows.append(
            {
                "solver": options.solver,
                "evaluations": evaluations,
                "precision": options.precision,
                "points": n_points,
                "batch_size": size,
                "ms": round(1e3 * wall, 2),
                "cpu_ms": round(1e3 * processor, 2),
                "gflops": round(2e-9 * weights * n_points * evaluations / min(wall, processor), 1),
                "gflops_of_products": round(best, 1),
                "peak_MB": round(peak(device)),
                "authors_ms": AUTHORS_MS.get((options.solver, n_points))
                if options.precision == "32"
                else None,
            }
        )
    return rows


def product(precision: str, device: str) -> float:
    """GFLOP/s of a product of square matrices."""
    a = torch.ones(PRODUCT, PRODUCT, device=device)
    a = a.bfloat16() if precision == "bf16" else a
    begin = time.process_time()
    wall = elapsed(partial(torch.mm, a, a), torch.get_device_module(device).synchronize)
    return 2e-9 * PRODUCT**3 / min(wall, time.process_time() - begin)


def begin_peak(device: str) -> None:
    """Forget how much memory there was at the highest."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: from here on VmHWM counts again


def peak(device: str) -> float:
    """Memory at the highest since `begin_peak` [MB]."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
