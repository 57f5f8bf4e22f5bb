"""Correlations of the energies of neighbouring voxels, in a few numbers per shower."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.observables import Floats, stream
from caloforge.evaluation.observables.source import sum_by
from caloforge.geometry import Geometry, PolarLayer
from caloforge.showers import VoxelShowers

__all__ = ["voxel_correlations"]

N_GROUPS = 9
NONE = -1  # where a voxel has no neighbour


def voxel_correlations(showers: VoxelShowers) -> Floats:
    r"""Concentration of the energy and its correlation with neighbours, by groups of layers.

    With the voxel energies x, sums over the voxels v of a group of layers l (nine groups, fewer for
    fewer layers) and v + a, v + b, v + z the neighbour in the first and the second transverse
    direction and in the next layer,

    .. math::
        \frac{\sum_{l,v} x_v^2}{\sum_l (\sum_v x_v)^2}, \quad
        \frac{\sum_{l,v} x_v x_{v+a}}{\sum_{l,v} x_v^2}, \quad
        \frac{\sum_{l,v} x_v x_{v+b}}{\sum_{l,v} x_v^2}, \quad
        \frac{\sum_{l,v} x_v x_{v+z}}
             {\sum_l (\sum_v x_v^2 \sum_v x_{v+z}^2)^{1/2}}

    Alpha wraps around. A layer has no next one where that has other bins; a group without energy
    has zeros. Layer sums, centres and widths contain none of these.

    Args:
        showers: showers without the voxels below the threshold.

    Returns:
        Shape (n, 4 · groups), quantity by quantity.
    """
    n_layers = showers.geometry.n_layers
    n_groups = min(N_GROUPS, n_layers)
    starts = np.linspace(0, n_layers, n_groups, endpoint=False).astype(int)
    neighbours, next_layers = _neighbours(showers.geometry), _next_layers(showers.geometry)
    parts = [
        np.add.reduceat(_sums(batch, neighbours, next_layers), starts, axis=2)
        for batch in stream(showers)
    ]
    total, squares, across, outward, onward, onward_norm = np.concatenate(parts, axis=1)
    pairs = ((squares, total), (across, squares), (outward, squares), (onward, onward_norm))
    return np.hstack([above / np.where(below > 0, below, 1) for above, below in pairs])


def _next_layers(geometry: Geometry) -> NDArray[np.int64]:
    """The layers with a next one of the same bins."""
    pairs = zip(geometry.layers, geometry.layers[1:], strict=False)
    return np.flatnonzero([one == other for one, other in pairs])


def _neighbours(geometry: Geometry) -> NDArray[np.int64]:
    """Each voxel's neighbours along both transverse axes and in the next layer, shape (3, voxels).

    Voxels of alpha that wraps around onto its only bin have none.
    """
    found = np.full((3, geometry.n_voxels), NONE)
    following = set(_next_layers(geometry).tolist())
    for number, layer in enumerate(geometry.layers):
        here = geometry.layer_slice(number)
        index = np.arange(here.start, here.stop).reshape(layer.shape)
        beside = np.full((2, *layer.shape), NONE)
        beside[0, :-1], beside[1, :, :-1] = index[1:], index[:, 1:]
        if isinstance(layer, PolarLayer) and layer.n_alpha > 1:
            beside[0, -1] = index[0]
        found[:2, here] = beside.reshape(2, -1)
        if number in following:
            found[2, here] = index.ravel() + index.size
    return found


def _sums(
    showers: VoxelShowers, neighbours: NDArray[np.int64], next_layers: NDArray[np.int64]
) -> Floats:
    """The six sums of the formulae in every layer, shape (6, n, n_layers).

    Entries rise in shower and voxel, so the neighbour's is found by its place in that order: empty
    voxels, most of all in cells by the hundred thousand, are never laid out.
    """
    geometry, n, event = showers.geometry, len(showers), showers.event()
    n_layers, voxel = geometry.n_layers, showers.index.astype(np.int64)
    energy, place = showers.energy.astype(np.float64), event * geometry.n_voxels + voxel
    cell = event * n_layers + geometry.voxel_layer[voxel]

    def summed(values: Floats) -> Floats:
        return sum_by(cell, values, (n, n_layers))

    found = np.zeros((6, n, n_layers))
    found[0], found[1] = summed(energy) ** 2, summed(energy**2)
    for number, beside in enumerate(neighbours, 2):
        wanted = np.where(beside[voxel] == NONE, NONE, event * geometry.n_voxels + beside[voxel])
        entry = np.minimum(np.searchsorted(place, wanted), max(0, len(place) - 1))
        found[number] = summed(np.where(place[entry] == wanted, energy * energy[entry], 0))
    after = next_layers + 1
    found[5][:, next_layers] = np.sqrt(found[1][:, next_layers] * found[1][:, after])
    return found
