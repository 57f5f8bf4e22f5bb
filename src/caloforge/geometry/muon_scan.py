"""The sensors of the ILD's electromagnetic calorimeter, read off a muon scan.

The silicon sensors of 18 x 18 cells lie in rows and columns with dead gaps between. Along the beam
(Z') all layers are alike, with a wider gap at every second sensor, where one tower of the module
ends; across it (X') the sensors of a layer begin where its trapezoid does, so that each pair of
layers is staggered against the one before it.

The package keeps the borders of the sensors. They are made from the hits of a muon scan of the full
detector model with

    python -m caloforge.geometry.muon_scan muon_map.npz layer_bottom_mm.json ild_cells.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.geometry.layers import Floats

__all__ = ["cell_map"]

REACH = 330.0  # mm from X' = Z' = 0: 200 mm x 200 mm around (0, 40) and (37.5, -36.1), rotated
SCANNED = 190.0  # mm from the scan's middle within which it hits every cell of every layer
N_CELLS = 18  # cells along each side of a sensor
PERIODS = {"X": 1, "Z": 2}  # sensors after which the gaps repeat
TOLERANCE = 0.01  # mm, by which a hit may miss the centre of its cell
STRAY = 1e-4  # of a layer's hits may: one of all, with 13 keV, lies 1 mm outside its cell
SILICON = 0.525  # mm


def cell_map(X: Floats, Y: Floats, Z: Floats, faces: Floats) -> dict[str, Any]:
    """The borders of the sensors, read off the hits of a muon scan.

    The scan reports the centre of each cell hit. In its middle it hits every cell, and a gap is a
    step from one column of centres to the next that is wider than a cell. From there the sensors
    are continued with their period, and every hit that is covered then, in the middle or far from
    it, must lie at the centre of a cell.

    Args:
        X, Y, Z: position of each hit [mm], shape (n,), Y pointing into the calorimeter.
        faces: lower faces of the silicon layers [mm], shape (n_layers,).

    Returns:
        What `ild_cells.json` holds.

    Raises:
        ValueError: if the hits do not lie in layers, on sensors of 18 cells, or on the cells found.
    """
    layer = np.abs(Y[:, None] - faces - SILICON / 2).argmin(axis=1)
    if np.abs(Y - faces[layer] - SILICON / 2).max() > TOLERANCE:
        raise ValueError("the hits do not lie in the middle of the silicon: are these its faces?")
    pitch = _pitch(Z)
    z_sensors = _sensors(Z, pitch, PERIODS["Z"])
    x_sensors = [_sensors(X[layer == i], pitch, PERIODS["X"]) for i in range(len(faces))]
    for i, borders in enumerate(x_sensors):
        _check_hits(X[layer == i], borders, pitch, f"X of layer {i}")
    _check_hits(Z, z_sensors, pitch, "Z")
    return {
        "n_cells": N_CELLS,
        "pitch_mm": pitch,
        "z_sensors_mm": z_sensors.tolist(),
        "x_sensors_mm": [borders.tolist() for borders in x_sensors],
    }


def _columns(positions: Floats) -> Floats:
    """Distinct centres of cells in the middle of the scan [mm]."""
    middle = (np.quantile(positions, 0.01) + np.quantile(positions, 0.99)) / 2
    values = np.sort(positions[np.abs(positions - middle) < SCANNED])
    first = np.flatnonzero(np.diff(values, prepend=-np.inf) > TOLERANCE)  # hits of each column
    return np.asarray(np.add.reduceat(values, first) / np.diff(first, append=len(values)))


def _pitch(positions: Floats) -> float:
    """Width of a cell [mm]: the steps between columns, but for those across a gap."""
    steps = np.diff(_columns(positions))
    return round(float(steps[steps < steps.min() * 1.05].mean()), 5)


def _sensors(positions: Floats, pitch: float, period: int) -> Floats:
    """Lower borders of the sensors that reach into the map [mm]."""
    columns = _columns(positions)
    first = np.flatnonzero(np.diff(columns) > 1.05 * pitch) + 1  # cells behind a gap
    if len(first) <= period or (np.diff(first) != N_CELLS).any():
        raise ValueError(
            f"expected sensors of {N_CELLS} cells between the gaps, got {np.diff(first)}"
        )
    seen = columns[first] - pitch / 2
    repeat = float((seen[period:] - seen[:-period]).mean())
    turns = np.arange(-10, 11) * repeat
    borders = np.add.outer(turns, seen[:period]).ravel()
    covers = (borders + N_CELLS * pitch > -REACH) & (borders < REACH)
    return np.asarray(borders[covers].round(3))


def _check_hits(positions: Floats, sensors: Floats, pitch: float, name: str) -> None:
    """Every hit on the map lies at the centre of a cell."""
    reached = (positions >= sensors[0]) & (positions < sensors[-1] + N_CELLS * pitch)
    inside = positions[reached]
    start = sensors[np.searchsorted(sensors, inside, side="right") - 1]
    cell = (inside - start) / pitch - 0.5
    missed = np.abs(cell - np.clip(np.round(cell), 0, N_CELLS - 1)) * pitch > TOLERANCE
    if missed.mean() > STRAY:
        raise ValueError(
            f"{missed.sum()} of {len(inside)} hits in {name} do not lie at the centre of a cell, "
            f"the first at {inside[missed][0]:.3f} mm: are the gaps not periodic?"
        )


def _main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make the map of the real ILD cells.")
    parser.add_argument("scan", type=Path, help="hits of the muon scan, X, Y, Z [mm] (npz)")
    parser.add_argument("faces", type=Path, help="lower faces of the silicon layers [mm] (json)")
    parser.add_argument("output", type=Path, help="the map (json)")
    given = parser.parse_args(arguments)
    with np.load(given.scan) as hits:
        X, Y, Z = (hits[name].astype(np.float64) for name in "XYZ")
    made = cell_map(X, Y, Z, np.array(json.loads(given.faces.read_text())))
    lines = [f'"{name}": {json.dumps(value)}' for name, value in made.items()]
    text = "{" + ",\n".join(lines).replace("], [", "],\n[") + "}\n"
    given.output.write_text(text)


if __name__ == "__main__":
    _main()
