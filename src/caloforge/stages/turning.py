"""The symmetries of a detector, and the frame that a direction is turned into."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from caloforge.geometry import Geometry, PolarLayer, symmetry_matrices, voxel_images

__all__ = ["TURN", "Rotations", "Turning", "VoxelTurning"]

TURN = 1 << 16  # steps of a whole turn
ROUNDING = 1e-3  # two points so nearly in line are in line: a few steps of a rotation
ASIDE = 1e-2  # of what decides where the nearer centre does not, beside it
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Turning(Protocol):
    """Rotations and reflections about the axis as a group, of which each has a number.

    The first, number 0, is the identity.
    """

    def __len__(self) -> int:
        """How many there are."""

    def frame(self, x: Floats, y: Floats, far_x: Floats, far_y: Floats) -> Integers:
        """The element that moves each point into one part of the plane, shape (n,).

        All parts are images of that one, so that a moved point has the same image.

        Args:
            x: of the points, shape (n,).
            y: the same across.
            far_x: of points that decide where the first ones do not, shape (n,).
            far_y: the same across.
        """

    def between(self, frame: Integers, own: Integers) -> Integers:
        """The element that moves what is in its own frame into another: frame^-1 own."""

    def turned(self, x: Floats, y: Floats, element: Integers) -> tuple[Floats, Floats]:
        """Points moved by elements, shape (n,) each."""


class VoxelTurning:
    """Symmetries of the voxels, and where the voxels of each layer lie.

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

    def frame(self, x: Floats, y: Floats, far_x: Floats, far_y: Floats) -> Integers:
        """The symmetry that moves each point nearest to one direction, see `Turning.frame`.

        A point may lie on the axis of a reflection: then the far one decides.
        """
        ahead = np.einsum("i,gij->jg", self._ahead, self.matrices)
        x, y = x + ASIDE * far_x, y + ASIDE * far_y
        # one by one: a product of matrices would round otherwise in another batch
        along: Floats = x[:, None] * ahead[0] + y[:, None] * ahead[1]
        return np.asarray(along.argmax(1))

    def between(self, frame: Integers, own: Integers) -> Integers:
        """See `Turning.between`."""
        return np.asarray(self.ratio[frame, own])

    def turned(self, x: Floats, y: Floats, element: Integers) -> tuple[Floats, Floats]:
        """Points moved by symmetries, shape (n,) each."""
        (a, b), (c, d) = self.matrices[element].transpose(1, 2, 0)
        return a * x + b * y, c * x + d * y


class Rotations:
    """Rotations by any angle, in steps of 1 / 65,536 of a turn, each with or without a reflection.

    An azimuth phi goes to c + phi, or to c - phi where it is mirrored. Element c + 65,536 is the
    mirrored one.

    Args:
        symmetric: whether showers are turned; else the identity alone is left.
    """

    def __init__(self, symmetric: bool) -> None:
        self.symmetric = symmetric

    def __len__(self) -> int:
        return 2 * TURN if self.symmetric else 1

    def frame(self, x: Floats, y: Floats, far_x: Floats, far_y: Floats) -> Integers:
        """Moves each point onto the x axis, and the far one to y > 0, see `Turning.frame`."""
        if not self.symmetric:
            return np.zeros(len(x), np.int64)
        x, y = x + ASIDE * far_x, y + ASIDE * far_y
        least = ROUNDING * np.hypot(x, y) * np.hypot(far_x, far_y)
        mirrored = x * far_y - y * far_x < -least
        step = np.rint(np.arctan2(y, x) * (TURN / (2 * math.pi))).astype(np.int64)
        return np.where(mirrored, step % TURN + TURN, -step % TURN)

    def between(self, frame: Integers, own: Integers) -> Integers:
        """See `Turning.between`."""
        step = (own - frame) % TURN
        mirrored = frame >= TURN
        step = np.where(mirrored, -step % TURN, step)
        return np.where(mirrored != (own >= TURN), step + TURN, step)

    def turned(self, x: Floats, y: Floats, element: Integers) -> tuple[Floats, Floats]:
        """Points moved by elements, shape (n,) each."""
        angle = element * (2 * math.pi / TURN)
        cos, sin = np.cos(angle), np.sin(angle)
        y = np.where(element >= TURN, -y, y)
        return cos * x - sin * y, sin * x + cos * y
