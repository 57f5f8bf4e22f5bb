"""The hits of showers as columns, and as jagged arrays of awkward."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from caloforge.showers.points import PointShowers

if TYPE_CHECKING:
    from caloforge.showers.voxels import VoxelShowers

__all__ = ["hit_columns", "to_awkward"]


def hit_columns(showers: VoxelShowers | PointShowers) -> dict[str, Any]:
    """The columns of each hit, by name, each of shape (n_hits,).

    `x`, `y` [mm] from the impact point, `layer`, `energy` [MeV], and for voxels their number
    `voxel` and their depth `z` [mm].
    """
    if isinstance(showers, PointShowers):
        return {name: getattr(showers, name) for name in showers.columns}
    geometry, index = showers.geometry, showers.index.astype(np.int32)
    return {
        "voxel": index,
        "x": geometry.voxel_x[index].astype(np.float32),
        "y": geometry.voxel_y[index].astype(np.float32),
        "z": geometry.voxel_z[index].astype(np.float32),
        "layer": geometry.voxel_layer[index].astype(np.int32),
        "energy": showers.energy,
    }


def to_awkward(showers: VoxelShowers | PointShowers) -> Any:
    """Showers as a jagged array of awkward: `energy_inc` [MeV] and `hits`, see `hit_columns`.

    Example:
        >>> from caloforge.showers import to_awkward
        >>> array = to_awkward(showers)
        >>> len(array.hits.energy[0]) == len(showers[:1].energy)
        True

    Raises:
        ImportError: if awkward is not installed.
    """
    try:
        awkward: Any = importlib.import_module("awkward")
    except ImportError as error:
        raise ImportError(
            "jagged arrays need awkward: pip install awkward, or 'caloforge[root]'"
        ) from error
    hits = awkward.Array(hit_columns(showers))
    jagged = awkward.unflatten(hits, np.diff(showers.offset))
    return awkward.Array({**showers.of_particles(), "hits": jagged})
