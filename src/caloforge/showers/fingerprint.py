"""A fingerprint of showers, which identifies a sample in any file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["RUN", "fingerprint"]

RUN = 1024  # showers hashed at a time


class ShowerBlocks(Protocol):
    """What can be read block by block, as every source of showers."""

    def blocks(self, size: int, /) -> Iterator[Any]: ...


def fingerprint(showers: ShowerBlocks) -> str:
    """Hash of all numbers of showers, in their order; their geometry is left out.

    Incident energies, directions and the voxels or points of every shower count. Energies that
    single precision holds exactly have one hash in single and in double precision.

    Args:
        showers: voxels or points, from any source.
    """
    digest = hashlib.blake2b(digest_size=16)
    for run in showers.blocks(RUN):
        columns = [getattr(run, name) for name in (*run.of_showers, *run.columns)]
        for values in (np.diff(run.offset), *columns):
            digest.update(np.ascontiguousarray(_least(values)).data)
    return digest.hexdigest()


def _least(values: NDArray[Any]) -> NDArray[Any]:
    """In single precision, if that is exact."""
    if values.dtype != np.float64:
        return values
    with np.errstate(over="ignore"):  # infinite in single precision, and so not the same
        single = values.astype(np.float32)
    return single if np.array_equal(single, values) else values
