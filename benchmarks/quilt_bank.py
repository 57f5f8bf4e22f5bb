"""How good Quilt is with a bank of so many megabytes, chosen or taken at random.

    python benchmarks/quilt_bank.py a.h5 b.h5 --reference truth.h5 -o results/quilt_bank.json

Layer energies are learned from all training showers, once; patterns are those of a bank of each
size. Of the reference, the first n showers are compared, the next n give the floor, and as many are
generated with the energies of the third.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import caloforge as cf
from caloforge.cascade.quantities import ShowerQuantities
from caloforge.showers import VoxelShowers
from caloforge.stages.patternrows import sizes
from caloforge.stages.patterns import VoxelPatternStage

METRICS = ["small-shower", "small-layers", "small-voxels", "worth"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("training", type=Path, nargs="+")
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[0.8, 3, 6, 10, 28, 100])
    parser.add_argument("--random", action="store_true", help="the same with random showers")
    parser.add_argument("--metrics", nargs="+", default=METRICS)
    parser.add_argument("-n", type=int, default=6000, help="showers that are compared")
    parser.add_argument("--run", type=Path, help="a trained quilt in place of a copula")
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    training = VoxelShowers.concatenate([cf.read(path) for path in asked.training])
    geant4, n = cf.read(asked.reference), asked.n
    reference, other, like = geant4[:n], geant4[n : 2 * n], geant4[2 * n : 3 * n]
    system = trained(asked.run, training)
    rows, made = {}, {}
    for megabytes in asked.megabytes:
        for random in (False, True)[: 1 + asked.random]:
            name = f"{megabytes:g} MB" + " at random" * random
            rows[name] = bank(system, training, megabytes, random=random)
            begin = time.process_time()
            made[name] = system.generate(like.particles, seed=1, batch_size=1000)
            rows[name]["milliseconds"] = 1e3 * (time.process_time() - begin) / len(like)
            print(name, rows[name], flush=True)
    scores = cf.evaluate(reference, made, other=other, metrics=asked.metrics)
    for score in scores.values:
        found = [score.value, score.error, score.floor, score.floor_error]
        rows[score.candidate][f"{score.metric} {score.observable}"] = found
    print(scores)
    asked.output.write_text(json.dumps({"compared": n, "rows": rows}, indent=1) + "\n")


def trained(run: Path | None, training: VoxelShowers) -> Any:
    """A Quilt of all training showers."""
    if run is not None:
        return cf.load(run)
    with TemporaryDirectory() as folder:
        system = cf.build("quilt/copula", training.geometry)
        return cf.train(system, training, run=Path(folder) / "run", seed=1)


def bank(system: Any, training: VoxelShowers, megabytes: float, *, random: bool) -> dict[str, Any]:
    """Give a system other patterns, and say which."""
    sample = system.training_sample(training).take(np.arange(len(training)))
    config = replace(system.stages["patterns"].config, megabytes=megabytes)
    if random:
        order = np.random.default_rng(1).permutation(len(sample))
        some = order[np.cumsum(sizes(sample, 2)[order]) <= 1e6 * megabytes]
        sample, config = sample[np.sort(some)], replace(config, megabytes=None)
    stage = VoxelPatternStage(config, system.geometry)
    begin = time.process_time()
    stage.fit(ShowerQuantities(sample, stage.learns), {}, torch.Generator())
    built = time.process_time() - begin
    stage.prepare()
    system.stages["patterns"] = stage
    size = sum(rows.nbytes for rows in stage.state_dict().values()) / 1e6
    return {
        "showers": len(stage.energy_inc),
        "megabytes": round(size, 2),
        "build_seconds": round(built, 1),
    }


if __name__ == "__main__":
    main()
