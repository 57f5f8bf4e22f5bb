"""How the energies of neighbouring voxels hang together, in a few numbers a shower."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.observables import Floats, stream
from caloforge.geometry import PolarLayer
from caloforge.showers import VoxelShowers

__all__ = ["voxel_correlations"]

N_GROUPS = 9


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
    has zeros. Layer sums, centres and widths do not know any of these.

    Args:
        showers: showers without the voxels below the threshold.

    Returns:
        Shape (n, 4 · groups), quantity by quantity.
    """
    n_layers = showers.geometry.n_layers
    n_groups = min(N_GROUPS, n_layers)
    starts = np.linspace(0, n_layers, n_groups, endpoint=False).astype(int)
    parts = [np.add.reduceat(_sums(batch), starts, axis=2) for batch in stream(showers)]
    total, squares, across, outward, onward, onward_norm = np.concatenate(parts, axis=1)
    pairs = ((squares, total), (across, squares), (outward, squares), (onward, onward_norm))
    return np.hstack([above / np.where(below > 0, below, 1) for above, below in pairs])


def _sums(showers: VoxelShowers) -> Floats:
    """The six sums of the formulae in every layer, shape (6, n, n_layers)."""
    geometry, n = showers.geometry, len(showers)
    block = showers.dense().reshape(n, -1).astype(np.float64)
    found = np.zeros((6, n, geometry.n_layers))
    before: NDArray[np.float64] | None = None
    for i, layer in enumerate(geometry.layers):
        x = block[:, geometry.layer_slice(i)].reshape(n, *layer.shape)
        found[0, :, i] = x.sum(axis=(1, 2)) ** 2
        found[1, :, i] = _product(x, x)
        found[2, :, i] = _product(x[:, :-1], x[:, 1:])
        found[3, :, i] = _product(x[:, :, :-1], x[:, :, 1:])
        if isinstance(layer, PolarLayer) and layer.n_alpha > 1:
            found[2, :, i] += _product(x[:, -1:], x[:, :1])
        if before is not None and layer == geometry.layers[i - 1]:
            found[4, :, i - 1] = _product(before, x)
            found[5, :, i - 1] = np.sqrt(found[1, :, i - 1] * found[1, :, i])
        before = x
    return found


def _product(first: Floats, second: Floats) -> Floats:
    """Sum of the products of two blocks of voxels in each shower, shape (n,)."""
    return np.asarray(np.einsum("nab,nab->n", first, second), np.float64)
