"""Named physical quantities of showers, as tensors: the language between stages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caloforge.geometry import Coarsening, Geometry
from caloforge.showers import (
    Floats,
    Particles,
    PointShowers,
    Showers,
    ShowerSource,
    VoxelShowers,
    entries_of,
)
from caloforge.upload import upload

__all__ = [
    "Quantities",
    "ShowerQuantities",
    "coarse_name",
    "columns_of_particles",
    "layer_name",
    "of_particles",
]

Quantities = dict[str, Tensor]
"""Name to values: of the incident particles `energy_inc` [MeV] (n,), `direction` (n, 3), unit
vectors, and `pdg` (n,), codes of their kinds; of voxels `layer_energies` [MeV] (n, n_layers),
the `scores` (n, n_layers) that stand for them, standard normal numbers that only stages know,
`layer_07` [MeV] (n, alpha, r) or (n, x, y), `coarse_5x2x1` [MeV] (n, n_coarse) in the order of
`Coarsening`, `showers` [MeV] (n, *geometry.shape); of point clouds `n_points` (n,),
`visible_energy` [MeV] (n,), `layer_counts` and `layer_energies` [MeV] (n, n_layers), the points in
each layer and their energy, and `points` (n_points of all showers, 4): x [mm], y [mm], layer
(0, 1, …) and energy [MeV], those of one shower after those of the one before, as `n_points`
says."""

SHARE = 0.25  # of an accelerator's free memory that the quantities of a sample may take
_LAYER = "layer_"
_COARSE = "coarse_"
_LAYER_ENERGIES = "layer_energies"
_SHOWERS = "showers"
_POINTS = "points"
LITTLE = 1 << 25  # bytes of a quantity that is kept dense
BLOCK = 1000  # showers of which quantities are made at once
_BITS = {torch.int16: (1 << 16) - 1, torch.int32: (1 << 32) - 1}  # of unsigned numbers


def layer_name(layer: int) -> str:
    """Name of the quantity that holds the voxels of a layer."""
    return f"{_LAYER}{layer:02d}"


def coarse_name(factors: Sequence[int]) -> str:
    """Name of the quantity that holds coarse voxels of so many fine ones along each axis."""
    return _COARSE + "x".join(str(factor) for factor in factors)


def of_particles(particles: Particles) -> Quantities:
    """The quantities of incident particles: `energy_inc`, `direction` and `pdg`."""
    return {
        "energy_inc": torch.from_numpy(particles.energy.astype(np.float32)),
        "direction": torch.from_numpy(particles.direction.astype(np.float32)),
        "pdg": torch.from_numpy(particles.pdg.astype(np.int64)),
    }


def columns_of_particles(quantities: Quantities) -> dict[str, Any]:
    """The columns of incident particles that showers take, as far as they are there."""
    names = [name for name in _OF_PARTICLES if name in quantities]
    return {name: quantities[name].cpu().numpy() for name in names}


@dataclass(frozen=True)
class _Rows:
    """What is kept of one quantity: numbers of each shower, or of each of its entries.

    Args:
        columns: the numbers, in the order of showers; of voxels their index and energy [MeV].
        offset: first entry of each shower and, last, the number of entries, shape (n + 1,); None
            for one row a shower.
        shape: that of a shower's voxels, which are made dense when they are taken; None for others.
    """

    columns: tuple[Tensor, ...]
    offset: NDArray[np.int64] | None = None
    shape: tuple[int, ...] | None = None

    @classmethod
    def join(cls, parts: Sequence[_Rows]) -> _Rows:
        """Those of the showers of all parts."""
        columns = tuple(map(torch.cat, zip(*(part.columns for part in parts), strict=True)))
        counts = [np.diff(part.offset) for part in parts if part.offset is not None]
        offset = np.cumsum([0, *np.concatenate(counts)], dtype=np.int64) if counts else None
        return cls(columns, offset, parts[0].shape)

    def small_dense(self) -> _Rows:
        """The same made dense now, if that is little: a batch of it is taken in less time."""
        if self.shape is None or self.offset is None:
            return self
        n = len(self.offset) - 1
        little = 4 * n * math.prod(self.shape) <= LITTLE
        return _Rows((self.take(np.arange(n)),)) if little else self

    @property
    def nbytes(self) -> int:
        """Memory that they take [bytes]."""
        return sum(column.nbytes for column in self.columns)

    def to(self, device: torch.device) -> _Rows:
        """The same on a device."""
        return replace(self, columns=tuple(upload(column, device) for column in self.columns))

    def take(self, showers: NDArray[np.int64]) -> Tensor:
        """The quantity of the showers with these numbers."""
        if self.offset is None:
            return self._selected(showers)[0]
        offset, entries = entries_of(self.offset, showers)
        columns = self._selected(entries)
        if self.shape is None:
            return columns[0]
        index, energy = columns
        event = np.repeat(np.arange(len(showers)) * math.prod(self.shape), np.diff(offset))
        place = upload(torch.from_numpy(event), index.device) + (index.long() & _BITS[index.dtype])
        dense = energy.new_zeros(len(showers) * math.prod(self.shape))
        return dense.scatter_(0, place, energy).reshape(len(showers), *self.shape)

    def _selected(self, numbers: NDArray[np.int64]) -> list[Tensor]:
        # many times faster than an index in brackets where rows are short
        selected = upload(torch.from_numpy(numbers), self.columns[0].device)
        return [column.index_select(0, selected) for column in self.columns]


class ShowerQuantities:
    """The quantities of a sample of showers, taken in batches.

    Kept in memory where they fit into `budget`, in sparse form unless they are small; else made
    batch by batch.

    Args:
        source: the sample, voxels or points.
        names: the quantities that will be asked for.
        budget: memory for the quantities [bytes].

    Raises:
        ValueError: for a name that is no quantity of the sample.
    """

    def __init__(
        self, source: ShowerSource[Any], names: Sequence[str], *, budget: int = 4 << 30
    ) -> None:
        self.source = source
        self.names = tuple(names)
        self.device = torch.device("cpu")
        self._numbers = np.arange(len(source))
        self._kept = _kept(source, self.names, budget)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def showers(self) -> Showers:
        """The showers themselves, in memory."""
        showers: Showers = self.source.take(self._numbers)
        return showers

    def to(self, device: torch.device | str) -> ShowerQuantities:
        """The same quantities, given out on a device.

        Where they fit into a quarter of an accelerator's free memory, all of them lie there from
        now on; else every batch is copied asynchronously.
        """
        there = copy(self)
        there.device = torch.device(device)
        kept = self._kept
        if kept is not None and (there.device.type != "cuda" or self._fits(kept, there.device)):
            there._kept = {name: rows.to(there.device) for name, rows in kept.items()}
        return there

    @staticmethod
    def _fits(kept: Mapping[str, _Rows], device: torch.device) -> bool:
        free, _ = torch.cuda.mem_get_info(device)
        return sum(rows.nbytes for rows in kept.values()) <= SHARE * free

    def all(self) -> Quantities:
        """Quantities of all showers."""
        return self.take(torch.arange(len(self)))

    def take(self, showers: Tensor) -> Quantities:
        """Quantities of the showers with these numbers, in this order.

        Args:
            showers: their numbers, in the host's memory, shape (n,).
        """
        numbers, kept = self._numbers[showers.numpy()], self._kept
        if kept is None:
            kept = _rows(self.source.take(numbers), self.names)
            numbers = np.arange(len(numbers))
        return {name: upload(rows.take(numbers), self.device) for name, rows in kept.items()}

    def split(self, showers: Tensor) -> ShowerQuantities:
        """The same quantities of some of the showers, by their numbers: nothing is copied."""
        part = copy(self)
        part._numbers = self._numbers[showers.numpy()]
        return part

    def batches(self, size: int = 1000) -> Iterator[Quantities]:
        """All quantities in runs of up to `size` showers, in order."""
        for start in range(0, len(self), size):
            yield self.take(torch.arange(start, min(start + size, len(self))))


def _kept(source: ShowerSource[Any], names: Sequence[str], budget: int) -> dict[str, _Rows] | None:
    """The quantities of all showers, None where they do not fit into the budget."""
    parts = [_rows(source.take(np.arange(0)), names)]  # refuses unknown names
    whole: dict[str, _Rows] = {}
    if isinstance(source, VoxelShowers) and _SHOWERS in names:
        whole = _rows(source, [_SHOWERS])  # whose entries need no copy
    others = [name for name in names if name not in whole]
    size = sum(rows.nbytes for rows in whole.values())
    for block in source.blocks(BLOCK) if others else ():
        parts.append(_rows(block, others))
        size += sum(rows.nbytes for rows in parts[-1].values())
        if size > budget:
            break
    if size > budget:
        return None
    whole |= {name: _Rows.join([part[name] for part in parts]).small_dense() for name in others}
    return {name: whole[name] for name in names}


def _layer_number(name: str, geometry: Geometry) -> int | None:
    number = name.removeprefix(_LAYER)
    if name.startswith(_LAYER) and number.isdigit() and int(number) < geometry.n_layers:
        return int(number)
    return None


def _coarsening(name: str, geometry: Geometry) -> Coarsening | None:
    numbers = name.removeprefix(_COARSE).split("x")
    if not name.startswith(_COARSE) or len(numbers) != 3 or not all(map(str.isdigit, numbers)):
        return None
    z, a, b = map(int, numbers)
    return Coarsening(geometry, (z, a, b))


def _rows(showers: Showers, names: Sequence[str]) -> dict[str, _Rows]:
    """What to keep of the quantities of showers.

    Raises:
        ValueError: for a name that is no quantity of such showers.
    """
    found = {name: _Rows((values,)) for name, values in of_particles(showers.particles).items()}
    for name in names:
        if name not in found:
            found[name] = (
                _of_points(showers, name)
                if isinstance(showers, PointShowers)
                else _of_voxels(showers, name)
            )
    return {name: found[name] for name in names}


def _of_points(showers: PointShowers, name: str) -> _Rows:
    if name not in _OF_POINTS:
        raise ValueError(
            f"{name!r} is no quantity of point clouds: expected "
            f"{', '.join((*_OF_PARTICLES, *_OF_POINTS))}"
        )
    values = torch.from_numpy(_OF_POINTS[name](showers))
    return _Rows((values,), showers.offset if name == _POINTS else None)


def _of_voxels(showers: VoxelShowers, name: str) -> _Rows:
    geometry = showers.geometry
    if name == _LAYER_ENERGIES:
        return _Rows((torch.from_numpy(showers.layer_energies().astype(np.float32)),))
    if name == _SHOWERS:
        shape = geometry.shape if geometry.is_regular else (geometry.n_voxels,)
        return _sparse(showers.offset, showers.index, showers.energy, shape)
    if coarsening := _coarsening(name, geometry):
        coarse = showers.coarsen(coarsening)
        return _sparse(coarse.offset, coarse.index, coarse.energy, (coarsening.n_coarse,))
    layer = _layer_number(name, geometry)
    if layer is None:
        raise ValueError(
            f"{name!r} is no quantity of showers of {geometry.name}: expected "
            f"{', '.join((*_OF_PARTICLES, _LAYER_ENERGIES, _SHOWERS))}, {layer_name(0)} to "
            f"{layer_name(geometry.n_layers - 1)} or one such as {coarse_name((5, 2, 1))}"
        )
    voxels = geometry.layer_slice(layer)
    inside = (showers.index >= voxels.start) & (showers.index < voxels.stop)
    offset = np.concatenate([[0], np.cumsum(inside)])[showers.offset]
    index = showers.index[inside] - showers.index.dtype.type(voxels.start)
    return _sparse(offset, index, showers.energy[inside], geometry.layer_shapes[layer])


def _sparse(
    offset: NDArray[np.int64], index: NDArray[Any], energy: Floats, shape: tuple[int, ...]
) -> _Rows:
    signed = index.view(f"i{index.itemsize}")  # as PyTorch selects nothing of unsigned numbers
    columns = (_tensor(signed), _tensor(energy.astype(np.float32, copy=False)))
    return _Rows(columns, offset, tuple(shape))


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def _point_rows(showers: PointShowers) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rows = np.empty((len(showers.energy), 4), np.float32)
    for i, name in enumerate(("x", "y", "layer", "energy")):
        rows[:, i] = getattr(showers, name)
    return rows


_OF_PARTICLES = ("energy_inc", "direction", "pdg")
_OF_POINTS: dict[str, Callable[[PointShowers], np.ndarray[Any, Any]]] = {
    "n_points": lambda showers: np.diff(showers.offset),
    "visible_energy": lambda showers: showers.total_energy().astype(np.float32),
    "layer_counts": lambda showers: showers.layer_counts().astype(np.float32),
    _LAYER_ENERGIES: lambda showers: showers.layer_energies().astype(np.float32),
    _POINTS: _point_rows,
}
