"""The observables of CaloClouds: centres of gravity, hits, energies in ten layers and ten rings."""

from __future__ import annotations

import numpy as np

from caloforge.evaluation.observables.source import Floats, sum_by
from caloforge.geometry import Geometry
from caloforge.showers import VoxelShowers

__all__ = ["bins", "caloclouds"]

# Layers and radii [mm] that part the hits of 10 to 90 GeV photons in ILD's calorimeter into tenths.
ILD_LAYERS = (0, 8, 11, 13, 15, 16, 18, 19, 21, 24, 29)
ILD_RADII = (
    *(0.0, 6.558, 9.849, 12.96, 17.028, 23.434),
    *(33.609, 40.119, 48.491, 68.808, 300.0),
)


def bins(geometry: Geometry) -> tuple[Floats, Floats]:
    """Borders of the ten groups of layers, the last one closed, and of the ten rings [mm].

    CaloClouds' own for the 30 layers of ILD, elsewhere ten equal steps in depth and radius.
    """
    if geometry.name.startswith("ild-"):
        return np.asarray(ILD_LAYERS, np.float64), np.asarray(ILD_RADII)
    outermost = float(np.nextafter(geometry.voxel_r.max(), np.inf))
    return np.linspace(0, geometry.n_layers - 1, 11), np.linspace(0, outermost, 11)


def caloclouds(showers: VoxelShowers) -> dict[str, Floats]:
    """Centres of gravity, hits, sampling fraction, longitudinal and radial energies: `features`."""
    n, event, geometry = len(showers), showers.event(), showers.geometry
    voxel = showers.index.astype(np.intp)
    energy = showers.energy.astype(np.float64)
    total = sum_by(event, energy, (n,))
    known = np.where(total > 0, total, np.nan)
    result = {
        f"cog_{axis}": sum_by(event, energy * position[voxel], (n,)) / known
        for axis, position in zip(
            "xyz", (geometry.voxel_x, geometry.voxel_y, geometry.voxel_z), strict=True
        )
    }
    result["n_hits"] = sum_by(event, energy > 0, (n,))
    result["sampling_fraction"] = total / showers.energy_inc
    layers, radii = bins(geometry)
    layer_group = np.searchsorted(layers[1:-1], np.arange(geometry.n_layers), side="right")
    ring = np.searchsorted(radii, geometry.voxel_r, side="right") - 1
    inside = ring[voxel] < 10  # half-open: what lies beyond the last radius is in no ring
    longitudinal = event * 10 + layer_group[geometry.voxel_layer[voxel]]
    result["longitudinal"] = sum_by(longitudinal, energy, (n, 10))
    radial = (event * 10 + ring[voxel])[inside]
    result["radial"] = sum_by(radial, energy[inside], (n, 10))
    return result
