"""Which training showers a bank keeps that may take so much and no more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caloforge.showers import PointShowers, VoxelShowers

__all__ = ["spread"]

SPARING = 0.5  # power of its size by which a large shower is kept less often
BLOCK = 64  # showers of nearly the same energy, which are taken in the order of their depth
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def spread(showers: VoxelShowers | PointShowers, sizes: Floats, limit: float) -> Integers:
    """Numbers of showers of all energies and depths, which together take no more than a limit.

    A shower of size s is kept with the probability min(1, c s^-1/2): where the variance of a mean
    falls with the number of showers at each energy, that is the best for what they take (Neyman,
    J. R. Stat. Soc. 97, 1934, 558). Of showers in the order of energy, and of depth among those of
    nearly one energy, every so many are taken, as these probabilities say.

    Args:
        showers: n of them.
        sizes: of each, shape (n,).
        limit: of the sum of the sizes.

    Returns:
        Rising numbers, shape (n_kept,).

    Raises:
        ValueError: if the limit has no room for one shower.
    """
    if sizes.sum() <= limit:
        return np.arange(len(showers))
    order = _in_order(showers)
    low, high = 0.0, float(sizes.max() ** SPARING)
    kept = np.zeros(0, np.int64)
    for _ in range(60):
        factor = (low + high) / 2
        found = _every(order, (factor * sizes**-SPARING).clip(max=1))
        if sizes[found].sum() <= limit:
            low, kept = factor, found
        else:
            high = factor
    if not len(kept):
        raise ValueError(
            f"a bank of {limit:g} bytes has no room for a shower of {sizes.min():g}: allow more"
        )
    return kept


def _in_order(showers: VoxelShowers | PointShowers) -> Integers:
    """By energy, in blocks of which every second rises in depth and the others fall."""
    energies = showers.layer_energies().astype(float)
    layers = np.arange(energies.shape[1])
    depth = (energies * layers).sum(1) / np.maximum(energies.sum(1), np.finfo(float).tiny)
    block = np.empty(len(showers), np.int64)
    block[np.argsort(showers.energy_inc, kind="stable")] = np.arange(len(showers)) // BLOCK
    return np.lexsort((depth * (1 - 2 * (block % 2)), block))


def _every(order: Integers, share: Floats) -> Integers:
    """Those where the sum of the shares passes the next half-integer."""
    steps = np.floor(np.cumsum(share[order]) + 0.5)
    return np.sort(order[np.diff(steps, prepend=0.0) > 0])
