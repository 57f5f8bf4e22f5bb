"""Time to sample a shower with presets of SuperCalo, untrained, stage by stage, in one run.

    python benchmarks/superresolution_sampling.py --presets supercalo/paper,supercalo/coupling \
        --showers train.h5 --batch-sizes 1,10,100,1000 \
        -o benchmarks/results/superresolution_sampling.json

One thread; the fastest of several samples counts, which a busy machine disturbs least. Weights are
random. The coarse showers that are upsampled are Geant4's: those of random weights hold energy in
every voxel, which takes time that trained weights do not. The time with resampling is that of the
coarse stages once and of upsampling as often as the factor says, for each shower.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import caloforge as cf
from caloforge.cascade import SamplingOptions, ShowerQuantities, System
from caloforge.cascade.seeds import Seeds
from caloforge.generation.timing import hardware
from caloforge.showers import VoxelShowers

N_FITTED = 200  # showers that transforms are fitted to
RESAMPLING = (5, 10)

# ms per shower by batch size
BESIDE = {
    "published, one thread of an i9-7900X (arXiv:2308.11700, table VI)": {1: 97_300, 10: 11_100},
    "the authors' code in double precision, one thread of a machine like this": {
        1: 450_000,
        10: 55_000,
        100: 9_600,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", default="supercalo/paper,supercalo/coupling")
    parser.add_argument("--showers", type=Path, required=True)
    parser.add_argument("--batch-sizes", default="1,10,100,1000")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [int(size) for size in arguments.batch_sizes.split(",")]
    with cf.open_showers(arguments.showers) as file:
        showers = file[: max(N_FITTED, *sizes)]
    rows = []
    for size in sizes:
        for preset in arguments.presets.split(","):
            row = {"preset": preset, **timed(preset, showers, size, arguments.runs)}
            print(json.dumps(row), flush=True)
            rows.append(row)
    if arguments.output:
        result = {
            "machine": hardware(["cpu"]),
            "torch": torch.__version__,
            "threads": 1,
            "beside": BESIDE,
            "rows": rows,
        }
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


def untrained(preset: str, showers: VoxelShowers) -> System:
    """A system with random weights whose transforms are fitted, ready to sample."""
    system = cf.build(preset, showers.geometry)
    rng = torch.Generator().manual_seed(0)
    for name, stage in system.stages.items():
        sample = ShowerQuantities(showers, (*stage.reads, *stage.writes))
        stage.fit(sample, system.upstream(name), rng)
    system.prepare("cpu")
    return system


@torch.inference_mode()
def timed(preset: str, showers: VoxelShowers, size: int, runs: int) -> dict[str, Any]:
    """Fastest draw of every stage [ms per shower], and the memory of the process so far [MB]."""
    system = untrained(preset, showers[:N_FITTED])
    known = showers[np.arange(size) % len(showers)]
    ms = {}
    for name, stage in system.stages.items():
        quantities = ShowerQuantities(known, stage.reads).all()
        times = []
        for _ in range(runs):
            begin = time.perf_counter()
            stage.sample(quantities, {}, Seeds.of(1, np.arange(size)), SamplingOptions())
            times.append(time.perf_counter() - begin)
        ms[name] = 1000 * min(times) / size
    coarse = sum(ms.values()) - ms["upsample"]
    return {
        "batch_size": size,
        "ms_per_shower": round(sum(ms.values()), 2),
        "stages": {name: round(value, 3) for name, value in ms.items()},
        "resampled": {n: round(coarse / n + ms["upsample"], 2) for n in RESAMPLING},
        "peak_memory_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
    }


if __name__ == "__main__":
    main()
