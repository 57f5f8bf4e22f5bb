"""Put point clouds anywhere in the detector: the cells that are hit there, and their energies.

    python examples/translate_showers.py test_points.h5 fake_points.h5
    python examples/translate_showers.py test_points.h5 fake_points.h5 --there steps.h5 -o there.png

Clouds do not depend on the place: moved to another impact point and projected into the cells there,
they must read what Geant4 reads there (CaloClouds, section 4.2 and figure 8). The most sensitive
distribution is that of the cells' energies, as gaps and borders between cells cut showers
elsewhere.

The Geant4 showers are those of the first file, moved as well, or, with `--there`, others, such as
unclustered steps of showers of the same energies. Every file is read in a stream.

The table says how many cells above half a MIP (0.1 MeV) are hit in regular cells, in regular cells
shifted by half a cell, in the real cells, and in the real cells at the other impact point.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import caloforge as cf
from caloforge.data import open_points
from caloforge.geometry import ild_ecal

Array = NDArray[np.floating]
Point = tuple[float, float]

HERE, THERE = (0.0, 40.0), (37.5, -36.1)  # mm, (X', Z') of CaloClouds' samples
HALF_A_CELL = (2.5, 2.5)  # mm, of ild-30
EDGES = np.geomspace(0.01, 300, 61)  # MeV
PLENTY = 5  # cells of a shower in a bin whose ratio is taken
BATCH_SIZE = 100  # showers, of some thousand points each


class Readout(NamedTuple):
    """What cells read of the clouds of a file.

    Args:
        hits: number of cells above the threshold, shape (n,).
        lost: fraction of the energy that no cell holds, shape (n,).
        spectrum: cells of a shower with an energy between `EDGES`, shape (60,).
    """

    hits: Array
    lost: Array
    spectrum: Array


def read_out(path: Path, geometry: cf.Geometry, shift: Point = (0.0, 0.0)) -> Readout:
    """Project the clouds of a file in a stream."""
    hits, lost, spectrum = [], [], np.zeros(len(EDGES) - 1)
    with open_points(path) as file:
        for points in file.batches(BATCH_SIZE):
            cells = points.project(geometry, shift)
            hits.append(np.diff(cells.above(geometry.threshold).offset))
            lost.append(points.lost(cells))
            spectrum += np.histogram(cells.energy, EDGES)[0]
        n = len(file)
    return Readout(np.concatenate(hits), np.concatenate(lost), spectrum / n)


def read_everywhere(geant4: Path, fake: Path, there: Path | None) -> dict[str, dict[str, Readout]]:
    """By place, what the cells there read of Geant4's and of the generated clouds."""
    regular = cf.geometry_preset("ild-30")
    places: dict[str, tuple[Path, cf.Geometry, Point]] = {
        "ild-30": (geant4, regular, (0.0, 0.0)),
        "ild-30, shifted by half a cell": (geant4, regular, HALF_A_CELL),
        f"ild-ecal at {HERE} mm": (geant4, ild_ecal(HERE), (0.0, 0.0)),
        f"ild-ecal at {THERE} mm": (there or geant4, ild_ecal(THERE), (0.0, 0.0)),
    }
    return {
        name: {"Geant4": read_out(known, *cells), "fake": read_out(fake, *cells)}
        for name, (known, *cells) in places.items()
    }


def print_table(found: dict[str, dict[str, Readout]], threshold: float) -> None:
    """Mean number of hits, fraction lost, and the largest ratio of spectra above the threshold."""
    table = Table("cells", "Geant4: hits", "lost", "fake: hits", "lost", "spectra differ by")
    for place, samples in found.items():
        numbers = [
            text
            for sample in samples.values()
            for text in (
                f"{sample.hits.mean():.1f} ± {error_of_mean(sample.hits):.1f}",
                f"{sample.lost.mean():.2%}",
            )
        ]
        known, fake = samples["Geant4"].spectrum, samples["fake"].spectrum
        plenty = (EDGES[:-1] >= threshold) & (known >= PLENTY)
        worst = np.abs(fake[plenty] / known[plenty] - 1).max()
        table.add_row(place, *numbers, f"{worst:.1%} at most")
    console = Console(width=120)
    console.print(table)
    console.print(f"Spectra: bins above {threshold} MeV with {PLENTY} cells of a shower and more.")


def error_of_mean(values: Array) -> float:
    """Standard error of the mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def draw(found: dict[str, dict[str, Readout]], threshold: float, path: Path) -> None:
    """The spectra in the real cells at both places, their ratios below (CaloClouds, figure 8)."""
    real = [place for place in found if place.startswith("ild-ecal")]
    figure = Figure(figsize=(10, 5), layout="constrained")
    grid = figure.subplots(2, 2, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    for (upper, lower), place in zip(grid.T, real, strict=True):
        geant4, fake = (found[place][name].spectrum for name in ("Geant4", "fake"))
        upper.stairs(geant4, EDGES, fill=True, color="lightgrey", label="Geant4")
        upper.stairs(fake, EDGES, label="fake")
        ratio = np.divide(fake, geant4, where=geant4 > 0.01, out=np.full(len(fake), np.nan))
        lower.stairs(ratio, EDGES, baseline=None)
        lower.axhline(1, color="grey", linewidth=0.8)
        for axes in (upper, lower):
            axes.axvspan(EDGES[0], threshold, color="grey", alpha=0.3)
        upper.set(title=place, yscale="log", xscale="log", xlim=(EDGES[0], EDGES[-1]))
        lower.set(xlabel="cell energy [MeV]", ylim=(0.8, 1.2))
        upper.legend()
    grid[0, 0].set_ylabel("cells of a shower")
    grid[1, 0].set_ylabel("ratio")
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read files of points, print the table, draw the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("geant4", type=Path, help="clouds of Geant4 showers")
    parser.add_argument("fake", type=Path, help="generated clouds of the same incident energies")
    parser.add_argument("--there", type=Path, help="other Geant4 showers, for the other place")
    parser.add_argument("-o", "--output", type=Path, help="picture of the spectra")
    given = parser.parse_args(arguments)
    found = read_everywhere(given.geant4, given.fake, given.there)
    threshold = ild_ecal().threshold
    print_table(found, threshold)
    if given.output is not None:
        draw(found, threshold, given.output)


if __name__ == "__main__":
    main()
