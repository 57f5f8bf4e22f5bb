"""What pre-clustering costs: Geant4's steps against clusters of them, in the cells of the ILD.

    python examples/closure_of_preclustering.py --energy 9e4 -n 80 --picture closure.png
    python examples/closure_of_preclustering.py steps.h5 --spread 60

The closure test of CaloClouds (appendix A). Steps are projected into the real cells as they are,
and after they were clustered on grids 36 and 4 times finer than the cells. Both come from the same
steps, so that they differ by the clustering alone: the error of a ratio is that of the
cells which it moved from bin to bin, and not the statistical one of the sample. At one impact
point a cell's border lies at the same place in the core of all showers; `--spread` has them hit the
detector at random.

Without a file, photons are simulated (a second each on a free core; Geant4's data are needed).
Files of steps are made with `caloforge simulate --geometry ild-ecal --points --pitch 0`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from rich.console import Console
from rich.table import Table

import caloforge as cf
from caloforge.geometry import SensorLayer, ild_ecal
from caloforge.report.figures import GEANT4, style
from caloforge.simulation import Clustering
from caloforge.units import mm

Array = NDArray[np.float64]

BOX = 200 * mm
GRIDS = {  # finer than nominal cells of 5 mm
    "36×": Clustering(5 / 6 * mm, BOX),
    "36×, random": Clustering(5 / 6 * mm, BOX, random_grid=True),
    "4×": Clustering(5 / 2 * mm, BOX),
}
COLOURS = dict(zip(GRIDS, ("#e8871e", "#2e8b57", "#832db6"), strict=True))
DOTS = {"steps": "#1d4e89", "clusters": "#e8871e"}
TINY = 1e-9  # [MeV], sampled white: no energy
CELLS = colormaps["YlGnBu"].with_extremes(under="white")
TYPICAL = LogNorm(0.01, 30)  # energies of one shower [MeV]
EDGES = np.geomspace(0.1, 100, 16)  # of the cell spectrum [MeV], from half a MIP on


# ---------------------------------------------------------------- the comparison


class Closure(NamedTuple):
    """How cells from clusters differ from those from steps.

    Args:
        points: clusters of a shower, mean.
        energy: relative difference of the energy in all cells.
        hits: the same of the number of cells above the threshold.
        hits_error: its error.
        ratio: number of cells in the bins of `EDGES`, clusters over steps; NaN for an empty bin.
        ratio_error: its error.
        overlay: relative difference of the energy of each cell of a layer, all showers on top of
            each other, shape of the layer; NaN for a cell without energy.
        overlay_mean: mean of its absolute value over the cells with energy.
        overlay_core: the same, weighted with the cells' energies.
    """

    points: float
    energy: float
    hits: float
    hits_error: float
    ratio: Array
    ratio_error: Array
    overlay: Array
    overlay_mean: float
    overlay_core: float


def clusters_of(steps: cf.PointShowers, grid: Clustering, seed: int = 0) -> cf.PointShowers:
    """Steps clustered on a grid."""
    return grid.apply(steps, grid.corners(len(steps), np.random.default_rng(seed)))[0]


def closure(
    clusters: cf.PointShowers, cells: cf.VoxelShowers, layer: int, shift: ArrayLike = (0.0, 0.0)
) -> Closure:
    """Project clusters, and compare with what their steps are in the same cells."""
    clustered = clusters.project(cells.geometry, shift)
    energy = clustered.total_energy().sum() / cells.total_energy().sum() - 1
    before, after = matched(cells, clustered)
    hits, hits_error = count_ratio(before >= EDGES[0], after >= EDGES[0])
    in_bin = np.arange(1, len(EDGES))[:, None]  # those of np.digitize
    ratio, error = count_ratio(
        np.digitize(before, EDGES) == in_bin, np.digitize(after, EDGES) == in_bin
    )
    whole, there = overlay(cells, layer), overlay(clustered, layer)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.where(whole > 0, there / whole - 1, np.nan)
    hit = whole > 0
    return Closure(
        points=len(clusters.energy) / len(clusters),
        energy=float(energy),
        hits=float(hits - 1),
        hits_error=float(hits_error),
        ratio=ratio,
        ratio_error=error,
        overlay=difference,
        overlay_mean=float(np.abs(difference[hit]).mean()),
        overlay_core=float(np.abs(there - whole)[hit].sum() / whole.sum()),
    )


def matched(a: cf.VoxelShowers, b: cf.VoxelShowers) -> tuple[Array, Array]:
    """Energy [MeV] of each cell of each shower that either of them hit, in a and in b."""
    keys = [s.event() * s.geometry.n_voxels + s.index for s in (a, b)]
    cells = np.union1d(*keys)
    energies = np.zeros((2, len(cells)))
    for row, key, showers in zip(energies, keys, (a, b), strict=True):
        row[np.searchsorted(cells, key)] = showers.energy
    return energies[0], energies[1]


def count_ratio(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Ratio of two counts of the same cells, and its error, along the last axis.

    (n + came - left) / n, of which only those that came and left fluctuate:
    error sqrt(came + left) / n.
    """
    n = before.sum(-1)
    moved = (before != after).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return after.sum(-1) / np.where(n > 0, n, np.nan), np.sqrt(moved) / n


def overlay(showers: cf.VoxelShowers, layer: int) -> Array:
    """Energy of the cells of a layer, all showers together [MeV], shape of the layer."""
    geometry = showers.geometry
    energy = np.bincount(showers.index, showers.energy, geometry.n_voxels)
    return energy[geometry.layer_slice(layer)].reshape(geometry.layer_shapes[layer])


# ---------------------------------------------------------------- the picture


def draw(
    steps: cf.PointShowers,
    clusters: cf.PointShowers,
    cells: cf.VoxelShowers,
    closures: dict[str, Closure],
    layer: int,
) -> Figure:
    """The paper's figures 9 (a typical shower), 10 and 11 (all showers), and the spectrum."""
    figure = Figure(figsize=(21, 10), layout="constrained")
    axes = figure.subplots(2, 4)
    draw_shower(figure, axes[0], steps, clusters, cells.geometry, layer)
    draw_spectrum(axes[0, 3], closures)
    draw_overlays(figure, axes[1], cells, closures, layer)
    return figure


def draw_shower(
    figure: Figure,
    axes: Sequence[Axes],
    steps: cf.PointShowers,
    clusters: cf.PointShowers,
    geometry: cf.Geometry,
    layer: int,
) -> None:
    """The shower of median energy in the layer: cells from steps, clusters, cells from clusters."""
    in_layer = steps.project(geometry).layer_energies()[:, layer]
    typical = [int(np.argsort(in_layer)[len(in_layer) // 2])]
    half, pitch = 40 * mm, GRIDS["36×"].pitch
    for panel, name, points in ((axes[0], "steps", steps), (axes[2], "clusters", clusters)):
        shower = points[typical]
        energy = overlay(shower.project(geometry), layer)
        mesh = draw_cells(panel, geometry.layers[layer], energy, half, norm=TYPICAL, cmap=CELLS)
        x, y = (values[shower.layer == layer] for values in (shower.x, shower.y))
        panel.scatter(x, y, s=5, color=DOTS[name], linewidths=0)
        panel.set_title(f"One shower: cells from {len(x):,} {name}")
        figure.colorbar(mesh, ax=panel, label="cell energy [MeV]", shrink=0.8)
    edges = np.arange(-round(half / pitch), round(half / pitch) + 1) * pitch
    # the last shower sampled is that of the clusters
    weights = shower.energy[shower.layer == layer]
    energy = np.histogram2d(x, y, edges, weights=weights)[0]
    mesh = axes[1].pcolormesh(edges, edges, np.maximum(energy, TINY).T, norm=TYPICAL, cmap=CELLS)
    frame(axes[1], half, f"Clusters on a grid of {pitch:.2f} mm")
    figure.colorbar(mesh, ax=axes[1], label="cluster energy [MeV]", shrink=0.8)


def draw_overlays(
    figure: Figure,
    axes: Sequence[Axes],
    cells: cf.VoxelShowers,
    closures: dict[str, Closure],
    layer: int,
) -> None:
    """All showers on top of each other, and what clustering changes of them."""
    sensors, half, n = cells.geometry.layers[layer], 60 * mm, len(cells)
    whole = overlay(cells, layer) / n
    norm = LogNorm(1e-3, whole.max())
    mesh = draw_cells(axes[0], sensors, whole, half, norm=norm, cmap=CELLS)
    axes[0].set_title(f"Mean of {n} showers, from steps")
    figure.colorbar(mesh, ax=axes[0], label="mean cell energy [MeV]", shrink=0.8)
    for panel, (name, result) in zip(axes[1:], closures.items(), strict=True):
        change = 100 * np.nan_to_num(result.overlay)
        mesh = draw_cells(panel, sensors, change, half, vmin=-10, vmax=10, cmap="RdBu_r")
        panel.set_title(f"From clusters, grid {name}")
    label = "cell energy, clusters − steps [%]"
    figure.colorbar(mesh, ax=axes[-1], label=label, shrink=0.8, extend="both")


def draw_cells(
    axes: Axes, layer: SensorLayer, values: Array, half: float, **options: object
) -> QuadMesh:
    """Sample cells with the gaps between their sensors, within |x|, |y| < half [mm]."""
    inside = np.arange(layer.n_cells + 1) * layer.pitch
    sensors = layer.x_sensors, layer.y_sensors
    edges = [np.add.outer(np.array(lowest), inside).ravel() for lowest in sensors]
    # every interval but those from the end of a sensor to the next one, which are gaps
    is_cell = [np.arange(len(row)) % (layer.n_cells + 1) < layer.n_cells for row in edges]
    padded = np.full([len(row) for row in edges], np.nan)
    padded[np.ix_(*is_cell)] = np.where(values == 0, TINY, values)
    seen = [slice(row.searchsorted(-half) - 1, row.searchsorted(half) + 1) for row in edges]
    borders = [row[part] for row, part in zip(edges, seen, strict=True)]
    axes.set_facecolor("0.15")
    mesh = axes.pcolormesh(
        *borders, padded[tuple(seen)][:-1, :-1].T, edgecolors="0.88", linewidth=0.2, **options
    )
    frame(axes, half)
    return mesh


def frame(axes: Axes, half: float, title: str = "") -> None:
    axes.set(xlim=(-half, half), ylim=(-half, half), aspect="equal", title=title)
    axes.set_xlabel("x [mm]", loc="center")
    axes.set_ylabel("y [mm]", loc="center", labelpad=0)


def draw_spectrum(axes: Axes, closures: dict[str, Closure]) -> None:
    """Cells in bins of their energy, clusters over steps."""
    axes.axhspan(-2, 2, color="0.92")
    axes.axhline(0, color=GEANT4, linewidth=1)
    middle = np.sqrt(EDGES[1:] * EDGES[:-1])
    for i, (name, result) in enumerate(closures.items()):
        axes.errorbar(
            middle * 1.1 ** (i - 1),
            100 * (result.ratio - 1),
            100 * result.ratio_error,
            fmt="o",
            markersize=4,
            color=COLOURS[name],
            label=f"grid {name}",
        )
    axes.set(xscale="log", xlim=(EDGES[0], EDGES[-1]), ylim=(-40, 40))
    axes.set_title("Cell spectrum of all layers, ± 2 % in grey")
    axes.set_xlabel("cell energy [MeV]", loc="center")
    axes.set_ylabel("number of cells, clusters − steps [%]", loc="center", labelpad=0)
    axes.legend(loc="lower left")


# ---------------------------------------------------------------- the script


def print_closures(steps: cf.PointShowers, closures: dict[str, Closure]) -> None:
    per_shower = len(steps.energy) / len(steps)
    table = Table(
        "clusters against steps", title=f"{len(steps)} showers of {per_shower:,.0f} steps"
    )
    for name in closures:
        table.add_column(f"grid {name}", justify="right")
    rows = {
        "points of a shower": [f"{c.points:,.0f}" for c in closures.values()],
        "energy in all cells": [f"{c.energy:+.2e}" for c in closures.values()],
        "cells above 0.1 MeV": [
            f"{100 * c.hits:+.2f} ± {100 * c.hits_error:.2f} %" for c in closures.values()
        ],
        "worst bin of the spectrum": [worst(c) for c in closures.values()],
        "cells of the overlay, mean change": [
            f"{100 * c.overlay_mean:.2f} %" for c in closures.values()
        ],
        "the same by energy": [f"{100 * c.overlay_core:.2f} %" for c in closures.values()],
    }
    for name, values in rows.items():
        table.add_row(name, *values)
    Console(width=140).print(table)


def worst(result: Closure) -> str:
    """The bin that lies most of its errors away."""
    away = np.abs(result.ratio - 1) / np.where(result.ratio_error > 0, result.ratio_error, np.inf)
    bin_ = int(np.nanargmax(away))
    deviation, error = 100 * (result.ratio[bin_] - 1), 100 * result.ratio_error[bin_]
    return f"{deviation:+.1f} ± {error:.1f} %, {EDGES[bin_]:.2g} to {EDGES[bin_ + 1]:.2g} MeV"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("steps", nargs="?", type=Path, help="file of unclustered points")
    parser.add_argument("--energy", default="9e4", help="of simulated photons, as for simulate")
    parser.add_argument("-n", type=int, default=80, help="showers to simulate")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation")
    parser.add_argument("--impact", default="0,40", help="point X',Z' in the detector [mm]")
    parser.add_argument("--spread", type=float, default=0, help="of impacts around it [mm]")
    parser.add_argument("--layer", type=int, default=21, help="layer of the overlay, from 0")
    parser.add_argument("--picture", type=Path, help="image to write")
    given = parser.parse_args(arguments)

    if given.picture and given.spread:
        parser.error("the picture is of showers at one point: leave out --spread")
    if given.steps:
        steps = cf.read(given.steps).within(BOX)
    else:
        options = {"energy": given.energy, "n": given.n, "seed": given.seed}
        steps = cf.simulate("ild-ecal", points=True, pitch=None, box=BOX, **options)
    x, z = (float(value) for value in given.impact.split(","))
    rng = np.random.default_rng(given.seed)
    shift = rng.uniform(-given.spread, given.spread, (len(steps), 2))
    cells = steps.project(ild_ecal((x, z)), shift)
    clusters = {name: clusters_of(steps, grid) for name, grid in GRIDS.items()}
    closures = {name: closure(made, cells, given.layer, shift) for name, made in clusters.items()}
    print_closures(steps, closures)
    if given.picture:
        with style():
            figure = draw(steps, clusters["36×"], cells, closures, given.layer)
            figure.savefig(given.picture, dpi=100)


if __name__ == "__main__":
    main()
