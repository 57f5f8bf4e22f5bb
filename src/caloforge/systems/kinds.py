"""Systems of voxels and systems of points: what becomes of the quantities that are drawn."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from caloforge.showers import PointShowers, VoxelShowers
from caloforge.systems.arguments import SamplingOptions
from caloforge.systems.base import System
from caloforge.systems.quantities import Quantities, columns_of_particles

__all__ = ["PointSystem", "VoxelSystem"]


class VoxelSystem(System):
    """A system that draws energies in the voxels of its geometry."""

    kind: ClassVar[type[Any]] = VoxelShowers

    @abstractmethod
    def assemble(self, quantities: Quantities, options: SamplingOptions) -> Tensor:
        """Voxel energies [MeV] from the sampled quantities, shape (n, n_voxels) or (n, *shape)."""

    def showers(self, quantities: Quantities, options: SamplingOptions) -> VoxelShowers:
        """The showers of drawn quantities, without what lies below the read-out threshold."""
        dense = self.assemble(quantities, options).flatten(1)
        dense = torch.where(dense < self.geometry.threshold, 0.0, dense)
        return VoxelShowers.from_dense(
            dense=dense.cpu().numpy(), geometry=self.geometry, **columns_of_particles(quantities)
        )


class PointSystem(System):
    """A system that draws clouds of points: the quantities `n_points` and `points`.

    The threshold of its geometry is one of voxels and cuts no points.
    """

    kind: ClassVar[type[Any]] = PointShowers

    def showers(self, quantities: Quantities, options: SamplingOptions) -> PointShowers:
        """The showers of drawn quantities."""
        x, y, layer, energy = quantities["points"].T.contiguous().cpu().numpy()
        n_points = quantities["n_points"].cpu().numpy()
        return PointShowers(
            offset=np.concatenate([[0], np.cumsum(n_points)]),
            x=x,
            y=y,
            layer=layer.astype(np.int64),
            energy=energy,
            geometry=self.geometry,
            **columns_of_particles(quantities),
        )
