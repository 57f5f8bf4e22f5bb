"""Which metric sees which distortion of Geant4 showers, and from how many showers.

    python benchmarks/sensitivity.py train.h5 test.h5 -o benchmarks/results/sensitivity.json

The showers of all files are mixed and split into three: the reference, the second Geant4 sample
that the floor is taken with, and a third that is distorted: once a little, once by 30 %. Energies
are scaled; showers are made wider by moving the energy of each voxel, as a whole, to the ring where
its stretched radius lies; in a noisy layer a fraction of the voxels fires, each with one to ten
times the threshold; or a fraction of the showers has layers of other showers, so that they know
nothing of each other. Written are, for every score, the value, the floor and the distance between
the two in units of both spreads.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import caloforge as cf
from caloforge.evaluation import DEFAULT_METRICS, SharedShowersWarning, SmallSampleWarning

NOISY_LAYER = 10
SEEN = 3  # spreads above the floor


def scaled(showers: cf.VoxelShowers, share: float) -> cf.VoxelShowers:
    """Every energy larger by a fraction."""
    return dataclasses.replace(showers, energy=showers.energy * np.float32(1 + share))


def wider(showers: cf.VoxelShowers, share: float) -> cf.VoxelShowers:
    """Every radius larger by a fraction."""
    rng = np.random.default_rng(1)
    layer = showers.geometry.layers[0]
    edges = np.asarray(layer.r_edges)
    _, n_r = layer.shape
    ring = showers.index.astype(np.int64) % n_r
    radius = edges[ring] + rng.random(len(ring)) * (edges[ring + 1] - edges[ring])
    moved = np.searchsorted(edges, radius * (1 + share), side="right") - 1
    inside = moved < n_r
    event, kept = showers.event()[inside], (showers.index - ring + moved)[inside]
    counts = np.bincount(event, minlength=len(showers))
    return dataclasses.replace(
        showers,
        offset=np.concatenate([[0], np.cumsum(counts)]),
        index=kept,
        energy=showers.energy[inside],
    )


def noisy(showers: cf.VoxelShowers, share: float) -> cf.VoxelShowers:
    """A fraction of the voxels of one layer fires in every shower."""
    rng = np.random.default_rng(2)
    geometry, n = showers.geometry, len(showers)
    voxels = np.arange(geometry.n_voxels)[geometry.layer_slice(NOISY_LAYER)]
    fires = rng.random((n, len(voxels))) < share
    event, place = np.nonzero(fires)
    energy = geometry.threshold * rng.uniform(1, 10, len(event))
    noise = cf.VoxelShowers(
        showers.energy_inc,
        np.concatenate([[0], np.cumsum(fires.sum(axis=1))]),
        voxels[place],
        energy.astype(np.float32),
        geometry,
    )
    dense = showers.dense() + noise.dense()
    return cf.VoxelShowers.from_dense(showers.energy_inc, dense, geometry)


def exchanged(showers: cf.VoxelShowers, share: float) -> cf.VoxelShowers:
    """In a fraction of the showers, every layer is that of some other shower."""
    rng = np.random.default_rng(3)
    dense, n = showers.dense(), len(showers)
    hit = np.flatnonzero(rng.random(n) < share)
    for layer in range(showers.geometry.n_layers):
        dense[hit, layer] = dense[rng.permutation(hit), layer]
    return cf.VoxelShowers.from_dense(showers.energy_inc, dense, showers.geometry)


DISTORTIONS = {
    "3 % more energy": (scaled, 0.03),
    "5 % wider": (wider, 0.05),
    "one layer noisy, 3 %": (noisy, 0.03),
    "layers exchanged, 3 %": (exchanged, 0.03),
    "30 % more energy": (scaled, 0.3),
    "30 % wider": (wider, 0.3),
    "one layer noisy, 30 %": (noisy, 0.3),
    "layers exchanged, 30 %": (exchanged, 0.3),
}


def table(record: dict[str, Any]) -> str:
    """For each metric and distortion the spreads of the observable that sees it best."""
    rows = record["rows"]
    distortions = dict.fromkeys(row["distortion"] for row in rows)
    lines = [["", *distortions], ["---", *["---:"] * len(distortions)]]
    for metric in dict.fromkeys(row["metric"] for row in rows):
        cells = []
        for distortion in distortions:
            found = max(
                row["spreads"]
                for row in rows
                if (row["metric"], row["distortion"]) == (metric, distortion)
            )
            cells.append(f"**{found:.0f}**" if found >= SEEN else f"{found:.1f}")
        lines.append([f"`{metric}`", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--metric", action="append", help="take only this metric")
    asked = parser.parse_args()
    showers = cf.VoxelShowers.concatenate([cf.read(path) for path in asked.sources])
    order, n = np.random.default_rng(0).permutation(len(showers)), len(showers) // 3
    reference, other, undistorted = (showers[order[i * n : (i + 1) * n]] for i in range(3))
    candidates = {"none": undistorted}
    candidates |= {
        name: distort(undistorted, share) for name, (distort, share) in DISTORTIONS.items()
    }
    begin = time.perf_counter()
    with warnings.catch_warnings():
        for kind in (SmallSampleWarning, SharedShowersWarning):  # candidates are of one sample
            warnings.simplefilter("ignore", kind)
        scores = cf.evaluate(
            reference,
            candidates,
            other=other,
            metrics=asked.metric or DEFAULT_METRICS,
            progress=lambda step: print(f"{step.done}/{step.total} {step.task}", flush=True),
        )
    rows: list[dict[str, Any]] = [
        {
            "metric": value.metric,
            "observable": value.observable,
            "distortion": value.candidate,
            "value": value.value,
            "error": value.error,
            "floor": value.floor,
            "floor_error": value.floor_error,
            "spreads": round(value.excess, 2),
            "n_showers": value.n_showers,
        }
        for value in scores.values
    ]
    record = {
        "showers_of": [path.name for path in asked.sources],
        "seconds": round(time.perf_counter() - begin),
        "rows": rows,
    }
    asked.output.write_text(json.dumps(record, indent=1) + "\n")
    print(table(record))


if __name__ == "__main__":
    main()
