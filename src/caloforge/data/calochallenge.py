"""The CaloChallenge's HDF5: `incident_energies` (n, 1) and `showers` (n, n_voxels), both MeV.

Beside them may lie `direction` (n, 3) and `pdg` (n,), as in the sparse form.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from caloforge.data.columns import COMPRESSION, extend
from caloforge.data.hdf5 import ShowerFileError, ShowerFileWarning
from caloforge.data.showerfile import VoxelFile
from caloforge.data.showerwriter import VoxelWriter
from caloforge.geometry import Geometry
from caloforge.showers import VoxelShowers

__all__ = ["CaloChallengeFile", "CaloChallengeWriter"]

_BLOCK = 1 << 23  # numbers of dense showers held at a time, 32 MB in float32


class CaloChallengeFile(VoxelFile):
    """A CaloChallenge file, read slice by slice, in float32 or float64.

    Attributes:
        clip_negative: whether negative voxel energies, which some generators give, are read as 0,
            with one warning; else they are refused.
    """

    geometry: Geometry
    clip_negative: bool = False

    # The official files are cut into chunks of many showers and few voxels: one run of showers
    # touches hundreds of them, and the next run the same ones.
    _chunk_cache: ClassVar[int] = 1 << 27

    def _open(self, geometry: Geometry | None) -> None:
        self._showers = self._dataset("showers")
        if self._showers.ndim != 2 or self._showers.shape[0] != len(self):
            raise ShowerFileError(
                f"{self.path}: showers must have shape ({len(self)}, n_voxels) for {len(self)} "
                f"incident energies, got {self._showers.shape}"
            )
        self.geometry = self._find_geometry(geometry, int(self._showers.shape[1]))

    @property
    def _at_once(self) -> int:
        return max(1, _BLOCK // self.geometry.n_voxels)

    def _read(self, start: int, stop: int) -> VoxelShowers:
        block = self._showers[start:stop]
        if self.clip_negative and (block < 0).any():
            # One text for the whole file, so that it is shown once.
            warnings.warn(
                f"{self.path} has negative voxel energies, which are read as 0",
                ShowerFileWarning,
                stacklevel=2,
            )
            block = np.maximum(block, 0)  # NaN stays, and is refused
        return VoxelShowers.from_dense(
            dense=block, geometry=self.geometry, **self._read_particles(start, stop)
        )


class CaloChallengeWriter(VoxelWriter):
    """Writes voxel showers as the CaloChallenge does."""

    def __init__(
        self,
        path: str | Path,
        geometry: Geometry,
        attributes: Mapping[str, Any],
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(path, attributes, geometry, dtype=dtype)
        n_voxels = geometry.n_voxels
        self._showers = self._file.create_dataset(
            "showers",
            (0, n_voxels),
            dtype,
            maxshape=(None, n_voxels),
            chunks=(max(1, (1 << 18) // n_voxels), n_voxels),  # about 1 MB
            **COMPRESSION,
        )

    def _append(self, showers: VoxelShowers) -> None:
        n_voxels = showers.geometry.n_voxels
        for block in showers.batches(max(1, _BLOCK // n_voxels)):
            extend(self._showers, block.dense().reshape(len(block), n_voxels))
