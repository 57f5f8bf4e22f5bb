"""Showers: voxel energies in sparse form, point clouds in ragged form, always validated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caloforge.geometry import Geometry

__all__ = ["PointShowers", "VoxelShowers"]

Selection = slice | ArrayLike


def _check_energies(name: str, energy: NDArray[np.floating[Any]]) -> None:
    if not np.isfinite(energy).all():
        first = int(np.flatnonzero(~np.isfinite(energy))[0])
        raise ValueError(
            f"{name} must be finite [MeV], got {energy[first]} at entry {first}: "
            "remove the broken showers before use"
        )
    if energy.size and energy.min() < 0:
        first = int(np.argmin(energy))
        raise ValueError(
            f"{name} must not be negative [MeV], got {energy[first]} at entry {first}: "
            "set negative energies to 0 or remove the shower"
        )


def _check_ragged(offset: NDArray[np.int64], n_showers: int, columns: dict[str, Any]) -> None:
    if offset.shape != (n_showers + 1,):
        raise ValueError(
            f"offset must have shape ({n_showers + 1},) for {n_showers} showers, got {offset.shape}"
        )
    if offset[0] != 0 or np.any(np.diff(offset) < 0):
        raise ValueError("offset must begin at 0 and never fall: it counts entries shower by shower")
    for name, column in columns.items():
        if column.shape != (offset[-1],):
            raise ValueError(
                f"{name} must have shape ({offset[-1]},) as offset says, got {column.shape}"
            )


def _chosen(n_showers: int, selection: Selection) -> NDArray[np.int64]:
    """Numbers of the selected showers, from a slice, indices or a mask."""
    if isinstance(selection, slice):
        return np.arange(n_showers)[selection]
    wanted = np.atleast_1d(np.asarray(selection))
    if wanted.dtype == bool and wanted.shape != (n_showers,):
        raise IndexError(f"a mask must have shape ({n_showers},), got {wanted.shape}")
    chosen: NDArray[np.int64] = np.arange(n_showers)[wanted]
    return chosen


def _entries(
    offset: NDArray[np.int64], showers: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """New offsets and the positions of the entries of the chosen showers."""
    counts = np.diff(offset)[showers]
    new = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    positions = np.arange(new[-1]) + np.repeat(offset[showers] - new[:-1], counts)
    return new, positions


@dataclass(frozen=True, eq=False)
class VoxelShowers:
    """Showers as energies in the voxels of a geometry, in compressed sparse rows.

    Args:
        energy_inc: incident energy [MeV], shape (n,).
        offset: first entry of each shower and, last, the number of entries, shape (n + 1,).
        index: flat voxel index of each entry in the geometry's order, shape (nnz,).
        energy: energy of each entry [MeV], shape (nnz,).
        geometry: the voxels.

    Raises:
        ValueError: for shapes that do not fit, energies that are negative or not finite, or
            indices outside the geometry.
    """

    energy_inc: NDArray[np.float32]
    offset: NDArray[np.int64]
    index: NDArray[Any]
    energy: NDArray[np.float32]
    geometry: Geometry

    def __post_init__(self) -> None:
        index_type = np.uint16 if self.geometry.n_voxels <= 2**16 else np.uint32
        given = np.asarray(self.index)
        if given.size and (given.min() < 0 or given.max() >= self.geometry.n_voxels):
            raise ValueError(
                f"voxel indices must lie in 0 … {self.geometry.n_voxels - 1} for "
                f"{self.geometry.name}, got {given.min()} … {given.max()}: is it another geometry?"
            )
        object.__setattr__(self, "energy_inc", np.asarray(self.energy_inc, dtype=np.float32))
        object.__setattr__(self, "offset", np.asarray(self.offset, dtype=np.int64))
        object.__setattr__(self, "index", given.astype(index_type, copy=False))
        object.__setattr__(self, "energy", np.asarray(self.energy, dtype=np.float32))
        if self.energy_inc.ndim != 1:
            raise ValueError(f"energy_inc must have shape (n,), got {self.energy_inc.shape}")
        _check_ragged(self.offset, len(self), {"index": self.index, "energy": self.energy})
        _check_energies("energy_inc", self.energy_inc)
        _check_energies("voxel energies", self.energy)

    @classmethod
    def from_dense(
        cls, energy_inc: ArrayLike, dense: ArrayLike, geometry: Geometry
    ) -> VoxelShowers:
        """Keep the non-zero voxels of dense showers.

        Args:
            energy_inc: incident energy [MeV], shape (n,).
            dense: voxel energies [MeV], shape (n, ...) with n_voxels numbers a shower.
            geometry: the voxels.

        Raises:
            ValueError: if a shower does not have n_voxels numbers, or as for the class.
        """
        block = np.asarray(dense)
        n_numbers = int(np.prod(block.shape[1:]))
        if n_numbers != geometry.n_voxels:
            raise ValueError(
                f"{geometry.name} has {geometry.n_voxels} voxels a shower, got {n_numbers} from "
                f"an array of shape {block.shape}"
            )
        block = block.reshape(len(block), -1)
        shower, index = np.nonzero(block)
        offset = np.concatenate([[0], np.cumsum(np.bincount(shower, minlength=len(block)))])
        inc = np.asarray(energy_inc, dtype=np.float32)
        return cls(inc, offset, index, block[shower, index], geometry)

    @classmethod
    def concatenate(cls, parts: Sequence[VoxelShowers]) -> VoxelShowers:
        """Join showers of one geometry, in order.

        Raises:
            ValueError: if there is nothing to join, or the geometries differ.
        """
        if not parts:
            raise ValueError("concatenate needs at least one VoxelShowers, got none")
        geometry = parts[0].geometry
        for part in parts[1:]:
            if part.geometry != geometry:
                raise ValueError(
                    f"showers of {geometry.name} and {part.geometry.name} cannot be joined: "
                    "project or simulate them in one geometry"
                )
        return cls(
            np.concatenate([part.energy_inc for part in parts]),
            _joined_offsets([part.offset for part in parts]),
            np.concatenate([part.index for part in parts]),
            np.concatenate([part.energy for part in parts]),
            geometry,
        )

    def __len__(self) -> int:
        return len(self.energy_inc)

    def __getitem__(self, selection: Selection) -> VoxelShowers:
        """Select showers by slice, indices or mask."""
        showers = _chosen(len(self), selection)
        offset, entries = _entries(self.offset, showers)
        return VoxelShowers(
            self.energy_inc[showers],
            offset,
            self.index[entries],
            self.energy[entries],
            self.geometry,
        )

    def __repr__(self) -> str:
        return (
            f"VoxelShowers({len(self)} showers of {self.geometry.name}, "
            f"{len(self.energy)} voxels with energy)"
        )

    def batches(self, size: int) -> Iterator[VoxelShowers]:
        """Runs of up to `size` showers, in order."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def event(self) -> NDArray[np.int64]:
        """Shower that each entry belongs to, shape (nnz,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offset))

    def dense(self) -> NDArray[np.float32]:
        """Voxel energies [MeV], shape (n, *geometry.shape), or (n, n_voxels) if irregular."""
        geometry = self.geometry
        block = np.zeros((len(self), geometry.n_voxels), dtype=np.float32)
        block[self.event(), self.index] = self.energy
        return block.reshape(len(self), *geometry.shape) if geometry.is_regular else block

    def layer_energies(self) -> NDArray[np.float64]:
        """Energy of each layer [MeV], shape (n, n_layers)."""
        n_layers = self.geometry.n_layers
        cell = self.event() * n_layers + self.geometry.voxel_layer[self.index]
        return _sums(cell, self.energy, len(self) * n_layers).reshape(len(self), n_layers)

    def total_energy(self) -> NDArray[np.float64]:
        """Energy of all voxels [MeV], shape (n,)."""
        return _sums(self.event(), self.energy, len(self))

    def above(self, threshold: float) -> VoxelShowers:
        """The same showers without the voxels below a threshold [MeV]; equal to it survives."""
        kept = self.energy >= np.float32(threshold)
        offset = np.concatenate([[0], np.cumsum(kept)])[self.offset]
        return VoxelShowers(
            self.energy_inc, offset, self.index[kept], self.energy[kept], self.geometry
        )


@dataclass(frozen=True, eq=False)
class PointShowers:
    """Showers as clouds of points with energy.

    Args:
        energy_inc: incident energy [MeV], shape (n,).
        offset: first point of each shower and, last, the number of points, shape (n + 1,).
        x: position [mm] from the impact point, shape (n_points,).
        y: position [mm] from the impact point, shape (n_points,).
        layer: layer of each point, shape (n_points,).
        energy: energy of each point [MeV], shape (n_points,).

    Raises:
        ValueError: for shapes that do not fit, positions or energies that are not finite, or
            negative energies.
    """

    energy_inc: NDArray[np.float32]
    offset: NDArray[np.int64]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    layer: NDArray[np.uint8]
    energy: NDArray[np.float32]

    def __post_init__(self) -> None:
        layer = np.asarray(self.layer)
        if layer.size and (layer.min() < 0 or layer.max() > 255):
            raise ValueError(f"layers must lie in 0 … 255, got {layer.min()} … {layer.max()}")
        object.__setattr__(self, "layer", layer.astype(np.uint8, copy=False))
        object.__setattr__(self, "offset", np.asarray(self.offset, dtype=np.int64))
        for name in ("energy_inc", "x", "y", "energy"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float32))
        columns = {name: getattr(self, name) for name in ("x", "y", "layer", "energy")}
        _check_ragged(self.offset, len(self), columns)
        for name in ("x", "y"):
            if not np.isfinite(columns[name]).all():
                raise ValueError(f"{name} must be finite [mm]: remove the broken points")
        _check_energies("energy_inc", self.energy_inc)
        _check_energies("point energies", self.energy)

    def __len__(self) -> int:
        return len(self.energy_inc)

    def __getitem__(self, selection: Selection) -> PointShowers:
        """Select showers by slice, indices or mask."""
        showers = _chosen(len(self), selection)
        offset, points = _entries(self.offset, showers)
        return PointShowers(
            self.energy_inc[showers],
            offset,
            self.x[points],
            self.y[points],
            self.layer[points],
            self.energy[points],
        )

    def __repr__(self) -> str:
        return f"PointShowers({len(self)} showers, {len(self.energy)} points)"

    @classmethod
    def concatenate(cls, parts: Sequence[PointShowers]) -> PointShowers:
        """Join showers, in order.

        Raises:
            ValueError: if there is nothing to join.
        """
        if not parts:
            raise ValueError("concatenate needs at least one PointShowers, got none")
        columns = ("x", "y", "layer", "energy")
        return cls(
            np.concatenate([part.energy_inc for part in parts]),
            _joined_offsets([part.offset for part in parts]),
            *(np.concatenate([getattr(part, name) for part in parts]) for name in columns),
        )

    def batches(self, size: int) -> Iterator[PointShowers]:
        """Runs of up to `size` showers, in order."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def event(self) -> NDArray[np.int64]:
        """Shower that each point belongs to, shape (n_points,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offset))

    def project(
        self, geometry: Geometry, *, shift: tuple[float, float] = (0.0, 0.0)
    ) -> VoxelShowers:
        """Sum the points into the voxels of a geometry; points outside all voxels are lost.

        Args:
            geometry: the voxels.
            shift: added to x and y of every point [mm].
        """
        dx, dy = shift
        voxel = geometry.find_voxels(self.layer, self.x + dx, self.y + dy)
        inside = voxel >= 0
        key = self.event()[inside] * geometry.n_voxels + voxel[inside]
        cells, cell_of_point = np.unique(key, return_inverse=True)
        energy = _sums(cell_of_point, self.energy[inside], len(cells)).astype(np.float32)
        per_shower = np.bincount(cells // geometry.n_voxels, minlength=len(self))
        offset = np.concatenate([[0], np.cumsum(per_shower)])
        return VoxelShowers(self.energy_inc, offset, cells % geometry.n_voxels, energy, geometry)


def _sums(
    key: NDArray[np.integer[Any]], energy: NDArray[np.float32], n_keys: int
) -> NDArray[np.float64]:
    """Sum of the energies of each key, in double precision."""
    return np.asarray(np.bincount(key, weights=energy, minlength=n_keys), dtype=np.float64)


def _joined_offsets(offsets: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part) for part in offsets]))])
