"""The observables of L2LFlows: response, occupancy, centre and width of whole showers."""

from __future__ import annotations

import numpy as np

from caloforge.evaluation.observables.moments import layer_sums, width
from caloforge.evaluation.observables.source import Floats
from caloforge.geometry import Geometry, PolarLayer
from caloforge.showers import VoxelShowers

__all__ = ["l2lflows"]


def l2lflows(showers: VoxelShowers) -> dict[str, Floats]:
    """Response, occupancy, centre and width of each shower, see `features`."""
    geometry = showers.geometry
    sums = layer_sums(showers, *_positions(geometry))
    total = sums.energy.sum(axis=1)
    result = {
        "energy_ratio": total / showers.energy_inc,
        "occupancy": sums.n_active.sum(axis=1) / geometry.n_voxels,
    }
    known = np.where(total > 0, total, np.nan)
    for name, first, second in zip("xy", sums.first, sums.second, strict=True):
        mean = first.sum(axis=1) / known
        result[f"{name}_mean"] = mean
        result[f"{name}_std"] = width(mean, second.sum(axis=1) / known)
    layer = np.arange(geometry.n_layers)
    mean = sums.energy @ layer / known
    result["z_mean"] = mean
    result["z_std"] = width(mean, sums.energy @ layer**2 / known)
    return result


def _positions(geometry: Geometry) -> tuple[Floats, Floats]:
    """x and y of each voxel in the frame of L2LFlows' evaluation."""
    first = geometry.layers[0]
    if all(isinstance(bins, PolarLayer) for bins in geometry.layers):
        bins_alpha = np.concatenate(
            [np.repeat(np.arange(a) / a, r) for a, r in geometry.layer_shapes]
        )
        angle = 2 * np.pi * bins_alpha
        return geometry.voxel_r * np.cos(angle), geometry.voxel_r * np.sin(angle)
    if geometry.is_regular:
        numbers = np.indices(first.shape).reshape(2, -1).astype(np.float64)
        x, y = np.tile(numbers, geometry.n_layers)
        return x, y
    return geometry.voxel_x, geometry.voxel_y
