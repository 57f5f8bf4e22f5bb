"""The symmetries of a detector, by which patterns are turned."""

from __future__ import annotations

import math

import numpy as np

from caloforge.geometry import Geometry, symmetry_matrices
from caloforge.stages.patternarrays import Array, Turning
from caloforge.stages.quilting import TURN

__all__ = ["any_angle", "of_voxels"]


def of_voxels(geometry: Geometry, *, symmetric: bool) -> Turning:
    """Symmetries of the voxels, in the order of `symmetry_matrices`.

    Args:
        geometry: the voxels.
        symmetric: whether showers are turned; else the identity alone is left.
    """
    matrices = symmetry_matrices(geometry)[: None if symmetric else 1]
    # a direction that no reflection leaves where it is: those of n rotations and reflections
    # lie pi / n apart
    angle = 1.1 * math.pi / len(matrices)
    ahead = np.einsum("i,gij->jg", [math.cos(angle), math.sin(angle)], matrices)
    return Turning(
        len(matrices),
        np.ascontiguousarray(matrices),
        _ratios(matrices),
        np.ascontiguousarray(ahead),
    )


def any_angle(*, symmetric: bool) -> Turning:
    """Rotations by any angle, with or without a reflection.

    Args:
        symmetric: whether showers are turned; else the identity alone is left.
    """
    nothing = np.zeros((0, 0), np.int64)
    return Turning(2 * TURN if symmetric else 1, np.zeros((0, 2, 2)), nothing, np.zeros((2, 0)))


def _ratios(matrices: Array) -> Array:
    products = np.einsum("aji,bjk->abik", matrices, matrices)
    flat = matrices.reshape(len(matrices), 4)
    return np.stack([(row.reshape(-1, 4) @ flat.T).argmax(1) for row in products])
