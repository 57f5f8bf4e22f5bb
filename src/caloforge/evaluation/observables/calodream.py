"""CaloDREAM's weighted depths: how deep the energy of each ring and of each sector sits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.observables.source import Floats, sum_by
from caloforge.geometry import Geometry
from caloforge.showers import VoxelShowers

__all__ = ["calodream"]

EMPTY = 1e-8  # MeV, added to a slice's energy so that an empty slice has depth 0


def calodream(showers: VoxelShowers) -> dict[str, Floats]:
    """Energy-weighted layer number of the slices across a shower, see `features`."""
    n, event = len(showers), showers.event()
    voxel = showers.index.astype(np.intp)
    energy = showers.energy.astype(np.float64)
    layer = showers.geometry.voxel_layer[voxel]
    result = {}
    for name, number in _slices(showers.geometry).items():
        width = int(number.max()) + 1
        key = event * width + number[voxel]
        weighted = sum_by(key, energy * layer, (n, width))
        result[name] = weighted / (sum_by(key, energy, (n, width)) + EMPTY)
    return result


def _slices(geometry: Geometry) -> dict[str, NDArray[np.intp]]:
    """Number of each voxel's slice, counted in its layer: along alpha and r, or x and y."""
    numbers = np.concatenate(
        [np.indices(shape).reshape(2, -1) for shape in geometry.layer_shapes], axis=1
    )
    polar = geometry.layers[0].kind == "polar"
    names = ("depth_alpha", "depth_r") if polar else ("depth_x", "depth_y")
    return dict(zip(names, numbers, strict=True))
