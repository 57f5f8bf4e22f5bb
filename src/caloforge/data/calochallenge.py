"""The CaloChallenge's HDF5: `incident_energies` (n, 1) and `showers` (n, n_voxels), both MeV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.data.showerfile import (
    COMPRESSION,
    ShowerFile,
    ShowerFileError,
    ShowerWriter,
    extend,
)
from caloforge.geometry import Geometry
from caloforge.showers import VoxelShowers

__all__ = ["CaloChallengeFile", "CaloChallengeWriter"]


class CaloChallengeFile(ShowerFile[VoxelShowers]):
    """A CaloChallenge file, read slice by slice, in float32 or float64."""

    geometry: Geometry

    def _open(self, geometry: Geometry | None) -> None:
        self._showers = self._dataset("showers")
        if self._showers.ndim != 2 or self._showers.shape[0] != len(self):
            raise ShowerFileError(
                f"{self.path}: showers must have shape ({len(self)}, n_voxels) for {len(self)} "
                f"incident energies, got {self._showers.shape}"
            )
        self.geometry = self._find_geometry(geometry, int(self._showers.shape[1]))

    def _read(self, start: int, stop: int) -> VoxelShowers:
        return VoxelShowers.from_dense(
            self._incident(start, stop), self._showers[start:stop], self.geometry
        )


class CaloChallengeWriter(ShowerWriter[VoxelShowers]):
    """Writes voxel showers as the CaloChallenge does, float32."""

    def __init__(
        self, path: str | Path, geometry: Geometry, attributes: Mapping[str, Any]
    ) -> None:
        super().__init__(path, attributes)
        self._name_geometry(geometry)
        n_voxels = geometry.n_voxels
        self._showers = self._file.create_dataset(
            "showers",
            (0, n_voxels),
            np.float32,
            maxshape=(None, n_voxels),
            chunks=(max(1, (1 << 18) // n_voxels), n_voxels),  # about 1 MB
            **COMPRESSION,
        )

    def append(self, showers: VoxelShowers) -> None:
        """Write showers behind those already written."""
        extend(self._showers, showers.dense().reshape(len(showers), -1))
        extend(self._incident, showers.energy_inc[:, None])
