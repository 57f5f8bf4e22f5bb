"""What the autoencoder of a latent CaloDREAM loses: the study of appendix A.2 of its paper.

    python benchmarks/autoencoder.py runs/latent --reference test.h5 --training train.h5 \
        -o benchmarks/results/autoencoder_small.json

Showers of the reference, which training has not seen, are encoded and decoded, and classifiers tell
them from other Geant4 showers, those of the training sample: against the originals themselves the
test would not be of independent samples. All is done at the geometry's threshold and at that of
equation 20. Beside the scores stand hits, and what becomes of them by their energy.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import caloforge as cf
from caloforge.cascade import SamplingOptions, ShowerQuantities, System
from caloforge.cascade.draw import Draw
from caloforge.cascade.kinds import voxel_showers
from caloforge.showers import VoxelShowers
from caloforge.systems.calodream.autoencoder import AutoencoderStage
from caloforge.training import RunFolder

METRICS = ("small-shower", "small-layers", "small-voxels")
CUT = 1.0  # MeV (equation 20)
ENERGIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)  # borders of bins [MeV]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--training", type=Path, required=True)
    parser.add_argument("--metrics", default=",".join(METRICS))
    parser.add_argument("--cache", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    known, training = cf.read(arguments.reference), cf.read(arguments.training)
    system = trained(arguments.run, training)
    again = reconstructed(system, known)
    scores = {}
    for threshold in (system.geometry.threshold, CUT):
        of_cut = cf.evaluate(
            training[: len(known)],
            {"reconstructed": again},
            other=training[len(known) :],
            threshold=threshold,
            metrics=arguments.metrics.split(","),
            cache=arguments.cache,
        )
        print(f"{threshold:.3g} MeV\n{of_cut.to_markdown()}")
        scores[f"{threshold:.3g} MeV"] = json.loads(of_cut.to_json())
    least = system.stages.get("hits")
    result = {
        "run": arguments.run.name,
        "latent_shape": stage_of(system).grid_shape,
        "least_hit": None if least is None else round(least.energy, 4),  # [MeV]
        "n_showers": len(known),
        "hits": hits(known, again),
        "scores": scores,
    }
    print(json.dumps(result["hits"], indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


def trained(run: Path, training: VoxelShowers) -> System:
    """The system of a run of which no more than the autoencoder has to be trained."""
    folder = RunFolder(run)
    system = folder.build()
    for name, stage in (system.upstream("autoencoder") | {"autoencoder": stage_of(system)}).items():
        folder.stage(name).load_weights(stage)
    least = system.stages.get("hits")
    if least is not None and folder.stage("hits").is_trained:
        folder.stage("hits").load_weights(least)
    elif least is not None:
        sample, draw = ShowerQuantities(training, least.learns), Draw(system, training, 0)
        least.fit(sample, system.upstream("hits"), torch.Generator(), draw)
    return system


def stage_of(system: System) -> AutoencoderStage:
    """The autoencoder of a latent CaloDREAM.

    Raises:
        ValueError: for a system without.
    """
    stage = system.stages.get("autoencoder")
    if not isinstance(stage, AutoencoderStage):
        raise ValueError("the run has no autoencoder: train a latent preset of calodream")
    return stage


def reconstructed(system: System, showers: VoxelShowers) -> VoxelShowers:
    """Showers encoded and decoded."""
    stage = stage_of(system)
    system.prepare("cpu")
    upstream = system.upstream("autoencoder")
    quantities = ShowerQuantities(showers, stage.learns).all()
    known = {
        **quantities,
        "showers": stage.reconstruct(quantities, upstream, torch.Generator().manual_seed(0)),
    }
    if (least := system.stages.get("hits")) is not None:
        known |= least.decode({}, known, {}, SamplingOptions())
    return voxel_showers(known, known["showers"], system.geometry)


def hits(before: VoxelShowers, after: VoxelShowers) -> dict[str, Any]:
    """Hits a shower, and of each bin of energy: how many there were, are, and are still hits."""
    old, new = before.dense(), after.dense()
    bins: list[dict[str, Any]] = []
    borders = [before.geometry.threshold, *ENERGIES, np.inf]
    for low, high in itertools.pairwise(borders):
        was, now = (old >= low) & (old < high), (new >= low) & (new < high)
        bins.append(
            {
                "from [MeV]": round(low, 4),
                "before": round(float(was.sum() / len(old)), 3),
                "after": round(float(now.sum() / len(old)), 3),
                "kept": round(float((new[was] > 0).mean()), 4) if was.any() else None,
            }
        )
    return {
        "before": round(float((old > 0).sum() / len(old)), 3),
        "after": round(float((new > 0).sum() / len(old)), 3),
        "by energy": bins,
    }


if __name__ == "__main__":
    main()
