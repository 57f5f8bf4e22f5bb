"""Showers: voxel energies in sparse form, point clouds in ragged form, always validated."""

from caloforge.showers.clusters import ClusteredShowers, clustered
from caloforge.showers.fingerprint import fingerprint
from caloforge.showers.hits import hit_columns, to_awkward
from caloforge.showers.plausible import (
    ImpossibleShowerError,
    UnitsWarning,
    check_incident,
    check_units,
)
from caloforge.showers.points import PointShowers, unit_vectors
from caloforge.showers.ragged import Floats, entries_of, runs
from caloforge.showers.voxels import VoxelShowers

__all__ = [
    "ClusteredShowers",
    "Floats",
    "ImpossibleShowerError",
    "PointShowers",
    "Showers",
    "UnitsWarning",
    "VoxelShowers",
    "check_incident",
    "check_units",
    "clustered",
    "entries_of",
    "fingerprint",
    "hit_columns",
    "runs",
    "to_awkward",
    "unit_vectors",
]

Showers = VoxelShowers | PointShowers
"""Showers of either kind."""
