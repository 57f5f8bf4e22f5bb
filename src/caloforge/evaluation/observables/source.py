"""Where observables are taken from: showers in memory or an open file, read in a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from caloforge.geometry import Geometry
from caloforge.showers import Floats as Energies
from caloforge.showers import Particles, VoxelShowers

__all__ = ["Floats", "ShowerSource", "stream", "sum_by"]

Floats = NDArray[np.float64]

BATCH_SIZE = 512  # showers read at a time: about a million voxels, which stay in the cache


class ShowerSource(Protocol):
    """Showers in memory or an open file of showers: what can be read run by run."""

    @property
    def energy_inc(self) -> Energies: ...

    @property
    def particles(self) -> Particles: ...

    @property
    def geometry(self) -> Geometry: ...

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, selection: slice) -> VoxelShowers: ...
    @overload
    def __getitem__(self, selection: Any) -> Any: ...


def stream(
    showers: ShowerSource, threshold: float | None = None, size: int = BATCH_SIZE
) -> Iterator[VoxelShowers]:
    """Read showers in runs, without the voxels below a read-out threshold [MeV]."""
    for start in range(0, len(showers), size):
        batch = showers[start : start + size]
        yield batch if threshold is None else batch.above(threshold)


def sum_by(key: NDArray[np.int64], values: NDArray[Any], shape: tuple[int, ...]) -> Floats:
    """Sum of the values that share a key, in double precision, laid out in `shape`."""
    sums = np.bincount(key, weights=values, minlength=int(np.prod(shape)))
    return np.asarray(sums, dtype=np.float64).reshape(shape)
