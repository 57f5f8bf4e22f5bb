"""Columns of a file: how they grow, and those of the incident particles, `direction` and `pdg`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from caloforge.data.hdf5 import ShowerFileError, find, find_dataset
from caloforge.pdg import NOT_KNOWN, pdg_code
from caloforge.showers import ALONG_DEPTH, Particles

__all__ = [
    "COLUMNS",
    "COMPRESSION",
    "ROWS",
    "code_of",
    "extend",
    "extend_columns",
    "find_columns",
    "growing",
]

COMPRESSION: dict[str, Any] = {"compression": "gzip", "compression_opts": 4, "shuffle": True}
ROWS = 1 << 12  # showers in a chunk of a column

COLUMNS: dict[str, NDArray[Any]] = {
    "direction": np.array(ALONG_DEPTH, np.float32),
    "pdg": np.array(NOT_KNOWN, np.int32),
}
"""The columns that particles have besides their energies, with the value by default."""


def find_columns(
    file: h5py.File, n: int, names: Mapping[str, str] | None = None
) -> dict[str, h5py.Dataset]:
    """Those of `COLUMNS` that a file of n showers holds.

    Args:
        file: the file.
        n: number of its showers.
        names: their names in the file, by caloforge's names; by default the same.

    Raises:
        ShowerFileError: for one of another shape, or as for `find_dataset`.
    """
    found = {}
    for name, default in COLUMNS.items():
        stored = name if names is None else names[name]
        if find(file, stored) is None:
            continue
        found[name] = find_dataset(file, stored)
        if found[name].shape != (n, *default.shape):
            raise ShowerFileError(
                f"{file.filename}: {stored} must have shape {(n, *default.shape)} for {n} "
                f"incident energies, got {found[name].shape}"
            )
    return found


def extend_columns(file: h5py.File, particles: Particles, n_before: int) -> None:
    """Append `COLUMNS` of particles, each from the first on that is not as by default.

    Args:
        file: the file.
        particles: to be written after the others.
        n_before: number of the others.
    """
    for name, default in COLUMNS.items():
        values = getattr(particles, name)
        if name not in file:
            if (values == default).all():
                continue
            growing(file, name, default.dtype, default.shape, chunk=ROWS)
            extend(file[name], np.broadcast_to(default, (n_before, *default.shape)))
        extend(file[name], values)


def code_of(particle: Any) -> int:
    """Code of the kind that an attribute `particle` names, 0 where it names none that is known."""
    name = particle.decode(errors="replace") if isinstance(particle, bytes) else particle
    try:
        return pdg_code(str(name))
    except ValueError:
        return NOT_KNOWN


def growing(
    group: h5py.Group, name: str, dtype: Any, shape: tuple[int, ...] = (), chunk: int = 1 << 16
) -> h5py.Dataset:
    """Create an empty, compressed dataset that grows along its first axis."""
    return group.create_dataset(
        name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(chunk, *shape), **COMPRESSION
    )


def extend(dataset: h5py.Dataset, values: NDArray[Any]) -> None:
    """Append values along the first axis."""
    start = dataset.shape[0]
    dataset.resize(start + len(values), axis=0)
    dataset[start:] = values
