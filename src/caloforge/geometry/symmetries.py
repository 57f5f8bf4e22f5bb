"""Rotations and reflections about the axis that move every voxel of a geometry onto another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from caloforge.geometry.layers import PolarLayer
from caloforge.geometry.readout import Geometry

__all__ = ["symmetry_matrices", "voxel_images"]

CLOSE = 1e-6  # of the width of a layer: how near the image of a centre must lie to a centre


def voxel_images(geometry: Geometry) -> NDArray[np.int32]:
    """Where each voxel goes under every symmetry of the voxels.

    They are found, not assumed: of the rotations by the bins of azimuth and their reflections, or
    of the eight symmetries of the square, those that map voxels one to one onto voxels.

    Example:
        >>> voxel_images(cf.geometry_preset("calochallenge-2")).shape
        (32, 6480)

    Args:
        geometry: the voxels.

    Returns:
        Voxel numbers, shape (n_symmetries, n_voxels): voxel v moves to images[k, v]. The first
        symmetry is the identity. It must not be written to.
    """
    return _symmetries(geometry)[0]


def symmetry_matrices(geometry: Geometry) -> NDArray[np.float64]:
    """How every symmetry of `voxel_images` moves a point (x, y).

    Args:
        geometry: the voxels.

    Returns:
        Orthogonal matrices, shape (n_symmetries, 2, 2). They must not be written to.
    """
    return _symmetries(geometry)[1]


@lru_cache(maxsize=8)
def _symmetries(geometry: Geometry) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    layer = geometry.voxel_layer
    x, y = geometry.voxel_x, geometry.voxel_y
    images, matrices = [], []
    for matrix in _candidates(geometry):
        x_image, y_image = matrix @ np.stack([x, y])
        if isinstance(geometry.layers[0], PolarLayer):
            # by bins: the centre of a whole ring lies wherever its first bin begins
            image = geometry.find_voxels(layer, x_image, y_image)
        else:
            image = _nearest(np.stack([layer, x, y], 1), np.stack([layer, x_image, y_image], 1))
        if np.array_equal(np.sort(image), np.arange(len(x))):
            images.append(image.astype(np.int32))
            matrices.append(matrix)
    found = np.stack(images), np.stack(matrices)
    for array in found:
        array.setflags(write=False)
    return found


def _nearest(centres: NDArray[Any], images: NDArray[Any]) -> NDArray[np.int64]:
    """The centre that each image lies on, -1 for those that lie on none."""
    size = np.ptp(centres[:, 1:], axis=0).max(initial=0.0)
    if not np.allclose(centres.min(0), images.min(0), rtol=0, atol=CLOSE * size):
        return np.full(len(images), -1)  # most of those that are no symmetry, at once
    scaled = [places / (1, size or 1, size or 1) for places in (centres, images)]
    away, number = cKDTree(scaled[0]).query(scaled[1], distance_upper_bound=CLOSE)
    return np.where(np.isfinite(away), number, -1)


def _candidates(geometry: Geometry) -> Iterator[NDArray[Any]]:
    """Orthogonal matrices, the identity first, shape (2, 2) each."""
    bins = [one.n_alpha for one in geometry.layers if isinstance(one, PolarLayer)]
    # a layer of one ring is the same after any rotation
    turns = math.gcd(*(n for n in bins if n > 1)) or 1 if bins else 4
    for mirror in (1, -1):
        for turn in range(turns):
            angle = 2 * math.pi * turn / turns
            cos, sin = math.cos(angle), math.sin(angle)
            if not bins:
                cos, sin = round(cos), round(sin)
            yield np.array([[cos, -sin * mirror], [sin, cos * mirror]])
