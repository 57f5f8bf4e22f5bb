"""Systems of voxels and systems of points: what becomes of the quantities that are sampled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.quantities import Quantities, columns_of_particles
from caloforge.cascade.system import System
from caloforge.geometry import Geometry
from caloforge.showers import PointShowers, Showers, VoxelShowers

__all__ = ["PointSystem", "Upsamples", "VoxelSystem", "point_showers", "voxel_showers"]


@runtime_checkable
class Upsamples(Protocol):
    """What a system can do that samples the fine voxels of coarse ones, such as SuperCalo."""

    def upsample(
        self,
        coarse: Iterable[Showers],
        *,
        seed: int,
        first: int = 0,
        device: torch.device | str = "auto",
        options: Mapping[str, Any] | None = None,
    ) -> Iterator[Showers]:
        """Sample the fine voxels of coarse showers, batch by batch.

        Args:
            coarse: batches of showers in the coarse voxels, or in the fine ones.
            seed: every shower has a generator of its own, made of the seed and its number.
            first: number of the first shower.
            device: where to compute.
            options: what a user chooses at generation.

        Raises:
            ValueError: for showers that do not fit.
        """


class VoxelSystem(System):
    """A system that samples energies in the voxels of its geometry."""

    kind: type[Any] = VoxelShowers

    def assemble(self, quantities: Quantities, options: SamplingOptions) -> Tensor:
        """Voxel energies [MeV], shape (n, n_voxels) or (n, *shape); by default `showers`."""
        return quantities["showers"]

    def showers(self, quantities: Quantities, options: SamplingOptions) -> VoxelShowers:
        """The showers of sampled quantities, without what lies below the read-out threshold."""
        return voxel_showers(quantities, self.assemble(quantities, options), self.geometry)


class PointSystem(System):
    """A system that samples clouds of points: the quantities `n_points` and `points`.

    The threshold of its geometry is one of voxels and cuts no points.
    """

    kind: type[Any] = PointShowers

    def showers(self, quantities: Quantities, options: SamplingOptions) -> PointShowers:
        """The showers of sampled quantities."""
        return point_showers(quantities, self.geometry)


def voxel_showers(quantities: Quantities, dense: Tensor, geometry: Geometry) -> VoxelShowers:
    """The showers of voxel energies, without those below the read-out threshold.

    Args:
        quantities: with those of the incident particles.
        dense: voxel energies [MeV], shape (n, n_voxels) or (n, *geometry.shape).
        geometry: the voxels.
    """
    dense = dense.flatten(1)
    dense = torch.where(dense < geometry.threshold, 0.0, dense)
    return VoxelShowers.from_dense(
        dense=dense.cpu().numpy(), geometry=geometry, **columns_of_particles(quantities)
    )


def point_showers(quantities: Quantities, geometry: Geometry) -> PointShowers:
    """The showers of `n_points` and `points`, and of the quantities of incident particles."""
    x, y, layer, energy = quantities["points"].T.contiguous().cpu().numpy()
    n_points = quantities["n_points"].cpu().numpy()
    return PointShowers(
        offset=np.concatenate([[0], np.cumsum(n_points)]),
        x=x,
        y=y,
        layer=layer.astype(np.int64),
        energy=energy,
        geometry=geometry,
        **columns_of_particles(quantities),
    )
