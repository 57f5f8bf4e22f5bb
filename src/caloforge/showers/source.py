"""Sources of showers: in memory, in files, or a view of either, which need not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from caloforge.geometry import Coarsening, Geometry
from caloforge.showers.fingerprint import RUN, fingerprint
from caloforge.showers.particles import Particles
from caloforge.showers.points import PointShowers
from caloforge.showers.ragged import RaggedShowers
from caloforge.showers.voxels import VoxelShowers

__all__ = ["ShowerSource", "View", "coarse", "held", "projected"]

Kind = TypeVar("Kind", bound=RaggedShowers)
Given = TypeVar("Given", bound=RaggedShowers)
Kind_co = TypeVar("Kind_co", bound=RaggedShowers, covariant=True)

BUDGET = 4 << 30  # bytes


class ShowerSource(Protocol[Kind_co]):
    """Showers that are taken by their numbers, or block by block.

    Showers in memory and open files are sources; `open_source` is one of several files, and `View`
    one of what is made of another's showers. A part of a source is an array of numbers.
    """

    @property
    def geometry(self) -> Geometry:
        """Of the showers."""

    @property
    def particles(self) -> Particles:
        """The incident particles, n."""

    def __len__(self) -> int:
        """Number of showers."""

    def take(self, rows: NDArray[np.integer[Any]], /) -> Kind_co:
        """The showers of these numbers, in this order, repeated where they are.

        Raises:
            IndexError: for a number that is not there.
        """

    def blocks(self, size: int, /) -> Iterator[Kind_co]:
        """All showers in order, in runs of `size`, the last of them shorter."""

    def fingerprint(self) -> str:
        """Hash of all numbers of the showers, see `fingerprint`."""


@dataclass(frozen=True, eq=False)
class View(Generic[Given, Kind]):
    """What is made of the showers of a source, whenever it is asked for.

    Args:
        source: the showers.
        change: makes others of some of them, one of each, whatever the others are.
        geometry: of the others.
    """

    source: ShowerSource[Given]
    change: Callable[[Given], Kind]
    geometry: Geometry

    def __len__(self) -> int:
        return len(self.source)

    @property
    def particles(self) -> Particles:
        """The incident particles, n."""
        return self.source.particles

    def take(self, rows: NDArray[np.integer[Any]], /) -> Kind:
        """See `ShowerSource`."""
        return self.change(self.source.take(rows))

    def blocks(self, size: int, /) -> Iterator[Kind]:
        """See `ShowerSource`."""
        return map(self.change, self.source.blocks(size))

    def fingerprint(self) -> str:
        """See `ShowerSource`."""
        return fingerprint(self)


def projected(
    points: ShowerSource[PointShowers], geometry: Geometry
) -> View[PointShowers, VoxelShowers]:
    """Point clouds as showers in the voxels of a geometry, see `PointShowers.project`.

    Raises:
        ValueError: if the voxels do not lie in the layers of the points.
    """
    points.geometry.check_same_layers(geometry)
    return View(points, partial(PointShowers.project, geometry=geometry), geometry)


def coarse(
    showers: ShowerSource[VoxelShowers], coarsening: Coarsening
) -> View[VoxelShowers, VoxelShowers]:
    """Showers in coarse voxels, see `VoxelShowers.coarsen`."""
    change = partial(VoxelShowers.coarsen, coarsening=coarsening)
    return View(showers, change, coarsening.geometry)


def held(source: ShowerSource[Any], budget: int = BUDGET) -> ShowerSource[Any]:
    """The showers of a source in memory, if they need no more than a budget; else the source.

    Args:
        source: any.
        budget: memory for the showers, in their sparse form [bytes].
    """
    if isinstance(source, RaggedShowers):
        return source
    parts, size = [], 0
    for block in source.blocks(RUN):
        size += block.nbytes
        if size > budget:
            return source
        parts.append(block)
    whole: ShowerSource[Any] = (
        type(parts[0]).concatenate(parts) if parts else source.take(np.arange(0))
    )
    return whole
