"""Rank showers by how unlikely a trained flow finds them, and say which layer is odd.

    python examples/rank_suspicious_showers.py --plant 20
    python examples/rank_suspicious_showers.py test.h5 --run runs/l2l --reference train.h5

Without arguments: bundled showers, and a tiny system that is trained on others of them (minutes).
`--plant` spoils some of the showers in four known ways and says how well they are found.

A density is no measure of suspicion by itself: it is lower the more energy a shower has and the
more voxels it hits, and it would change with the unit. So every stage's log-density is compared
with that of its like among the reference showers: of similar incident energy for the layer
energies, of similar energy and number of hits for the voxels of a layer. What counts is how many
standard deviations it lies below them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

import caloforge as cf
from caloforge import samples
from caloforge.cascade import layer_name
from caloforge.evaluation import deviation_from_peers

Array = NDArray[np.floating]


# ---------------------------------------------------------------- known defects


def dead_layer(energy_inc: Array, dense: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """A layer that held at least 1 % of the energy reads nothing."""
    layers = dense.sum((2, 3))
    alive = layers >= 0.01 * layers.sum(1, keepdims=True)
    dead = (alive * rng.random(alive.shape)).argmax(1)
    dense[np.arange(len(dense)), dead] = 0
    return energy_inc, dense


def hot_voxel(energy_inc: Array, dense: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Any one voxel reads 5 % of the incident energy too much."""
    voxels = dense.reshape(len(dense), -1)
    hot = rng.integers(voxels.shape[1], size=len(dense))
    voxels[np.arange(len(dense)), hot] += 0.05 * energy_inc
    return energy_inc, voxels.reshape(dense.shape)


def pile_up(energy_inc: Array, dense: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Another shower lies on top."""
    return energy_inc, dense + np.roll(dense, rng.integers(1, len(dense)), axis=0)


def wrong_energy(energy_inc: Array, dense: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """The incident energy is noted down as twice or half as much."""
    return energy_inc * rng.choice(np.float32([0.5, 2]), size=len(dense)), dense


Defect = Callable[[Array, Array, np.random.Generator], tuple[Array, Array]]
DEFECTS: dict[str, Defect] = {
    "dead layer": dead_layer,
    "hot voxel": hot_voxel,
    "pile-up": pile_up,
    "wrong energy": wrong_energy,
}


def plant(showers: cf.VoxelShowers, n: int, seed: int) -> tuple[cf.VoxelShowers, NDArray[np.str_]]:
    """Spoil n showers with each defect; returns all, and the defect of each, "" for none."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(showers))[: n * len(DEFECTS)].reshape(len(DEFECTS), n)
    energy_inc, dense = showers.energy_inc.copy(), showers.dense()
    kind = np.full(len(showers), "", dtype="U16")
    for numbers, (name, spoil) in zip(chosen, DEFECTS.items(), strict=True):
        energy_inc[numbers], dense[numbers] = spoil(energy_inc[numbers], dense[numbers], rng)
        kind[numbers] = name
    particles = {**showers.of_particles(), "energy_inc": energy_inc}
    spoiled = cf.VoxelShowers.from_dense(dense=dense, geometry=showers.geometry, **particles)
    return spoiled, kind


# ---------------------------------------------------------------- suspicion


def likeness(showers: cf.VoxelShowers) -> dict[str, Array]:
    """By stage, what its density depends on whatever the shower looks like, shape (n, 1 or 2)."""
    energies = np.log(showers.layer_energies() + showers.geometry.threshold)
    hits = np.log1p((showers.dense() > 0).sum((2, 3)))
    layers = np.stack([energies, hits], -1)
    of_layers = {layer_name(i): layers[:, i] for i in range(layers.shape[1])}
    return {"energies": np.log(showers.energy_inc)[:, None], **of_layers}


def deviations(
    densities: Mapping[str, Array],
    showers: cf.VoxelShowers,
    reference_densities: Mapping[str, Array],
    reference: cf.VoxelShowers,
) -> dict[str, Array]:
    """Standard deviations by which each stage's log-density lies below that of its like, (n,)."""
    like, reference_like = likeness(showers), likeness(reference)
    known = reference_densities
    return {
        name: -deviation_from_peers(
            density, like[name], known[name], reference_like[name], least_width=1e-3
        )
        for name, density in densities.items()
    }


def suspicion(deviations: Mapping[str, Array]) -> Array:
    """Root of the sum of squares of what lies below, shape (n,)."""
    return np.sqrt(sum(np.maximum(z, 0) ** 2 for z in deviations.values()))


# ---------------------------------------------------------------- the script


def print_ranking(
    showers: cf.VoxelShowers, found: dict[str, Array], kind: NDArray[np.str_], top: int
) -> None:
    """The most suspicious showers."""
    score = suspicion(found)
    names, z = list(found), np.stack(list(found.values()))
    table = Table("shower", "E_inc [GeV]", "suspicion", "oddest stage", "deviation", "planted")
    for shower in np.argsort(-score)[:top]:
        odd = z[:, shower].argmax()
        numbers = (f"{showers.energy_inc[shower] / 1e3:.2f}", f"{score[shower]:.1f}")
        row = (str(shower), *numbers, names[odd], f"{z[odd, shower]:.1f}", kind[shower])
        table.add_row(*row)
    Console(width=100).print(table)


def print_success(score: Array, density: Array, kind: NDArray[np.str_]) -> None:
    """How well planted defects are found: by suspicion, and by a low density alone."""
    table = Table("defect", "showers", "AUC", "in the first tenth", "AUC of the bare density")
    first = score >= np.quantile(score, 0.9)
    for name in DEFECTS:
        seen = (kind == name) | (kind == "")
        # what the flows cannot sample is infinitely suspicious, and ties
        areas = [
            f"{roc_auc_score(kind[seen] == name, np.minimum(odd[seen], 1e9)):.3f}"
            for odd in (score, -density)
        ]
        share = f"{first[kind == name].mean():.0%}"
        table.add_row(name, str((kind == name).sum()), areas[0], share, areas[1])
    Console(width=100).print(table)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("showers", nargs="?", type=Path, help="file; else bundled showers")
    parser.add_argument("--run", type=Path, help="trained l2lflows; else a tiny one is trained")
    parser.add_argument("--reference", type=Path, help="file of unsuspicious showers")
    parser.add_argument("--plant", type=int, default=0, help="showers to spoil, of each defect")
    parser.add_argument("--limit", type=int, default=2000, help="reference showers used at most")
    parser.add_argument("--noise-samples", type=int, default=2, help="samples of the noise")
    parser.add_argument("--top", type=int, default=15, help="showers in the table")
    parser.add_argument("--seed", type=int, default=0, help="of training and planted defects")
    given = parser.parse_args(arguments)

    showers = cf.read(given.showers) if given.showers else samples.load("test")
    reference = cf.read(given.reference) if given.reference else samples.load("train")
    if given.plant * len(DEFECTS) > len(showers):
        parser.error(f"--plant may be {len(showers) // len(DEFECTS)} at most for these showers")
    with tempfile.TemporaryDirectory() as folder:
        if given.run:
            system = cf.load(given.run)
        else:
            system = cf.build("l2lflows/tiny", reference.geometry, seed=given.seed)
            cf.train(system, reference, run=Path(folder) / "tiny", seed=given.seed)
    showers, kind = plant(showers, given.plant, given.seed)
    reference = reference[: given.limit]
    density = system.log_prob(showers, noise_samples=given.noise_samples, seed=1)
    usual = system.log_prob(reference, noise_samples=given.noise_samples, seed=2)
    found = deviations(density.sparse, showers, usual.sparse, reference)
    print_ranking(showers, found, kind, given.top)
    if given.plant:
        print_success(suspicion(found), density.total, kind)


if __name__ == "__main__":
    main()
