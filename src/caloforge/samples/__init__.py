"""Geant4 showers that come with the package, so that nothing needs a download.

3,000 electrons of 1 to 100 GeV, log-uniform, in the voxels of `calochallenge-2`, made by
`caloforge.simulation.simulate`; the file says with which seed and command. The first 2,000 are
there to train on, the other 1,000 to compare with: no model that comes with caloforge has learned
from these.

And 60 photons of 10 to 100 GeV, uniform, as clouds of 213,087 points in the layers of `ild-ecal`,
on a grid of 0.83 mm; the file says how they were made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from caloforge.data import open_points, open_showers
from caloforge.showers import PointShowers, VoxelShowers

__all__ = ["load", "load_points", "path", "points_path"]

_N_TRAIN = 2000


def path() -> Path:
    """The file of the sample."""
    return Path(__file__).with_name("electrons-1-100GeV_calochallenge-2.h5")


def points_path() -> Path:
    """The file of the point clouds."""
    return Path(__file__).with_name("photons-10-100GeV_ild-ecal_points.h5")


def load_points() -> PointShowers:
    """Read the point clouds."""
    with open_points(points_path()) as file:
        return file[:]


def load(part: Literal["all", "train", "test"] = "all") -> VoxelShowers:
    """Read the sample, or the part of it to train on or to test with.

    Raises:
        ValueError: for another part.
    """
    parts = {
        "all": slice(None),
        "train": slice(0, _N_TRAIN),
        "test": slice(_N_TRAIN, None),
    }
    if part not in parts:
        raise ValueError(f"the parts of the sample are {', '.join(parts)}, got {part!r}")
    with open_showers(path()) as file:
        return file[parts[part]]
