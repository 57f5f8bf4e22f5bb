"""Spectra of voxel energies, in fine logarithmic bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caloforge.evaluation.observables import Floats, ShowerSource, stream
from caloforge.showers import Showers

__all__ = [
    "Spectrum",
    "find_bins",
    "find_logarithmic_bins",
    "logarithmic_edges",
    "spectrum_edges",
]

COARSE_BINS = 49  # the CaloChallenge's bins of the voxel spectrum
FINE_PER_COARSE = 10  # narrower bins that the Wasserstein distance of the spectrum is taken on
BINS_BELOW = 20  # of the CaloChallenge's width, below the threshold


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Energies of the voxels, or of the points, of each shower in fine logarithmic bins.

    Args:
        edges: borders of the bins [MeV], shape (k + 1,); every tenth is one of the CaloChallenge's.
        counts: voxels of each shower in each bin, shape (n, k).
        n_above: voxels above the last border, shape (n,).
        excess: sum of their energies beyond the last border [MeV], shape (n,).
        below: voxels in each of the bins of `below_edges`, shape (n, 20). They lie below the
            threshold and are for the eye alone: no other observable counts them.
    """

    edges: Floats
    counts: NDArray[np.unsignedinteger[Any]]
    n_above: Floats
    excess: Floats
    below: NDArray[np.unsignedinteger[Any]]

    @classmethod
    def empty(cls, n: int, edges: Floats, dtype: DTypeLike) -> Spectrum:
        """The spectrum of n showers that are yet to be counted, see `fill`.

        Args:
            n: number of showers.
            edges: borders of the bins [MeV].
            dtype: of the counts; holds the number of voxels of a shower.
        """
        counts, below = np.zeros((n, len(edges) - 1), dtype), np.zeros((n, BINS_BELOW), dtype)
        return cls(edges, counts, np.zeros(n), np.zeros(n), below)

    def fill(self, rows: slice, showers: Showers, bins: NDArray[np.int64], whole: Showers) -> None:
        """Count a run of showers.

        Args:
            rows: which ones they are.
            showers: without what lies below the threshold.
            bins: bin of each of their entries as `find_logarithmic_bins` finds it, shape (nnz,).
            whole: the same showers with everything.
        """
        self.counts[rows], beyond = _count(showers, bins, self.edges)
        self.n_above[rows], self.excess[rows] = beyond
        self.below[rows] = _count_below(whole, self.edges)

    @property
    def coarse_edges(self) -> Floats:
        """Borders of the CaloChallenge's bins [MeV], shape (50,)."""
        return self.edges[::FINE_PER_COARSE]

    @property
    def below_edges(self) -> Floats:
        """Borders of bins as wide that end at the first of the others [MeV], shape (21,)."""
        return _edges_below(self.edges)

    def coarse(self) -> Floats:
        """Voxels of each shower in the CaloChallenge's bins, shape (n, 49)."""
        starts = np.arange(0, self.counts.shape[1], FINE_PER_COARSE)
        return np.add.reduceat(self.counts, starts, axis=1, dtype=np.float64)


def spectrum_edges(reference: ShowerSource, threshold: float) -> Floats:
    """Borders of the bins of the voxel spectrum [MeV], from the threshold to the highest energy.

    Without a threshold, from the lowest energy; to twice that where all voxels have the same.

    Raises:
        ValueError: if no voxel is above the threshold.
    """
    lowest, highest = threshold or np.inf, 0.0
    for batch in stream(reference, threshold):
        highest = max(highest, float(batch.energy.max(initial=0)))
        if not threshold:
            lowest = min(lowest, float(batch.energy.min(initial=np.inf)))
    if not highest:
        raise ValueError(
            f"the reference has no voxel above the threshold of {threshold} MeV: lower it"
            if threshold
            else "the reference has no voxel with energy: all its showers are empty"
        )
    return logarithmic_edges(lowest, highest if highest > lowest else 2 * lowest)


def logarithmic_edges(lowest: float, highest: float) -> Floats:
    """The CaloChallenge's 50 logarithmic borders between two energies, each bin cut into ten."""
    coarse = np.logspace(np.log10(lowest), np.log10(highest), COARSE_BINS + 1)
    steps = np.arange(FINE_PER_COARSE) / FINE_PER_COARSE
    inner = coarse[:-1, None] * (coarse[1:] / coarse[:-1])[:, None] ** steps
    return np.append(inner.ravel(), coarse[-1])


def _edges_below(edges: Floats) -> Floats:
    ratio = edges[FINE_PER_COARSE] / edges[0]
    return np.asarray(edges[0] * ratio ** np.arange(-BINS_BELOW, 1.0))


def _count_below(showers: Showers, edges: Floats) -> NDArray[np.int64]:
    """Histogram of each shower's energies below the first border, see `Spectrum`, shape (n, 20).

    Args:
        showers: the showers with all their voxels, or their points.
        edges: borders of the bins above [MeV].
    """
    soft = showers.energy < edges[0]
    bins = find_logarithmic_bins(showers.energy[soft], _edges_below(edges))
    key = (showers.event()[soft] * BINS_BELOW + bins)[bins >= 0]
    counts = np.bincount(key, minlength=len(showers) * BINS_BELOW)
    return counts.reshape(len(showers), BINS_BELOW)


def _count(
    showers: Showers, bins: NDArray[np.int64], edges: Floats
) -> tuple[NDArray[np.int64], Floats]:
    """Histogram of each shower's energies; number and energy of those above the last border.

    Args:
        showers: the showers.
        bins: bin of each entry as `find_logarithmic_bins` finds it, shape (nnz,).
        edges: borders of the bins [MeV].
    """
    n, k = len(showers), len(edges) - 1
    energy, event = showers.energy.astype(np.float64), showers.event()
    inside, above = bins >= 0, energy > edges[-1]
    counts = np.bincount(event[inside] * k + bins[inside], minlength=n * k)
    beyond = [
        np.bincount(event[above], minlength=n),
        np.bincount(event[above], weights=energy[above] - edges[-1], minlength=n),
    ]
    return counts.reshape(n, k), np.asarray(beyond, dtype=np.float64)


def find_logarithmic_bins(values: NDArray[Any], edges: Floats) -> NDArray[np.int64]:
    """As `find_bins` for borders of one ratio, without a search among hundreds of them."""
    k, values = len(edges) - 1, np.asarray(values, np.float64)
    step = np.log(edges[-1] / edges[0]) / k
    with np.errstate(divide="ignore"):
        guess = np.clip(np.log(values / edges[0]) / step, 0, k - 1).astype(np.int64)
    # Rounding puts a value that lies on a border into the bin before or after it.
    guess += (values >= edges[guess + 1]) & (guess < k - 1)
    guess -= (values < edges[guess]) & (guess > 0)
    return np.where((values < edges[0]) | (values > edges[-1]), -1, guess)


def find_bins(values: Floats, edges: Floats) -> NDArray[np.int64]:
    """Bin of each value as numpy's histogram has it: [a, b), the last one closed; -1 outside."""
    found = np.searchsorted(edges, values, side="right") - 1
    found = np.where(values == edges[-1], len(edges) - 2, found)
    return np.where((found < 0) | (found >= len(edges) - 1), -1, found)
