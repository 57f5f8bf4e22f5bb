"""Showers: voxel energies in sparse form, point clouds in ragged form, always validated."""

from caloforge.showers.points import PointShowers
from caloforge.showers.ragged import Floats, check_energies
from caloforge.showers.voxels import VoxelShowers

__all__ = ["Floats", "PointShowers", "VoxelShowers", "check_energies"]
