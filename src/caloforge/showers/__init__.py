"""Showers: voxel energies in sparse form, point clouds in ragged form, and their particles."""

from caloforge.showers.clusters import ClusteredShowers, clustered
from caloforge.showers.fingerprint import fingerprint
from caloforge.showers.hits import hit_columns, to_awkward
from caloforge.showers.particles import ALONG_DEPTH, Floats, Particles
from caloforge.showers.plausible import (
    ImpossibleShowerError,
    UnitsWarning,
    check_incident,
    check_units,
)
from caloforge.showers.points import PointShowers
from caloforge.showers.ragged import RaggedShowers, checked_rows, entries_of, runs
from caloforge.showers.source import ShowerSource, View, coarse, held, projected
from caloforge.showers.voxels import VoxelShowers

__all__ = [
    "ALONG_DEPTH",
    "ClusteredShowers",
    "Floats",
    "ImpossibleShowerError",
    "Particles",
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
    "hit_columns",
    "projected",
    "runs",
    "to_awkward",
]

Showers = VoxelShowers | PointShowers
"""Showers of either kind."""
