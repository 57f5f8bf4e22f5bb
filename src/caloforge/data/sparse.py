"""The sparse HDF5 form: only voxels with energy, or points, are stored.

`incident_energies` (n, 1) [MeV]; `voxels/offset` (n + 1,), `voxels/index` (nnz,) in the
CaloChallenge's order, `voxels/energy` (nnz,) [MeV]; or `points/offset`, `points/x`, `points/y`
[mm], or integers with the attributes `pitch_mm` and `origin_mm`, `points/layer`, `points/energy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from caloforge.data.showerfile import ShowerFile, ShowerFileError, ShowerWriter, extend, growing
from caloforge.geometry import Geometry
from caloforge.showers import PointShowers, VoxelShowers

__all__ = ["PointFile", "PointWriter", "SparseFile", "SparseWriter"]


class _RaggedColumns:
    """Columns of one HDF5 group that share an `offset` dataset."""

    def __init__(self, path: Path, group: h5py.Group, names: tuple[str, ...], n_showers: int):
        missing = [name for name in ("offset", *names) if name not in group]
        if missing:
            raise ShowerFileError(f"{path}: {group.name} lacks {', '.join(missing)}")
        self.offset: h5py.Dataset = group["offset"]
        self.columns = {name: group[name] for name in names}
        if self.offset.shape != (n_showers + 1,):
            raise ShowerFileError(
                f"{path}: {group.name}/offset must have shape ({n_showers + 1},) for {n_showers} "
                f"incident energies, got {self.offset.shape}"
            )
        n_entries = int(self.offset[-1])
        for name, column in self.columns.items():
            if column.shape != (n_entries,):
                raise ShowerFileError(
                    f"{path}: {group.name}/{name} must have shape ({n_entries},) as offset says, "
                    f"got {column.shape}"
                )

    def read(self, start: int, stop: int) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
        offset = np.asarray(self.offset[start : stop + 1], dtype=np.int64)
        first, last = int(offset[0]), int(offset[-1])
        return offset - first, {name: c[first:last] for name, c in self.columns.items()}


class SparseFile(ShowerFile[VoxelShowers]):
    """A sparse file of voxel showers, read slice by slice."""

    geometry: Geometry

    def _open(self, geometry: Geometry | None) -> None:
        self._entries = _RaggedColumns(
            self.path, self._file["voxels"], ("index", "energy"), len(self)
        )
        self.geometry = self._find_geometry(geometry)

    def _read(self, start: int, stop: int) -> VoxelShowers:
        offset, columns = self._entries.read(start, stop)
        return VoxelShowers(
            energy_inc=self._incident(start, stop),
            offset=offset,
            index=columns["index"],
            energy=columns["energy"],
            geometry=self.geometry,
        )


class SparseWriter(ShowerWriter[VoxelShowers]):
    """Writes voxel showers in the sparse form.

    Args:
        path: where to write.
        geometry: the voxels.
        attributes: written to the root of the file.
        mantissa_bits: if given, energies are rounded to so many bits of mantissa, which loses
            2**-(bits + 1) of their value at most and makes the file much smaller.
    """

    def __init__(
        self,
        path: str | Path,
        geometry: Geometry,
        attributes: Mapping[str, Any],
        *,
        mantissa_bits: int | None = None,
    ) -> None:
        super().__init__(path, attributes)
        self._name_geometry(geometry)
        self._mantissa_bits = mantissa_bits
        group = self._file.create_group("voxels")
        index_type = np.uint16 if geometry.n_voxels <= 2**16 else np.uint32
        self._offset = growing(group, "offset", np.int64)
        self._index = growing(group, "index", index_type)
        self._energy = growing(group, "energy", np.float32)
        extend(self._offset, np.zeros(1, np.int64))

    def append(self, showers: VoxelShowers) -> None:
        """Write showers behind those already written."""
        extend(self._offset, showers.offset[1:] + self._index.shape[0])
        extend(self._index, showers.index)
        extend(self._energy, _rounded(showers.energy, self._mantissa_bits))
        extend(self._incident, showers.energy_inc[:, None])


class PointFile(ShowerFile[PointShowers]):
    """A sparse file of point clouds, read slice by slice."""

    def _open(self, geometry: Geometry | None) -> None:
        names = ("x", "y", "layer", "energy")
        self._points = _RaggedColumns(self.path, self._file["points"], names, len(self))
        for name in ("x", "y"):
            column = self._points.columns[name]
            if column.dtype.kind in "iu" and not {"pitch_mm", "origin_mm"} <= set(column.attrs):
                raise ShowerFileError(
                    f"{self.path}: points/{name} holds grid numbers without the attributes "
                    "pitch_mm and origin_mm"
                )

    def _read(self, start: int, stop: int) -> PointShowers:
        offset, columns = self._points.read(start, stop)
        for name in ("x", "y"):
            attributes = self._points.columns[name].attrs
            if "pitch_mm" in attributes:  # centre of the grid cell = origin + number * pitch
                columns[name] = attributes["origin_mm"] + columns[name] * attributes["pitch_mm"]
        return PointShowers(energy_inc=self._incident(start, stop), offset=offset, **columns)


class PointWriter(ShowerWriter[PointShowers]):
    """Writes point clouds in the sparse form, positions in float32 mm."""

    def __init__(self, path: str | Path, attributes: Mapping[str, Any]) -> None:
        super().__init__(path, attributes)
        group = self._file.create_group("points")
        self._offset = growing(group, "offset", np.int64)
        self._columns = {
            name: growing(group, name, np.uint8 if name == "layer" else np.float32)
            for name in ("x", "y", "layer", "energy")
        }
        extend(self._offset, np.zeros(1, np.int64))

    def append(self, showers: PointShowers) -> None:
        """Write showers behind those already written."""
        extend(self._offset, showers.offset[1:] + self._columns["x"].shape[0])
        for name, column in self._columns.items():
            extend(column, getattr(showers, name))
        extend(self._incident, showers.energy_inc[:, None])


def _rounded(energy: NDArray[np.float32], mantissa_bits: int | None) -> NDArray[np.float32]:
    if mantissa_bits is None:
        return energy
    mantissa, exponent = np.frexp(energy)
    scale = np.float32(2**mantissa_bits)
    rounded: NDArray[np.float32] = np.ldexp(np.round(mantissa * scale) / scale, exponent)
    return rounded
