"""What a model that samples points, each on its own, can reach: Geant4's points against themselves.

    python examples/points_on_their_own.py points.h5
    python examples/points_on_their_own.py points.h5 --energy 5e4 --reach 2 --largest 8

Diffusion models of point clouds sample the points of a shower independently, given what they know
of the shower. The best that such a model could do is found without one: of showers of similar
incident energy, the points of each layer are reassigned. Every one keeps its energy and its
distance from the axis and gets an azimuth at random; only numbers of points and the sum of energies
stay the shower's. The same is done with clusters of points, which are then taken apart by the
members of real ones.

The table has the hits above half a MIP (0.1 MeV) in the cells, the bin of the cells' energies that
is farthest off, of those with 5 cells of a shower or more, the cell of highest energy, and how much
the fraction of the energy in a layer of the shower's maximum fluctuates.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import caloforge as cf
from caloforge.showers import ClusteredShowers, PointShowers, clustered
from caloforge.systems.caloclouds import MemberLibrary

Array = NDArray[np.floating]

EDGES = np.geomspace(0.1, 300, 36)  # MeV
PLENTY = 5  # cells of a shower in a bin that is compared
WIDTH = 0.08  # of the incident energies around the wanted one, as a fraction of it


def reassigned(clusters: ClusteredShowers, library: MemberLibrary, seed: int) -> PointShowers:
    """Clusters of each layer reassigned among the showers, and replaced by members."""
    rng = np.random.default_rng(seed)
    by_layer = np.argsort(clusters.layer, kind="stable")
    begin = np.searchsorted(clusters.layer[by_layer], np.arange(clusters.geometry.n_layers + 1))
    layer = clusters.layer.astype(np.int64)
    u = rng.random(len(layer))
    chosen = by_layer[(begin[layer] + u * (begin[layer + 1] - begin[layer])).astype(np.int64)]
    r, phi = np.hypot(clusters.x, clusters.y)[chosen], rng.uniform(0, 2 * np.pi, len(layer))
    energy, event = clusters.energy[chosen].astype(np.float64), clusters.event()
    total = np.bincount(event, energy, len(clusters))
    energy *= (clusters.total_energy() / total)[event]
    rows = torch.from_numpy(np.stack([r * np.cos(phi), r * np.sin(phi), layer, energy], 1)).float()
    members, sizes = library.assign(rows, torch.from_numpy(rng.random(len(rows))))
    x, y, _, shared = members.numpy().T
    n_points = np.bincount(event, sizes.numpy(), len(clusters)).astype(np.int64)
    offset = np.concatenate([[0], np.cumsum(n_points)])
    layers = np.repeat(layer, sizes.numpy())
    return PointShowers(
        offset=offset,
        x=x,
        y=y,
        layer=layers,
        energy=shared,
        geometry=clusters.geometry,
        **clusters.of_particles(),
    )


def observed(clouds: PointShowers) -> dict[str, Array]:
    """What the table compares.

    Returns:
        Hits and highest cell [MeV] of each shower, shape (n,), cells of a shower in each bin of
        `EDGES`, and fractions of the energy in each layer, shape (n, n_layers).
    """
    cells = clouds.project(clouds.geometry)
    event = cells.event()
    highest = np.zeros(len(cells))
    np.maximum.at(highest, event, cells.energy)
    layers = clouds.layer_energies()
    return {
        "hits": np.bincount(event[cells.energy > EDGES[0]], minlength=len(cells)),
        "highest": highest,
        "spectrum": np.histogram(cells.energy, EDGES)[0] / len(cells),
        "shares": layers / layers.sum(1, keepdims=True),
    }


def row(name: str, share: float, found: dict[str, Array], geant4: dict[str, Array]) -> list[str]:
    """A row of the table."""
    plenty = geant4["spectrum"] >= PLENTY
    off = (found["spectrum"] / np.where(plenty, geant4["spectrum"], math.inf))[plenty] - 1
    maximum = int(geant4["shares"].mean(0).argmax())
    return [
        name,
        f"{share:.2f}",
        f"{found['hits'].mean():.0f}",
        f"{off[np.abs(off).argmax()]:+.0%}",
        f"{found['highest'].mean():.1f}",
        f"{found['shares'][:, maximum].std():.2%}",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("points", type=Path, help="point clouds of Geant4")
    parser.add_argument("--energy", type=float, default=5e4, help="incident energy [MeV]")
    parser.add_argument("--reach", type=float, default=2.0, help="of clusters [mm]")
    parser.add_argument("--largest", type=int, default=12, help="members of a cluster")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    showers = cf.read(chosen.points)
    showers = showers[np.abs(showers.energy_inc / chosen.energy - 1) < WIDTH]
    if len(showers) < 2:
        parser.error(f"{chosen.points} has {len(showers)} showers near {chosen.energy:g} MeV")
    geant4, whole = observed(showers), len(showers.energy)
    table = Table("reassigned", "sampled", "hits", "cells", "highest", "layer")
    table.add_row(*row("Geant4", 1.0, geant4, geant4))
    for name, reach, largest in (
        ("points", chosen.reach, 1),
        ("clusters of any size", chosen.reach, whole),
        (f"clusters of {chosen.largest} or fewer", chosen.reach, chosen.largest),
    ):
        clusters = clustered(showers, reach, largest)
        library = MemberLibrary(50_000)
        library.keep(clusters, torch.Generator().manual_seed(chosen.seed))
        found = observed(reassigned(clusters, library, chosen.seed))
        table.add_row(*row(name, len(clusters.energy) / whole, found, geant4))
    console = Console()
    console.print(
        f"{len(showers)} showers within {WIDTH:.0%} of {chosen.energy:g} MeV; sampled: per "
        "point of Geant4; cells: number of them in the worst bin of energy; highest: energy of one "
        "[MeV]; layer: standard deviation of its fraction at the maximum"
    )
    console.print(table)


if __name__ == "__main__":
    main()
