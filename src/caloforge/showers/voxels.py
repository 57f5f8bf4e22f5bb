"""Showers as energies in the voxels of a geometry."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caloforge.geometry import Coarsening, Geometry
from caloforge.pdg import NOT_KNOWN
from caloforge.showers.particles import ALONG_DEPTH, Floats, floats
from caloforge.showers.plausible import check_entries
from caloforge.showers.ragged import RaggedShowers, integers, offsets, sums

__all__ = ["VoxelShowers"]


@dataclass(frozen=True, eq=False)
class VoxelShowers(RaggedShowers):
    """Showers as energies in the voxels of a geometry, in compressed sparse rows.

    The entries of a shower rise in voxel index, name a voxel once and hold energy, so that
    `offset` counts the voxels hit. Entries given in another order are sorted, those of one voxel
    summed, those without energy dropped. Energies are kept in single precision, or in double
    precision where an array of it is given.

    Args:
        energy_inc: incident energy [MeV], above 0, shape (n,).
        offset: first entry of each shower and, last, the number of entries, shape (n + 1,).
        index: flat voxel index of each entry in the geometry's order, shape (nnz,).
        energy: energy of each entry [MeV], shape (nnz,).
        geometry: the voxels.
        direction: unit vectors along which the incident particles fly, with z along the depth,
            shape (n, 3), or (3,) for all; by default along z.
        pdg: codes of the kinds of the incident particles, see `Particles`, shape (n,), or one for
            all; by default 0, not known.

    Raises:
        ImpossibleShowerError: for incident energies that are not above 0 and finite, or voxel
            energies that are negative or not finite; names the first shower and voxel.
        ValueError: for shapes that do not fit, indices outside the geometry, or particles that
            `Particles` refuses.
    """

    index: NDArray[np.integer[Any]]
    energy: Floats
    geometry: Geometry

    columns: ClassVar[tuple[str, ...]] = ("index", "energy")

    def __post_init__(self) -> None:
        n_voxels = self.geometry.n_voxels
        index = integers("index", self.index)
        if index.size and (index.min() < 0 or index.max() >= n_voxels):
            raise ValueError(
                f"voxel indices must lie in 0 … {n_voxels - 1} for {self.geometry.name}, "
                f"got {index.min()} … {index.max()}: is it another geometry?"
            )
        small = np.uint16 if n_voxels <= 2**16 else np.uint32
        object.__setattr__(self, "index", index.astype(small, copy=False))
        object.__setattr__(self, "energy", floats(self.energy))
        super().__post_init__()
        check_entries(
            "energy", self.energy, self.offset, lambda entry, _: f"voxel {self.index[entry]}"
        )
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
        energy = sums(cell, self.energy[self.energy > 0], len(cells))
        counts = np.bincount(cells // n_voxels, minlength=len(self))
        object.__setattr__(self, "offset", offsets(counts))
        object.__setattr__(self, "index", (cells % n_voxels).astype(self.index.dtype))
        object.__setattr__(self, "energy", energy.astype(self.energy.dtype, copy=False))

    @classmethod
    def from_dense(
        cls,
        energy_inc: ArrayLike,
        dense: ArrayLike,
        geometry: Geometry,
        *,
        direction: ArrayLike = ALONG_DEPTH,
        pdg: ArrayLike = NOT_KNOWN,
    ) -> VoxelShowers:
        """Keep the non-zero voxels of dense showers.

        Args:
            energy_inc: incident energy [MeV], shape (n,).
            dense: voxel energies [MeV], shape (n, ...) with n_voxels numbers a shower.
            geometry: the voxels.
            direction: of the incident particles, as for the class.
            pdg: their codes, as for the class.

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
        offset = offsets(np.count_nonzero(block, axis=1))
        cell = np.flatnonzero(block)
        return cls(
            floats(energy_inc),
            offset,
            cell % n_numbers,
            block.reshape(-1)[cell],
            geometry,
            direction=direction,  # type: ignore[arg-type]  # made an array where it is checked
            pdg=pdg,  # type: ignore[arg-type]
        )

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
        return sums(cell, self.energy, len(self) * n_layers).reshape(len(self), n_layers)

    def total_energy(self) -> NDArray[np.float64]:
        """Energy of all voxels [MeV], shape (n,)."""
        return sums(self.event(), self.energy, len(self))

    def crop(self, geometry: Geometry) -> tuple[VoxelShowers, NDArray[np.float64]]:
        """The core of the showers, and what is lost with the rest.

        Example:
            >>> cells = points.project(cf.geometry_preset("ild-30"))
            >>> core, outside = cells.crop(cf.geometry_preset("ild-core"))
            >>> print(f"{outside.mean():.1%} of the energy lies outside")
            7.9% of the energy lies outside

        Args:
            geometry: the core, as `Geometry.crop` makes it.

        Returns:
            The showers in the voxels of the core, and the fraction of each shower's energy that
            lies outside, shape (n,), 0 for an empty shower.

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
            >>> from caloforge.geometry import Coarsening
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
        """The same showers without the voxels below a threshold [MeV]; equal to it survives.

        Raises:
            ValueError: for a threshold that is negative or not finite.
        """
        if not 0 <= threshold < np.inf:
            raise ValueError(f"the threshold must be 0 or more [MeV], got {threshold}")
        return self._where(self.energy >= self.energy.dtype.type(threshold))  # compared as stored

    def _where(self, kept: NDArray[np.bool_]) -> VoxelShowers:
        """The same showers with some of their entries."""
        counted = np.concatenate([[0], np.cumsum(kept)])
        return dataclasses.replace(
            self, offset=counted[self.offset], index=self.index[kept], energy=self.energy[kept]
        )
