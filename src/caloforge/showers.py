"""Showers: voxel energies in sparse form, point clouds in ragged form, always validated."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caloforge.geometry import Coarsening, Geometry

__all__ = ["Floats", "PointShowers", "VoxelShowers", "check_energies"]

Selection = slice | ArrayLike
Floats = NDArray[np.floating[Any]]
"""Energies and positions: float32, or float64 where an array of float64 was given."""


def check_energies(name: str, energy: NDArray[np.floating[Any]]) -> None:
    """Refuse energies [MeV] that are not finite or negative.

    Raises:
        ValueError: naming the first bad entry.
    """
    # NaN fails every comparison, so two passes without a copy settle the good case.
    if not energy.size or (energy.min() >= 0 and energy.max() < np.inf):
        return
    wrong = ~np.isfinite(energy)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{name} must be finite [MeV], got {energy[first]} at entry {first}: "
            "remove the broken showers before use"
        )
    first = int(np.flatnonzero(energy < 0)[0])
    raise ValueError(
        f"{name} must not be negative [MeV], got {energy[first]} at entry {first}: "
        "set negative energies to 0 or remove the shower"
    )


def _integers(name: str, values: ArrayLike) -> NDArray[np.integer[Any]]:
    given = np.asarray(values)
    if given.dtype.kind in "iu":
        return given
    if given.size:
        raise ValueError(f"{name} must hold integers, got {given.dtype}: convert it knowingly")
    return given.astype(np.int64)


def _floats(values: ArrayLike) -> Floats:
    """Double precision where an array has it, else single."""
    given = np.asarray(values)
    if given.dtype == np.float64 and isinstance(values, np.ndarray):
        return given
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused as such
        return given.astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class _RaggedShowers:
    """What voxels and points share: entries of all showers in one row, cut by `offset`."""

    energy_inc: Floats
    offset: NDArray[np.int64]

    columns: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "energy_inc", _floats(self.energy_inc))
        object.__setattr__(self, "offset", _integers("offset", self.offset).astype(np.int64))
        if self.energy_inc.ndim != 1:
            raise ValueError(f"energy_inc must have shape (n,), got {self.energy_inc.shape}")
        if self.offset.shape != (len(self) + 1,):
            raise ValueError(
                f"offset must have shape ({len(self) + 1},) for {len(self)} showers, "
                f"got {self.offset.shape}"
            )
        if self.offset[0] != 0 or np.any(np.diff(self.offset) < 0):
            raise ValueError(
                "offset must begin at 0 and never fall: it counts entries shower by shower"
            )
        for name in self.columns:
            shape = getattr(self, name).shape
            if shape != (self.offset[-1],):
                raise ValueError(
                    f"{name} must have shape ({self.offset[-1]},) as offset says, got {shape}"
                )
        check_energies("energy_inc", self.energy_inc)

    def __len__(self) -> int:
        return len(self.energy_inc)

    def __getitem__(self, selection: Selection) -> Self:
        """Select showers by slice, indices or mask."""
        if isinstance(selection, slice) and selection.step in (None, 1):
            return self._run(*selection.indices(len(self))[:2])
        showers = self._numbers(selection)
        counts = np.diff(self.offset)[showers]
        offset = _offsets(counts)
        entries = np.arange(offset[-1]) + np.repeat(self.offset[showers] - offset[:-1], counts)
        chosen = {name: getattr(self, name)[entries] for name in self.columns}
        return dataclasses.replace(
            self, energy_inc=self.energy_inc[showers], offset=offset, **chosen
        )

    def _run(self, start: int, stop: int) -> Self:
        """Consecutive showers, without a copy."""
        stop = max(start, stop)
        first, last = self.offset[start], self.offset[stop]
        return dataclasses.replace(
            self,
            energy_inc=self.energy_inc[start:stop],
            offset=self.offset[start : stop + 1] - first,
            **{name: getattr(self, name)[first:last] for name in self.columns},
        )

    def _numbers(self, selection: Selection) -> NDArray[np.int64]:
        numbers = np.arange(len(self))
        if isinstance(selection, slice):
            return numbers[selection]
        wanted = np.atleast_1d(np.asarray(selection))
        if wanted.dtype == bool and wanted.shape != numbers.shape:
            raise IndexError(f"a mask must have shape {numbers.shape}, got {wanted.shape}")
        chosen: NDArray[np.int64] = numbers[wanted if wanted.size else slice(0)]
        return chosen

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join showers, in order.

        Raises:
            ValueError: if there is nothing to join, or the geometries differ.
        """
        if not parts:
            raise ValueError(f"concatenate needs at least one {cls.__name__}, got none")
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("energy_inc", *cls.columns)
        }
        counts = np.concatenate([np.diff(part.offset) for part in parts])
        return dataclasses.replace(parts[0], offset=_offsets(counts), **joined)

    def batches(self, size: int) -> Iterator[Self]:
        """Runs of up to `size` showers, in order."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def event(self) -> NDArray[np.int64]:
        """Shower that each entry belongs to, shape (n_entries,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offset))


@dataclass(frozen=True, eq=False)
class VoxelShowers(_RaggedShowers):
    """Showers as energies in the voxels of a geometry, in compressed sparse rows.

    The entries of a shower rise in voxel index, name a voxel once and hold energy, so that
    `offset` counts the voxels hit. Entries given in another order are sorted, those of one voxel
    summed, those without energy dropped. Energies are kept in single precision, or in double
    precision where an array of it is given.

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

    index: NDArray[np.integer[Any]]
    energy: Floats
    geometry: Geometry

    columns: ClassVar[tuple[str, ...]] = ("index", "energy")

    def __post_init__(self) -> None:
        n_voxels = self.geometry.n_voxels
        index = _integers("index", self.index)
        if index.size and (index.min() < 0 or index.max() >= n_voxels):
            raise ValueError(
                f"voxel indices must lie in 0 … {n_voxels - 1} for {self.geometry.name}, "
                f"got {index.min()} … {index.max()}: is it another geometry?"
            )
        small = np.uint16 if n_voxels <= 2**16 else np.uint32
        object.__setattr__(self, "index", index.astype(small, copy=False))
        object.__setattr__(self, "energy", _floats(self.energy))
        super().__post_init__()
        check_energies("voxel energies", self.energy)
        if not self._is_canonical():
            self._make_canonical()

    def _is_canonical(self) -> bool:
        rises = self.index[1:] > self.index[:-1]
        starts = self.offset[(self.offset > 0) & (self.offset < len(self.index))]
        rises[starts - 1] = True  # between two showers the index may fall
        return bool(rises.all() and self.energy.all())

    def _make_canonical(self) -> None:
        n_voxels = self.geometry.n_voxels
        key = self.event() * n_voxels + self.index
        cells, cell = np.unique(key[self.energy > 0], return_inverse=True)
        energy = _sums(cell, self.energy[self.energy > 0], len(cells))
        counts = np.bincount(cells // n_voxels, minlength=len(self))
        object.__setattr__(self, "offset", _offsets(counts))
        object.__setattr__(self, "index", (cells % n_voxels).astype(self.index.dtype))
        object.__setattr__(self, "energy", energy.astype(self.energy.dtype, copy=False))

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
        if block.ndim < 2 or n_numbers != geometry.n_voxels:
            raise ValueError(
                f"{geometry.name} has {geometry.n_voxels} voxels a shower, got {n_numbers} from "
                f"an array of shape {block.shape}"
            )
        if np.shape(energy_inc) != (len(block),):
            raise ValueError(
                f"energy_inc must have shape ({len(block)},) for {len(block)} dense showers, "
                f"got {np.shape(energy_inc)}"
            )
        block = block.reshape(len(block), n_numbers)
        offset = _offsets(np.count_nonzero(block, axis=1))
        cell = np.flatnonzero(block)
        return cls(_floats(energy_inc), offset, cell % n_numbers, block.reshape(-1)[cell], geometry)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join showers of one geometry, in order.

        Raises:
            ValueError: if there is nothing to join, or the geometries differ.
        """
        for part in parts[1:]:
            if part.geometry != parts[0].geometry:
                raise ValueError(
                    f"showers of {parts[0].geometry.name} and {part.geometry.name} cannot be "
                    "joined: project or simulate them in one geometry"
                )
        return super().concatenate(parts)

    def __repr__(self) -> str:
        return (
            f"VoxelShowers({len(self)} showers of {self.geometry.name}, "
            f"{len(self.energy)} voxels with energy)"
        )

    def dense(self) -> Floats:
        """Voxel energies [MeV], shape (n, *geometry.shape), or (n, n_voxels) if irregular."""
        n_voxels = self.geometry.n_voxels
        block = np.zeros(len(self) * n_voxels, dtype=self.energy.dtype)
        block[self.event() * n_voxels + self.index] = self.energy
        shape = self.geometry.shape if self.geometry.is_regular else (n_voxels,)
        return block.reshape(len(self), *shape)

    def layer_energies(self) -> NDArray[np.float64]:
        """Energy of each layer [MeV], shape (n, n_layers)."""
        n_layers = self.geometry.n_layers
        cell = self.event() * n_layers + self.geometry.voxel_layer[self.index]
        return _sums(cell, self.energy, len(self) * n_layers).reshape(len(self), n_layers)

    def total_energy(self) -> NDArray[np.float64]:
        """Energy of all voxels [MeV], shape (n,)."""
        return _sums(self.event(), self.energy, len(self))

    def crop(self, geometry: Geometry) -> tuple[VoxelShowers, NDArray[np.float64]]:
        """The core of the showers, and what is lost with the rest.

        Example:
            >>> core, outside = showers.crop(geometry_preset("ild-core"))
            >>> print(f"{outside.mean():.1%} of the energy lies outside")

        Args:
            geometry: the core, as `Geometry.crop` makes it.

        Returns:
            The showers in the voxels of the core, and the share of each shower's energy that lies
            outside, shape (n,), 0 for an empty shower.

        Raises:
            ValueError: if the geometry is not the middle of that of the showers.
        """
        n_x, n_y = geometry.layer_shapes[0]
        if self.geometry.crop(n_x, n_y, name=geometry.name) != geometry:
            raise ValueError(
                f"{geometry.name} is not the middle of {self.geometry.name}: make the core with "
                f"showers.geometry.crop({n_x}, {n_y})"
            )
        middle = self.geometry.find_voxels(geometry.voxel_layer, geometry.voxel_x, geometry.voxel_y)
        place = np.full(self.geometry.n_voxels, -1)
        place[middle] = np.arange(geometry.n_voxels)
        voxel = place[self.index]
        inside = voxel >= 0
        core = dataclasses.replace(self._where(inside), index=voxel[inside], geometry=geometry)
        whole = self.total_energy()
        lost = whole - core.total_energy()
        return core, np.divide(lost, whole, out=np.zeros(len(self)), where=whole > 0)

    def coarsen(self, coarsening: Coarsening) -> VoxelShowers:
        """The same showers in coarse voxels, each with the energy of its fine ones.

        Example:
            >>> coarse = showers.coarsen(Coarsening(showers.geometry, (5, 2, 1)))

        Raises:
            ValueError: if the coarsening is of another geometry.
        """
        if coarsening.fine != self.geometry:
            raise ValueError(
                f"the coarsening is of {coarsening.fine.name}, the showers are of "
                f"{self.geometry.name}: make it from showers.geometry"
            )
        return dataclasses.replace(
            self, index=coarsening.coarse_index[self.index], geometry=coarsening.geometry
        )

    def above(self, threshold: float) -> VoxelShowers:
        """The same showers without the voxels below a threshold [MeV]; equal to it survives."""
        return self._where(self.energy >= self.energy.dtype.type(threshold))  # compared as stored

    def _where(self, kept: NDArray[np.bool_]) -> VoxelShowers:
        """The same showers with some of their entries."""
        counted = np.concatenate([[0], np.cumsum(kept)])
        return dataclasses.replace(
            self, offset=counted[self.offset], index=self.index[kept], energy=self.energy[kept]
        )


@dataclass(frozen=True, eq=False)
class PointShowers(_RaggedShowers):
    """Showers as clouds of points with energy.

    Args:
        energy_inc: incident energy [MeV], shape (n,).
        offset: first point of each shower and, last, the number of points, shape (n + 1,).
        x: position [mm] from the impact point, shape (n_points,).
        y: position [mm] from the impact point, shape (n_points,).
        layer: layer of each point, counted from 0, shape (n_points,).
        energy: energy of each point [MeV], shape (n_points,).

    Raises:
        ValueError: for shapes that do not fit, positions or energies that are not finite, or
            negative energies.
    """

    x: Floats
    y: Floats
    layer: NDArray[np.uint8]
    energy: Floats

    columns: ClassVar[tuple[str, ...]] = ("x", "y", "layer", "energy")

    def __post_init__(self) -> None:
        layer = _integers("layer", self.layer)
        if layer.size and (layer.min() < 0 or layer.max() > 255):
            raise ValueError(f"layers must lie in 0 … 255, got {layer.min()} … {layer.max()}")
        object.__setattr__(self, "layer", layer.astype(np.uint8, copy=False))
        for name in ("x", "y", "energy"):
            object.__setattr__(self, name, _floats(getattr(self, name)))
        super().__post_init__()
        for name in ("x", "y"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} must be finite [mm]: remove the broken points")
        check_energies("point energies", self.energy)

    def __repr__(self) -> str:
        return f"PointShowers({len(self)} showers, {len(self.energy)} points)"

    def project(
        self, geometry: Geometry, *, shift: tuple[float, float] = (0.0, 0.0)
    ) -> VoxelShowers:
        """Sum the points into the voxels of a geometry; points outside all voxels are lost.

        Args:
            geometry: the voxels.
            shift: added to x and y of every point [mm].
        """
        dx, dy = np.asarray(shift, dtype=np.float64)  # sums in double keep points off the borders
        voxel = geometry.find_voxels(self.layer, self.x + dx, self.y + dy)
        inside = voxel >= 0
        counted = np.concatenate([[0], np.cumsum(inside)])
        return VoxelShowers(
            self.energy_inc, counted[self.offset], voxel[inside], self.energy[inside], geometry
        )


def _sums(key: NDArray[np.integer[Any]], energy: Floats, n_keys: int) -> NDArray[np.float64]:
    """Sum of the energies of each key, in double precision."""
    return np.asarray(np.bincount(key, weights=energy, minlength=n_keys), dtype=np.float64)


def _offsets(counts: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """First entry of each shower and, last, the number of entries."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
