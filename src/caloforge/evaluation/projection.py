"""Point clouds as showers in voxels, projected run by run as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeGuard, cast, overload

from caloforge.evaluation.observables import ShowerSource
from caloforge.geometry import Geometry
from caloforge.showers import Floats, Particles, PointShowers, VoxelShowers

__all__ = ["PointSource", "Projected", "holds_points", "in_voxels"]

RUN = 128  # showers projected at a time: some half a million points


class PointSource(Protocol):
    """Point clouds in memory or an open file of them: what can be read run by run."""

    @property
    def energy_inc(self) -> Floats: ...

    @property
    def particles(self) -> Particles: ...

    @property
    def geometry(self) -> Geometry: ...

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, selection: slice) -> PointShowers: ...
    @overload
    def __getitem__(self, selection: Any) -> Any: ...


def holds_points(showers: ShowerSource | PointSource) -> TypeGuard[PointSource]:
    """Whether the showers are point clouds."""
    return isinstance(showers[:0], PointShowers)


@dataclass(frozen=True, eq=False)
class Projected:
    """Point clouds as showers in the voxels of a geometry: a source like any file of these.

    Args:
        points: the point clouds, in memory or an open file.
        geometry: the voxels.

    Raises:
        ValueError: if the voxels do not lie in the layers of the points.
    """

    points: PointSource
    geometry: Geometry

    def __post_init__(self) -> None:
        self.points.geometry.check_same_layers(self.geometry)

    def __len__(self) -> int:
        return len(self.points)

    @overload
    def __getitem__(self, selection: slice) -> VoxelShowers: ...
    @overload
    def __getitem__(self, selection: Any) -> Any: ...
    def __getitem__(self, selection: slice) -> VoxelShowers:
        """Project a run of showers."""
        start, stop, step = selection.indices(len(self))
        if step != 1:
            raise ValueError(f"projected showers are read in runs without step, got step {step}")
        starts = range(start, max(stop, start + 1), RUN)  # at least one, were it empty
        return VoxelShowers.concatenate(
            [
                self.points[first : max(start, min(first + RUN, stop))].project(self.geometry)
                for first in starts
            ]
        )

    @property
    def energy_inc(self) -> Floats:
        """Incident energies [MeV], shape (n,)."""
        return self.points.energy_inc

    @property
    def particles(self) -> Particles:
        """The incident particles, one a shower."""
        return self.points.particles

    @property
    def path(self) -> Path | None:
        """The file of the points, None for points in memory."""
        return getattr(self.points, "path", None)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The metadata of the file of points."""
        return getattr(self.points, "attributes", {})


def in_voxels(showers: ShowerSource | PointSource, geometry: Geometry) -> ShowerSource:
    """Point clouds projected into a geometry; showers in voxels as they are."""
    if holds_points(showers):
        return Projected(showers, geometry)
    return cast("ShowerSource", showers)
