"""Quality of SuperCalo on Geant4 showers: the studies of tables III, IV and V of its paper.

    python benchmarks/superresolution.py runs/supercalo --reference test.h5 --training train.h5 \
        -o benchmarks/results/superresolution_small.json

Candidates, each with as many showers as the reference:

- upsampled: true coarse showers of the training sample (table III), all that a run without coarse
  stages has;
- chain: all stages (table IV), and from it, with N a resampling factor,
- chain x N: N showers of each of fewer coarse ones (table V).

Beside their scores stand the sums of the fine voxels in units of their coarse voxel, before and
after the read-out threshold, with and without post-processing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import caloforge as cf
from caloforge.cascade import SamplingOptions, ShowerQuantities, System
from caloforge.cascade.seeds import Seeds
from caloforge.showers import VoxelShowers
from caloforge.systems.supercalo import SuperCalo

METRICS = ("l2lflows-high", "small-shower", "small-layers", "small-voxels")
N_CONSERVED = 200  # showers whose sums are checked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--training", type=Path, required=True)
    parser.add_argument("--metrics", default=",".join(METRICS))
    parser.add_argument("--factors", default="5,10", help="resampling factors")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    system = cf.load(arguments.run)
    assert isinstance(system, SuperCalo)
    reference, training = cf.read(arguments.reference), cf.read(arguments.training)
    factors = [int(factor) for factor in arguments.factors.split(",") if factor]
    candidates = sampled(system, len(reference), training, factors)
    scores = cf.evaluate(
        reference,
        candidates,
        other=training,
        metrics=arguments.metrics.split(","),
        cache=arguments.cache,
    )
    print(scores.to_markdown())
    result = {
        "run": arguments.run.name,
        "factors": system.config.upsample.factors,
        "n_showers": len(reference),
        "conservation": conservation(system, training[:N_CONSERVED]),
        "scores": json.loads(scores.to_json()),
    }
    print(json.dumps(result["conservation"], indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


def sampled(
    system: System, n: int, training: VoxelShowers, factors: list[int]
) -> dict[str, VoxelShowers]:
    """The candidates by name."""
    energies = training[-n:].energy_inc  # of the same spectrum, but not the reference's own
    candidates = {"upsampled": cf.upsample(system, training[:n], seed=1)}
    if "coarse" not in system.stages:
        return candidates
    candidates["chain"] = cf.generate(system, energies, seed=2)
    for factor in factors:
        # of every so many neighbours in energy the middle one: the spectrum stays what it is
        fewer = np.sort(energies)[factor // 2 :: factor]
        options = SamplingOptions(resample=factor)
        candidates[f"chain x {factor}"] = cf.generate(system, fewer, seed=3, options=options)
    return candidates


@torch.inference_mode()
def conservation(system: SuperCalo, showers: VoxelShowers) -> dict[str, Any]:
    """Sums of fine voxels in units of their coarse voxel: mean, standard deviation, all energy."""
    coarsening, stage = system.coarsening, system.stages["upsample"]
    system.prepare("cpu")
    known = ShowerQuantities(showers, stage.reads).all()
    coarse = known[stage.own].numpy()
    hit = coarse > 0
    result = {}
    for postprocess in (False, True):
        seeds = Seeds.of(0, np.arange(len(coarse)))
        fine = stage.sample(known, {}, seeds, SamplingOptions(postprocess=postprocess))[
            "showers"
        ].numpy()
        fine = fine.reshape(len(fine), -1)[:, coarsening.fine_index]
        above = np.where(fine < system.geometry.threshold, 0, fine)
        for name, energies in (("before", fine), ("after", above)):
            sums = energies.sum(2)
            ratio = sums[hit] / coarse[hit]
            key = f"{'with' if postprocess else 'without'} post-processing, {name} the threshold"
            result[key] = {
                "mean": round(float(ratio.mean()), 5),
                "std": round(float(ratio.std()), 5),
                "energy": round(float(sums[hit].sum() / coarse[hit].sum()), 6),
                "emptied": round(float((ratio == 0).mean()), 5),
            }
    return result


if __name__ == "__main__":
    main()
