"""Hits for ROOT: one entry of a TTree a shower, its hits in jagged arrays."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.data.replacing import replacing
from caloforge.showers import PointShowers, VoxelShowers

__all__ = ["write_root"]

TREE = "showers"


def write_root(path: str | Path, showers: VoxelShowers | PointShowers) -> None:
    """Write showers as a TTree `showers`, complete or not at all.

    Branches: of the incident particle `energy_inc` [MeV], `direction` (x, y, z) and `pdg`; `nhit`,
    and of each hit `hit_x`, `hit_y` [mm] from the impact point, `hit_layer`, `hit_energy` [MeV],
    and for voxels their number `hit_voxel` and their depth `hit_z` [mm].

    Raises:
        ImportError: if uproot or awkward is not installed.
        ValueError: if the folder does not exist.
    """
    uproot, awkward = _uproot()
    with replacing(path) as temporary, uproot.recreate(temporary) as file:
        for number, batch in enumerate(_batches(showers)):
            columns = awkward.Array(_hits(batch))
            hits = awkward.unflatten(columns, np.diff(batch.offset))
            entries = {**batch.of_particles(), "hit": hits}
            if number:
                file[TREE].extend(entries)
            else:
                file.mktree(TREE, entries)


def _batches(showers: VoxelShowers | PointShowers) -> Any:
    """Runs of showers, one empty run if there are none, so that the branches are there."""
    return showers.batches(1000) if len(showers) else iter([showers])


def _hits(showers: VoxelShowers | PointShowers) -> dict[str, Any]:
    if isinstance(showers, PointShowers):
        return {name: getattr(showers, name) for name in showers.columns}
    geometry, index = showers.geometry, showers.index.astype(np.int32)
    return {
        "voxel": index,
        "x": geometry.voxel_x[index].astype(np.float32),
        "y": geometry.voxel_y[index].astype(np.float32),
        "z": geometry.voxel_z[index].astype(np.float32),
        "layer": geometry.voxel_layer[index].astype(np.int32),
        "energy": showers.energy,
    }


def _uproot() -> tuple[Any, Any]:
    try:
        return importlib.import_module("uproot"), importlib.import_module("awkward")
    except ImportError as error:
        raise ImportError(
            "files for ROOT need uproot and awkward: pip install 'caloforge[root]'"
        ) from error
