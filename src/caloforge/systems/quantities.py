"""Named physical quantities of showers, as tensors: the language between stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caloforge.geometry import Coarsening, Geometry
from caloforge.showers import Particles, PointShowers, Showers, VoxelShowers, entries_of
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
`layer_07` [MeV] (n, alpha, r) or (n, x, y), `coarse_5x2x1` [MeV] (n, n_coarse) in the order of
`Coarsening`, `showers` [MeV] (n, *geometry.shape); of point clouds `n_points` (n,),
`visible_energy` [MeV] (n,), `layer_counts` and `layer_energies` [MeV] (n, n_layers), the points in
each layer and their energy, and `points` (n_points of all showers, 4): x [mm], y [mm], layer
(0, 1, …) and energy [MeV], those of one shower behind those of the one before, as `n_points`
says."""

SHARE = 0.25  # of an accelerator's free memory that the quantities of a sample may take
_LAYER = "layer_"
_COARSE = "coarse_"
_POINTS = "points"


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


class ShowerQuantities:
    """The quantities of a sample of showers, drawn in batches.

    Kept in memory where they fit into `budget`, else made batch by batch.

    Args:
        showers: the sample, voxels or points.
        names: the quantities that will be asked for.
        budget: memory for the quantities [bytes].

    Raises:
        ValueError: for a name that is no quantity of the sample.
    """

    def __init__(self, showers: Showers, names: Sequence[str], *, budget: int = 4 << 30) -> None:
        self.showers = showers
        self.names = tuple(names)
        self.device = torch.device("cpu")
        sizes = [_size(name, showers) for name in self.names]
        fits = 4 * len(showers) * sum(sizes) <= budget
        self._kept: Quantities | None = _quantities(showers, self.names) if fits else None

    def __len__(self) -> int:
        return len(self.showers)

    def to(self, device: torch.device | str) -> ShowerQuantities:
        """The same quantities, given out on a device.

        Where they fit into a quarter of an accelerator's free memory, all of them lie there from
        now on; else every batch is sent, and nobody waits for it.
        """
        there = copy(self)
        there.device = torch.device(device)
        kept = self._kept
        if kept is not None and (there.device.type != "cuda" or self._fits(kept, there.device)):
            there._kept = {name: upload(values, there.device) for name, values in kept.items()}
        return there

    @staticmethod
    def _fits(kept: Quantities, device: torch.device) -> bool:
        free, _ = torch.cuda.mem_get_info(device)
        return sum(values.nbytes for values in kept.values()) <= SHARE * free

    def all(self) -> Quantities:
        """Quantities of all showers."""
        return self.take(torch.arange(len(self)))

    def take(self, showers: Tensor) -> Quantities:
        """Quantities of the showers with these numbers, in this order.

        Args:
            showers: their numbers, in the host's memory, shape (n,).
        """
        if self._kept is None:
            found = _quantities(self.showers[showers.numpy()], self.names)
        else:
            rows = dict.fromkeys(self._kept, showers)
            if _POINTS in rows:
                _, points = entries_of(self.showers.offset, showers.numpy())
                rows[_POINTS] = torch.from_numpy(points)
            found = {name: _rows(values, rows[name]) for name, values in self._kept.items()}
        return {name: upload(values, self.device) for name, values in found.items()}

    def split(self, showers: Tensor) -> ShowerQuantities:
        """The same quantities of some of the showers."""
        part = copy(self)
        part.showers = self.showers[showers.numpy()]
        part._kept = None if self._kept is None else self.take(showers)
        return part

    def batches(self, size: int = 1000) -> Iterator[Quantities]:
        """All quantities in runs of up to `size` showers, in order."""
        for start in range(0, len(self), size):
            yield self.take(torch.arange(start, min(start + size, len(self))))


def _rows(values: Tensor, numbers: Tensor) -> Tensor:
    # many times faster than an index in brackets where rows are short
    return values.index_select(0, upload(numbers, values.device))


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


def _size(name: str, showers: Showers) -> float:
    """Numbers of 4 bytes that a quantity has of each shower, in the mean.

    Raises:
        ValueError: for a name that is no quantity of such showers.
    """
    geometry = showers.geometry
    if name in _OF_PARTICLES:
        return _OF_PARTICLES[name]
    if isinstance(showers, PointShowers):
        if name not in _OF_POINTS:
            raise ValueError(
                f"{name!r} is no quantity of point clouds: expected "
                f"{', '.join((*_OF_PARTICLES, *_OF_POINTS))}"
            )
        mean = len(showers.energy) / max(1, len(showers))
        several = {"layer_counts": geometry.n_layers, "layer_energies": geometry.n_layers}
        return {**several, _POINTS: 4 * mean}.get(name, 2)
    sizes = {"layer_energies": geometry.n_layers, "showers": geometry.n_voxels}
    if name in sizes:
        return sizes[name]
    if coarsening := _coarsening(name, geometry):
        return coarsening.n_coarse
    layer = _layer_number(name, geometry)
    if layer is None:
        raise ValueError(
            f"{name!r} is no quantity of showers of {geometry.name}: expected "
            f"{', '.join((*_OF_PARTICLES, *sizes))}, {layer_name(0)} to "
            f"{layer_name(geometry.n_layers - 1)} or one such as {coarse_name((5, 2, 1))}"
        )
    a, b = geometry.layer_shapes[layer]
    return a * b


def _quantities(showers: Showers, names: Sequence[str]) -> Quantities:
    values = of_particles(showers.particles)
    others = [name for name in names if name not in values]
    if isinstance(showers, PointShowers):
        values |= {name: torch.from_numpy(_OF_POINTS[name](showers)) for name in others}
    else:
        values |= _voxel_quantities(showers, others)
    return {name: values[name] for name in names}


def _voxel_quantities(showers: VoxelShowers, names: Sequence[str]) -> Quantities:
    event = showers.event()
    values: Quantities = {}
    for name in names:
        if name == "layer_energies":
            values[name] = torch.from_numpy(showers.layer_energies().astype(np.float32))
        elif name == "showers":
            values[name] = torch.from_numpy(showers.dense().astype(np.float32, copy=False))
        elif coarsening := _coarsening(name, showers.geometry):
            coarse = showers.coarsen(coarsening).dense().reshape(-1, coarsening.n_coarse)
            values[name] = torch.from_numpy(coarse.astype(np.float32, copy=False))
        else:
            layer = _layer_number(name, showers.geometry)
            assert layer is not None
            values[name] = torch.from_numpy(_dense_layer(showers, event, layer))
    return values


def _dense_layer(
    showers: VoxelShowers, event: np.ndarray[tuple[int], np.dtype[np.int64]], layer: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    voxels = showers.geometry.layer_slice(layer)
    inside = (showers.index >= voxels.start) & (showers.index < voxels.stop)
    block = np.zeros((len(showers), voxels.stop - voxels.start), dtype=np.float32)
    block[event[inside], showers.index[inside] - voxels.start] = showers.energy[inside]
    return block.reshape(len(showers), *showers.geometry.layer_shapes[layer])


def _point_rows(showers: PointShowers) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rows = np.empty((len(showers.energy), 4), np.float32)
    for i, name in enumerate(("x", "y", "layer", "energy")):
        rows[:, i] = getattr(showers, name)
    return rows


_OF_PARTICLES = {"energy_inc": 1, "direction": 3, "pdg": 2}  # numbers of 4 bytes a shower
_OF_POINTS: dict[str, Callable[[PointShowers], np.ndarray[Any, Any]]] = {
    "n_points": lambda showers: np.diff(showers.offset),
    "visible_energy": lambda showers: showers.total_energy().astype(np.float32),
    "layer_counts": lambda showers: showers.layer_counts().astype(np.float32),
    "layer_energies": lambda showers: showers.layer_energies().astype(np.float32),
    _POINTS: _point_rows,
}
