"""Patterns of layers of training showers in voxels: two bytes a hit where layers are small."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.geometry import Geometry, PolarLayer, voxel_images
from caloforge.showers import VoxelShowers
from caloforge.stages.patternarrays import Detector
from caloforge.stages.patternrows import rows_of, small
from caloforge.stages.turning import of_voxels

__all__ = ["are_outside", "detector", "hit_bytes", "rows"]

Rows = dict[str, NDArray[Any]]


def rows(showers: VoxelShowers) -> Rows:
    """What is kept of training showers: see `rows_of`, and `voxel`, numbers within layers."""
    geometry = showers.geometry
    layer = geometry.voxel_layer[showers.index]
    plane = showers.event() * geometry.n_layers + layer
    voxel = small(showers.index - geometry.offsets[layer], _most(geometry))
    return {**rows_of(showers, plane, showers.energy), "voxel": voxel}


def hit_bytes(geometry: Geometry) -> int:
    """What is kept of a hit: voxel and share."""
    return small(np.zeros(1), _most(geometry)).itemsize + 1


def are_outside(rows: Rows, geometry: Geometry) -> bool:
    """Whether hits lie in voxels that their layers do not have."""
    count, voxel = rows["count"].ravel(), rows["voxel"]
    first, filled = np.cumsum(count, dtype=np.int64) - count, np.flatnonzero(count)
    most = np.maximum.reduceat(voxel, first[filled]) if len(filled) else np.zeros(0, int)
    sizes = np.diff(geometry.offsets)[filled % geometry.n_layers]
    return bool((voxel < 0).any() or (most >= sizes).any())


def detector(geometry: Geometry, *, symmetric: bool) -> Detector:
    """The voxels and how they are turned.

    A ring of one bin lies on no side: x and y of its voxels are 0.

    Args:
        geometry: the voxels.
        symmetric: whether showers are turned.
    """
    turning = of_voxels(geometry, symmetric=symmetric)
    start = np.asarray(geometry.offsets[:-1], np.int64)
    largest = int(np.diff(geometry.offsets).max())
    layer = geometry.voxel_layer
    sided = np.array(
        [not (isinstance(one, PolarLayer) and one.n_alpha == 1) for one in geometry.layers]
    )[layer]
    columns = (sided * geometry.voxel_x, sided * geometry.voxel_y, geometry.voxel_r)
    images = voxel_images(geometry)[: turning.size] - start[layer]
    return Detector(
        turning,
        start,
        largest,
        float(np.float32(geometry.threshold)),  # as energies are compared with it
        np.stack(columns, 1, dtype=np.float64),
        images.astype(np.int16 if largest < 1 << 15 else np.int32),
        0.0,
        np.zeros(0, np.int64),
        np.zeros(0),
    )


def _most(geometry: Geometry) -> int:
    """The largest number of a voxel within its layer."""
    return int(np.diff(geometry.offsets).max()) - 1
