"""Sums over the voxels of each layer, weighted with positions, for centres and widths."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from caloforge.evaluation.observables.source import Floats
from caloforge.rounding import is_rounding
from caloforge.showers import VoxelShowers

__all__ = ["LayerSums", "layer_sums", "width"]


class LayerSums(NamedTuple):
    """Sums over the voxels of each layer, with k positions of each voxel.

    Args:
        energy: energy [MeV], shape (n, layers).
        first: energy times position [MeV mm], shape (k, n, layers).
        second: energy times position squared [MeV mm²], shape (k, n, layers).
        n_active: number of voxels with energy, shape (n, layers).
    """

    energy: Floats
    first: Floats
    second: Floats
    n_active: Floats


def layer_sums(showers: VoxelShowers, *positions: Floats) -> LayerSums:
    """Sum the voxels of each layer of each shower, in double precision.

    Args:
        showers: the showers.
        positions: positions of all voxels [mm], shape (n_voxels,) each.
    """
    n, n_layers, k = len(showers), showers.geometry.n_layers, len(positions)
    weights = np.stack([np.ones(showers.geometry.n_voxels), *positions], axis=1)
    weights = np.hstack([weights, weights[:, 1:] ** 2])
    # Entries rise in voxel, hence in layer: cut there, they are the rows of a sparse matrix.
    cell = showers.event() * n_layers + showers.geometry.voxel_layer[showers.index]
    counts = np.bincount(cell, minlength=n * n_layers)
    entries = csr_array(
        (
            showers.energy.astype(np.float64),
            showers.index.astype(np.int32),
            np.concatenate([[0], np.cumsum(counts)]),
        ),
        shape=(n * n_layers, showers.geometry.n_voxels),
    )
    sums = np.moveaxis((entries @ weights).reshape(n, n_layers, 2 * k + 1), 2, 0)
    return LayerSums(
        sums[0], sums[1 : k + 1], sums[k + 1 :], counts.reshape(n, n_layers).astype(np.float64)
    )


def width(mean: Floats, mean_square: Floats) -> Floats:
    r"""Standard deviation of positions from their mean and mean square.

    .. math:: \sqrt{\langle x^2 \rangle - \langle x \rangle^2}

    0 where all energy sits at one position: the difference is then only rounding, whose root would
    pass for a width.

    Args:
        mean: mean position, of any shape.
        mean_square: mean of its square.
    """
    variance = mean_square - mean**2
    return np.sqrt(np.where(is_rounding(variance, mean_square), 0, variance))
