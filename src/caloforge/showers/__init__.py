"""Showers: voxel energies in sparse form, point clouds in ragged form, always validated."""

from caloforge.showers.clusters import ClusteredShowers, clustered
from caloforge.showers.points import PointShowers, unit_vectors
from caloforge.showers.ragged import Floats, check_energies, entries_of
from caloforge.showers.voxels import VoxelShowers

__all__ = [
    "ClusteredShowers",
    "Floats",
    "PointShowers",
    "Showers",
    "VoxelShowers",
    "check_energies",
    "clustered",
    "entries_of",
    "unit_vectors",
]

Showers = VoxelShowers | PointShowers
"""Showers of either kind."""
