"""Coarse voxels: neighbouring voxels of a regular geometry taken together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from caloforge.geometry.layers import CartesianLayer, Integers, Layer, PolarLayer
from caloforge.geometry.readout import Geometry

__all__ = ["Coarsening"]


@dataclass(frozen=True)
class Coarsening:
    """Groups the voxels of a geometry into coarse voxels (SuperCalo, section III A).

    Choice A of the paper, 1 r x 2 alpha x 5 z, is `Coarsening(geometry, (5, 2, 1))`, choice B,
    3 r x 4 alpha x 1 z, is `Coarsening(geometry, (1, 4, 3))`.

    Args:
        fine: a regular geometry.
        factors: fine voxels in one coarse one along (layer, alpha, r) or (layer, x, y).

    Raises:
        ValueError: for an irregular geometry, or factors that do not divide its axes.
    """

    fine: Geometry
    factors: tuple[int, int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", tuple(int(factor) for factor in self.factors))
        shape = self.fine.shape  # refuses irregular geometries
        if np.shape(self.factors) != (3,) or min(self.factors) < 1:
            raise ValueError(
                "factors must be three whole numbers of 1 or more, along the layers and the two "
                f"axes of a layer, got {self.factors}"
            )
        wrong = [i for i in range(3) if shape[i] % self.factors[i]]
        if wrong:
            raise ValueError(
                f"factors {self.factors} do not divide the {shape} voxels of {self.fine.name}: "
                f"along axis {wrong[0]} take a divisor of {shape[wrong[0]]}"
            )

    @classmethod
    def nearest(cls, fine: Geometry, factors: tuple[int, int, int]) -> Coarsening:
        """The coarsening whose factors divide the axes and are nearest to the given ones.

        Raises:
            ValueError: for an irregular geometry.
        """
        z, a, b = (_divisor(n, factor) for n, factor in zip(fine.shape, factors, strict=True))
        return cls(fine, (z, a, b))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Coarse voxels along (layer, alpha, r) or (layer, x, y)."""
        z, a, b = (n // f for n, f in zip(self.fine.shape, self.factors, strict=True))
        return z, a, b

    @property
    def n_coarse(self) -> int:
        """Number of coarse voxels."""
        return int(np.prod(self.shape))

    @property
    def n_fine(self) -> int:
        """Number of fine voxels in one coarse voxel."""
        return int(np.prod(self.factors))

    @cached_property
    def geometry(self) -> Geometry:
        """The coarse voxels as a geometry: layers lie in the middle of those taken together."""
        z, a, b = self.factors
        depths = np.asarray(self.fine.z).reshape(-1, z).mean(1)
        return dataclasses.replace(
            self.fine,
            name=f"{self.fine.name}-{z}x{a}x{b}",
            layers=(_coarse_layer(self.fine.layers[0], a, b),) * len(depths),
            z=tuple(depths.tolist()),
            layer_ids=tuple(range(len(depths))),
        )

    @cached_property
    def fine_index(self) -> Integers:
        """Flat index of the fine voxels of each coarse one, shape (n_coarse, n_fine).

        Coarse voxels in the order of `geometry`, in each of them the fine ones in the order of
        `fine`: (layer, alpha, r) or (layer, x, y), the last fastest.
        """
        (z, a, b), (n_z, n_a, n_b) = self.factors, self.shape
        index = np.arange(self.fine.n_voxels).reshape(n_z, z, n_a, a, n_b, b)
        ordered = index.transpose(0, 2, 4, 1, 3, 5).reshape(self.n_coarse, self.n_fine)
        ordered.setflags(write=False)
        return ordered

    @cached_property
    def coarse_index(self) -> Integers:
        """The coarse voxel of each fine one, shape (n_voxels,): the inverse of `fine_index`."""
        coarse = np.empty(self.fine.n_voxels, dtype=np.int64)
        coarse[self.fine_index] = np.arange(self.n_coarse)[:, None]
        coarse.setflags(write=False)
        return coarse

    @cached_property
    def neighbours(self) -> Integers:
        """The neighbours of each coarse voxel, shape (n_coarse, 6), -1 where there is none.

        In the order (alpha - 1, alpha + 1, r - 1, r + 1, layer - 1, layer + 1), or x for alpha and
        y for r. Alpha wraps around, unless it has one coarse bin: no voxel is its own neighbour.
        """
        index = np.arange(self.n_coarse).reshape(self.shape)
        columns = []
        for axis in (1, 2, 0):
            for step in (-1, 1):
                beside = np.roll(index, -step, axis)
                border = [slice(None)] * 3
                border[axis] = slice(0, 1) if step < 0 else slice(-1, None)
                wraps = axis == self.fine.cyclic_axis and self.shape[axis] > 1
                if not wraps:
                    beside[tuple(border)] = -1
                columns.append(beside.ravel())
        found = np.stack(columns, 1)
        found.setflags(write=False)
        return found


def _coarse_layer(layer: Layer, a: int, b: int) -> Layer:
    if isinstance(layer, PolarLayer):
        return PolarLayer(layer.r_edges[::b], layer.n_alpha // a)
    return CartesianLayer(layer.x_edges[::a], layer.y_edges[::b])


def _divisor(number: int, near: int) -> int:
    """The divisor of a number that is nearest to another one, the smaller of two."""
    divisors = [divisor for divisor in range(1, number + 1) if number % divisor == 0]
    return min(divisors, key=lambda divisor: (abs(divisor - near), divisor))
