"""A fingerprint of showers, by which the same sample is known wherever it is kept."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["fingerprint"]

RUN = 1024  # showers hashed at a time


class ShowerRuns(Protocol):
    """Showers in memory or an open file of them: what can be read run by run."""

    def __len__(self) -> int: ...

    def __getitem__(self, selection: slice, /) -> Any: ...


def fingerprint(showers: ShowerRuns) -> str:
    """Hash of all numbers of showers, in their order; their geometry is left out.

    Incident energies, directions and the voxels or points of every shower count. Energies that
    single precision holds exactly have one hash in single and in double precision.

    Args:
        showers: voxels or points, in memory or an open file.
    """
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, len(showers), RUN):
        run = showers[start : start + RUN]
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
