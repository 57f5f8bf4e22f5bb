"""Geant4 showers that come with the package, so that nothing needs a download.

3,000 electrons of 1 to 100 GeV, log-uniform, in the voxels of `calochallenge-2`, made by
`caloforge.simulation.simulate`; the file says with which seed and command. The first 2,000 are
there to train on, the other 1,000 to compare with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from caloforge.data import open_showers
from caloforge.showers import VoxelShowers

__all__ = ["load", "path"]

_N_TRAIN = 2000


def path() -> Path:
    """The file of the sample."""
    return Path(__file__).with_name("electrons-1-100GeV_calochallenge-2.h5")


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
