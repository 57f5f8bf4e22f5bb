"""The symmetries of a detector, and the frame that a direction is turned into."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from caloforge.geometry import Geometry, PolarLayer, symmetry_matrices, voxel_images

__all__ = ["Turning"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Turning:
    """Symmetries of the voxels as a group, and where the voxels of each layer lie.

    Args:
        geometry: the voxels.
        symmetric: whether showers are turned; else the identity alone is left.

    Attributes:
        images: of each layer, where the symmetries move its voxels, shape (group, voxels).
        ratio: element a^-1 b of two of them, shape (group, group).
        x: of each layer, where its voxels lie [mm], shape (voxels,); 0 for a ring of one bin,
            which lies on no side.
        y: the same across.
        r: distance from the axis [mm].
    """

    def __init__(self, geometry: Geometry, symmetric: bool) -> None:
        size = None if symmetric else 1
        images = voxel_images(geometry)[:size]
        self.matrices = symmetry_matrices(geometry)[:size]
        layers = [geometry.layer_slice(i) for i in range(geometry.n_layers)]
        self.images = [images[:, part] - part.start for part in layers]
        self.ratio = self._ratios()
        sided = [
            float(not (isinstance(layer, PolarLayer) and layer.n_alpha == 1))
            for layer in geometry.layers
        ]
        self.x, self.y = (
            [a * values[part] for a, part in zip(sided, layers, strict=True)]
            for values in (geometry.voxel_x, geometry.voxel_y)
        )
        self.r = [geometry.voxel_r[part] for part in layers]
        # a direction that no reflection leaves where it is: those of n rotations and reflections
        # lie pi / n apart
        angle = 1.1 * math.pi / len(self)
        self._ahead = np.array([math.cos(angle), math.sin(angle)])

    def __len__(self) -> int:
        return len(self.matrices)

    def _ratios(self) -> Integers:
        products = np.einsum("aji,bjk->abik", self.matrices, self.matrices)
        flat = self.matrices.reshape(len(self), 4)
        return np.stack([(row.reshape(-1, 4) @ flat.T).argmax(1) for row in products])

    def frame(self, x: Floats, y: Floats) -> Integers:
        """The symmetry that moves each point nearest to one direction, shape (n,).

        So all points are moved into one sector, which the others are images of.

        Args:
            x: of the points, shape (n,).
            y: the same across.
        """
        ahead = np.einsum("i,gij->jg", self._ahead, self.matrices)
        # one by one: a product of matrices would round otherwise in another batch
        along: Floats = x[:, None] * ahead[0] + y[:, None] * ahead[1]
        return np.asarray(along.argmax(1))

    def turned(self, x: Floats, y: Floats, element: Integers) -> tuple[Floats, Floats]:
        """Points moved by symmetries, shape (n,) each."""
        (a, b), (c, d) = self.matrices[element].transpose(1, 2, 0)
        return a * x + b * y, c * x + d * y
