"""The observables of point clouds, before any projection into cells."""

from __future__ import annotations

import numpy as np

from caloforge.evaluation.observables.source import Floats, sum_by
from caloforge.showers import PointShowers
from caloforge.units import mm

__all__ = ["POINT_RINGS", "point_features"]

POINT_RINGS = np.append(np.linspace(0, 100 * mm, 51), np.inf)  # borders of rings; the last is open


def point_features(points: PointShowers) -> dict[str, Floats]:
    r"""Compute the observables of each point cloud, without a projection into cells.

    ``n_points``; ``visible_energy`` [MeV]; ``cog_x``, ``cog_y``, ``cog_z``, the energy-weighted
    mean position :math:`\sum_i E_i x_i / \sum_i E_i` [mm], z the depth of the layers, NaN for an
    empty cloud; all of shape (n,). ``layer_counts`` and ``layer_energies`` [MeV], the points of
    each layer, shape (n, n_layers); ``ring_energies`` [MeV], the energy in the rings of 2 mm
    between `POINT_RINGS`, the last one being all beyond 100 mm, shape (n, 51).

    Source: CaloClouds (arXiv:2305.04847), section 4.1, whose observables are those of cells.
    """
    n, n_layers, event = len(points), points.geometry.n_layers, points.event()
    energy, layer = points.energy.astype(np.float64), points.layer.astype(np.int64)
    x, y = points.x.astype(np.float64), points.y.astype(np.float64)
    total = sum_by(event, energy, (n,))
    known = np.where(total > 0, total, np.nan)
    places = {"x": x, "y": y, "z": np.asarray(points.geometry.z)[layer]}
    cell = event * n_layers + layer
    n_rings = len(POINT_RINGS) - 1
    ring = event * n_rings + np.searchsorted(POINT_RINGS, np.hypot(x, y), side="right") - 1
    return {
        "n_points": np.diff(points.offset).astype(np.float64),
        "visible_energy": total,
        **{f"cog_{axis}": sum_by(event, energy * p, (n,)) / known for axis, p in places.items()},
        "layer_counts": sum_by(cell, np.ones(len(cell)), (n, n_layers)),
        "layer_energies": sum_by(cell, energy, (n, n_layers)),
        "ring_energies": sum_by(ring, energy, (n, n_rings)),
    }
