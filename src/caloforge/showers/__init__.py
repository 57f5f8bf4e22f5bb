"""Showers: voxel energies in sparse form, point clouds in ragged form, always validated."""

from caloforge.showers.clusters import ClusteredShowers, clustered
from caloforge.showers.fingerprint import fingerprint
from caloforge.showers.plausible import (
    ImpossibleShowerError,
    UnitsWarning,
    check_incident,
    check_units,
)
from caloforge.showers.points import PointShowers, unit_vectors
from caloforge.showers.ragged import Floats, RaggedShowers, checked_rows, entries_of
from caloforge.showers.source import ShowerSource, View, coarse, held, projected
from caloforge.showers.voxels import VoxelShowers

__all__ = [
    "ClusteredShowers",
    "Floats",
    "ImpossibleShowerError",
    "PointShowers",
    "RaggedShowers",
    "ShowerSource",
    "Showers",
    "UnitsWarning",
    "View",
    "VoxelShowers",
    "check_incident",
    "check_units",
    "checked_rows",
    "clustered",
    "coarse",
    "entries_of",
    "fingerprint",
    "held",
    "projected",
    "unit_vectors",
]

Showers = VoxelShowers | PointShowers
"""Showers of either kind."""
