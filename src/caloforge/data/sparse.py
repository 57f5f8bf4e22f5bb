"""The sparse HDF5 form: only voxels with energy, or points, are stored.

`incident_energies` (n, 1) [MeV]; `voxels/offset` (n + 1,), `voxels/index` (nnz,) in the
CaloChallenge's order, `voxels/energy` (nnz,) [MeV]; or `points/offset`, `points/x`, `points/y`
[mm], or integers with the attributes `pitch_mm` and `origin_mm`, `points/layer`, `points/energy`.
Where the incident particles do not all fly along the depth, `direction` (n, 3), unit vectors; where
their kinds are known, `pdg` (n,), codes of the Particle Data Group.
Voxels of a shower rise in index; files of others may hold them in any order, and repeatedly.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from caloforge.data.columns import extend, growing
from caloforge.data.hdf5 import ShowerFileError
from caloforge.data.showerfile import ShowerFile, VoxelFile
from caloforge.data.showerwriter import ShowerWriter, VoxelWriter
from caloforge.geometry import Geometry
from caloforge.showers import PointShowers, VoxelShowers

__all__ = ["PointFile", "PointWriter", "SparseFile", "SparseWriter"]


class _RaggedColumns:
    """Columns of one group of a file that share an `offset` dataset.

    Args:
        offset: the dataset of offsets.
        columns: the datasets of entries, by name.
        n_showers: number of showers in the file.
    """

    def __init__(self, offset: h5py.Dataset, columns: Mapping[str, h5py.Dataset], n_showers: int):
        self.offset, self.columns = offset, columns
        if offset.shape != (n_showers + 1,) or offset.dtype.kind not in "iu":
            raise ValueError(
                f"{offset.name} must hold {n_showers + 1} integers for {n_showers} incident "
                f"energies, got {offset.dtype} of shape {offset.shape}"
            )
        first, n_entries = int(offset[0]), int(offset[-1])
        if first != 0:
            raise ValueError(f"{offset.name} must begin at 0, got {first}")
        for column in columns.values():
            if column.shape != (n_entries,):
                raise ValueError(
                    f"{column.name} must have shape ({n_entries},) as offset says, "
                    f"got {column.shape}"
                )

    def read(self, start: int, stop: int) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
        """Offsets from 0 and the columns' entries of showers start … stop - 1."""
        offset = np.asarray(self.offset[start : stop + 1], dtype=np.int64)
        first, last = int(offset[0]), int(offset[-1])
        return offset - first, {name: c[first:last] for name, c in self.columns.items()}


class SparseFile(VoxelFile):
    """A sparse file of voxel showers, read slice by slice."""

    def _open(self, geometry: Geometry | None) -> None:
        columns = {name: self._dataset(f"voxels/{name}") for name in VoxelShowers.columns}
        self._entries = _RaggedColumns(self._dataset("voxels/offset"), columns, len(self))
        self.geometry = self._find_geometry(geometry)

    def _read(self, start: int, stop: int) -> VoxelShowers:
        offset, columns = self._entries.read(start, stop)
        return VoxelShowers(
            offset=offset,
            geometry=self.geometry,
            **self._read_particles(start, stop),
            **columns,
        )


class SparseWriter(VoxelWriter):
    """Writes voxel showers in the sparse form.

    Args:
        path: where to write.
        geometry: the voxels.
        attributes: written to the root of the file.
        mantissa_bits: if given, energies are rounded to so many of float32's 23 bits of mantissa,
            which changes them by 2**-(mantissa_bits + 1) of their value at most and makes the
            file much smaller.
        dtype: precision of the energies.

    Raises:
        ValueError: if mantissa_bits does not lie in 1 … 23, or as for `ShowerWriter`.
    """

    def __init__(
        self,
        path: str | Path,
        geometry: Geometry,
        attributes: Mapping[str, Any],
        *,
        mantissa_bits: int | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self._mantissa_bits = check_mantissa(mantissa_bits)
        super().__init__(path, attributes, geometry, dtype=dtype)
        group = self._file.create_group("voxels")
        index_type = np.uint16 if geometry.n_voxels <= 2**16 else np.uint32
        self._offset = growing(group, "offset", np.int64, chunk=1 << 12)
        self._index = growing(group, "index", index_type)
        self._energy = growing(group, "energy", dtype)
        extend(self._offset, np.zeros(1, np.int64))

    def _append(self, showers: VoxelShowers) -> None:
        extend(self._offset, showers.offset[1:] + self._index.shape[0])
        extend(self._index, showers.index)
        extend(self._energy, _rounded(showers.energy, self._mantissa_bits))


class PointFile(ShowerFile[PointShowers]):
    """A sparse file of point clouds, read slice by slice."""

    _usual_geometry: ClassVar[str] = "ild-ecal"

    def _open(self, geometry: Geometry | None) -> None:
        columns = {name: self._dataset(f"points/{name}") for name in PointShowers.columns}
        self._points = _RaggedColumns(self._dataset("points/offset"), columns, len(self))
        self._grids = {name: self._grid(columns[name]) for name in ("x", "y")}
        self.geometry = self._find_geometry(geometry)

    def _grid(self, column: h5py.Dataset) -> tuple[float, float] | None:
        """Origin and pitch [mm] of a column of grid numbers, None for one in mm."""
        if column.dtype.kind not in "iu":
            return None
        if not {"pitch_mm", "origin_mm"} <= set(column.attrs):
            raise ShowerFileError(
                f"{self.path}: {column.name} holds grid numbers without the attributes "
                "pitch_mm and origin_mm"
            )
        return float(column.attrs["origin_mm"]), float(column.attrs["pitch_mm"])

    def _read(self, start: int, stop: int) -> PointShowers:
        offset, columns = self._points.read(start, stop)
        for name, grid in self._grids.items():
            if grid is not None:
                origin, pitch = grid
                columns[name] = (origin + columns[name] * pitch).astype(np.float32)
        return PointShowers(
            offset=offset,
            geometry=self.geometry,
            **self._read_particles(start, stop),
            **columns,
        )


class PointWriter(ShowerWriter[PointShowers]):
    """Writes point clouds in the sparse form, positions in float32 mm.

    Args:
        path: where to write.
        geometry: the detector in whose layers the points lie.
        attributes: written to the root of the file.
        mantissa_bits: as for `SparseWriter`.

    Raises:
        ValueError: as for `SparseWriter`.
    """

    def __init__(
        self,
        path: str | Path,
        geometry: Geometry,
        attributes: Mapping[str, Any],
        *,
        mantissa_bits: int | None = None,
    ) -> None:
        self._mantissa_bits = check_mantissa(mantissa_bits)
        super().__init__(path, attributes, geometry)
        group = self._file.create_group("points")
        self._offset = growing(group, "offset", np.int64, chunk=1 << 12)
        self._columns = {
            name: growing(group, name, np.uint8 if name == "layer" else np.float32)
            for name in PointShowers.columns
        }
        extend(self._offset, np.zeros(1, np.int64))

    def _append(self, showers: PointShowers) -> None:
        extend(self._offset, showers.offset[1:] + self._columns["x"].shape[0])
        for name in ("x", "y", "layer"):
            extend(self._columns[name], getattr(showers, name))
        extend(self._columns["energy"], _rounded(showers.energy, self._mantissa_bits))


def check_mantissa(mantissa_bits: int | None) -> int | None:
    """The same number, if energies can be rounded to so many bits.

    Raises:
        ValueError: if it does not lie in 1 … 23.
    """
    if mantissa_bits is not None and not 1 <= mantissa_bits <= 23:
        raise ValueError(f"mantissa_bits must lie in 1 … 23, got {mantissa_bits}")
    return mantissa_bits


def _rounded(energy: NDArray[Any], mantissa_bits: int | None) -> NDArray[Any]:
    if mantissa_bits is None:
        return energy
    mantissa, exponent = np.frexp(energy)  # 0.5 <= mantissa < 1: its first bit is never stored
    scale = energy.dtype.type(2 ** (mantissa_bits + 1))
    rounded: NDArray[Any] = np.ldexp(np.round(mantissa * scale) / scale, exponent)
    return rounded
