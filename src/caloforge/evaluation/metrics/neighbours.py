"""Precision, recall, density and coverage by nearest neighbours (PRDC)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from caloforge.evaluation.comparison import Columns, Comparison, Metric
from caloforge.evaluation.observables import Floats
from caloforge.evaluation.sample import Sample
from caloforge.showers import VoxelShowers

__all__ = ["NearestNeighbours", "prdc", "voxel_features"]

EMPTY_VOXEL = 0.1  # MeV, which the CaloChallenge gives to voxels without energy
BLOCK_BYTES = 2**27  # of a block of dense rows
BLOCK_ROWS = 1024  # of a block of distances
DENSE = 0.1  # fraction of rows with energy above which a column's zeros are multiplied too
PAIRS = 512  # of rows that are subtracted at a time

Integers = NDArray[np.int64]


def voxel_features(showers: VoxelShowers) -> csr_array:
    r"""The logarithm of all voxel energies, as the CaloChallenge compares them.

    .. math:: \log_{10}(x_v / 0.1\,\mathrm{MeV}), \qquad 0\ \mathrm{where}\ x_v = 0

    The published features are :math:`\log_{10} x_v` with empty voxels set to 0.1 MeV; adding 1 to
    each changes no distance and leaves empty voxels out. Note that 0.1 MeV exceeds the threshold of
    datasets 2 and 3 (0.015 MeV): voxels between the two count as *smaller* than empty ones.

    Args:
        showers: showers without the voxels below the read-out threshold.

    Returns:
        Sparse features, shape (n, n_voxels).

    Source: CaloChallenge, ``evaluate.py``.
    """
    values = np.log10(showers.energy.astype(np.float64)) - np.log10(EMPTY_VOXEL)
    shape = len(showers), showers.geometry.n_voxels
    return csr_array((values, showers.index.astype(np.int32), showers.offset), shape=shape)


def prdc(
    reference: ArrayLike | csr_array, candidate: ArrayLike | csr_array, *, k: int = 5
) -> dict[str, float]:
    r"""Precision, recall, density and coverage of a candidate by nearest neighbours.

    With the Euclidean distances :math:`d_{ij}` of reference i and candidate j, :math:`R_i` from i
    to its k-th nearest other reference and :math:`F_j` from j to its k-th nearest other candidate,

    ==========  ==================================================================================
    precision   fraction of candidates j with :math:`d_{ij} < R_i` for some i
    recall      fraction of references i with :math:`d_{ij} < F_j` for some j
    density     :math:`\frac{1}{km}` times the number of pairs with :math:`d_{ij} < R_i`
    coverage    fraction of references i with :math:`d_{ij} < R_i` for some j
    ==========  ==================================================================================

    Rows are multiplied block by block. Pairs that rounding leaves in doubt, above all those of
    equal rows, are subtracted instead, so that every strict inequality is that of the definition.

    Args:
        reference: features of Geant4 showers, an array or sparse rows, shape (n, columns).
        candidate: features of generated showers, shape (m, columns).
        k: which neighbour.

    Returns:
        The four numbers by name. They depend on n and m; read them against the floor.

    Raises:
        ValueError: for features that are not finite or do not fit together, or too few rows.

    Source: Naeem et al., arXiv:2002.09797; the package ``prdc`` 0.2.
    """
    real, fake = _rows("reference", reference, k), _rows("candidate", candidate, k)
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"both samples must have the same columns, got {real.shape[1]} in the reference and "
            f"{fake.shape[1]} in the candidate"
        )
    real_radius, fake_radius = _squared_radii(real, k), _squared_radii(fake, k)
    tolerance = _tolerance(real, fake)
    is_precise, is_recalled = np.zeros(fake.shape[0], bool), np.zeros(real.shape[0], bool)
    is_covered, n_pairs = np.zeros_like(is_recalled), 0
    for i, j, squared in _squared_distances(real, fake):
        first, second = real_radius[i, None], fake_radius[None, j]
        in_doubt = (np.abs(squared - first) <= tolerance) & (first > 0)
        in_doubt |= (np.abs(squared - second) <= tolerance) & (second > 0)
        rows, columns = np.nonzero(in_doubt)
        squared[rows, columns] = _subtracted(real, rows + i.start, fake, columns + j.start)
        near_real = squared < first
        is_precise[j] |= near_real.any(axis=0)
        is_covered[i] |= near_real.any(axis=1)
        is_recalled[i] |= (squared < second).any(axis=1)
        n_pairs += int(np.count_nonzero(near_real))
    return {
        "precision": float(is_precise.mean()),
        "recall": float(is_recalled.mean()),
        "density": n_pairs / (k * fake.shape[0]),
        "coverage": float(is_covered.mean()),
    }


def _rows(name: str, features: ArrayLike | csr_array, k: int) -> csr_array:
    if isinstance(features, csr_array):
        rows = features.astype(np.float64)
    else:
        rows = csr_array(np.asarray(features, np.float64))
    if rows.ndim != 2 or rows.shape[0] <= k:
        raise ValueError(
            f"features must have shape (n, columns) with more than k = {k} rows, got {rows.shape} "
            f"for the {name}"
        )
    if not np.isfinite(rows.data).all():
        raise ValueError(f"the features of the {name} must be finite: remove broken showers")
    return rows


def _squared_radii(rows: csr_array, k: int) -> Floats:
    """Squared distance of each row to its k-th nearest other row, by subtraction."""
    near, which = _nearest(rows, 2 * k)
    # The k-th smallest of values off by up to one tolerance is off by no more than that itself.
    margin = 2 * _tolerance(rows, rows)
    kth = near[:, k - 1 : k]
    exact = np.where(near < kth, -np.inf, np.inf)
    i, place = np.nonzero(np.abs(near - kth) <= margin)
    exact[i, place] = _subtracted(rows, i, rows, which[i, place])
    exact.sort(axis=1)
    squared = exact[:, k - 1]
    # More neighbours may tie with the k-th than were kept; none is nearer than 0.
    for row in np.flatnonzero((near[:, -1:] <= kth + margin)[:, 0] & (squared > 0)):
        others = np.delete(np.arange(rows.shape[0]), row)
        found = _subtracted(rows, np.full_like(others, row), rows, others)
        squared[row] = np.partition(found, k - 1)[k - 1]
    return np.asarray(squared)


def _nearest(rows: csr_array, n_kept: int) -> tuple[Floats, Integers]:
    """Squared distances of each row to its nearest others, ascending, and which these are."""
    near = np.full((rows.shape[0], n_kept), np.inf)
    which = np.zeros(near.shape, np.int64)

    def keep(i: slice, j: slice, squared: Floats) -> None:
        numbers = np.broadcast_to(np.arange(j.start, j.start + squared.shape[1]), squared.shape)
        all_near, all_which = np.hstack([near[i], squared]), np.hstack([which[i], numbers])
        chosen = np.argpartition(all_near, n_kept - 1, axis=1)[:, :n_kept]
        near[i] = np.take_along_axis(all_near, chosen, axis=1)
        which[i] = np.take_along_axis(all_which, chosen, axis=1)

    for i, j, squared in _squared_distances(rows):
        if i == j:
            np.fill_diagonal(squared, np.inf)
        else:
            keep(j, i, squared.T)
        keep(i, j, squared)
    order = np.argsort(near, axis=1)
    return np.take_along_axis(near, order, axis=1), np.take_along_axis(which, order, axis=1)


def _squared_distances(
    x: csr_array, y: csr_array | None = None
) -> Iterator[tuple[slice, slice, Floats]]:
    """Blocks of |x|² + |y|² - 2 x y, within a tolerance; without y those with i <= j of x."""
    other = x if y is None else y
    squares = _square(x), _square(other)
    is_dense = _occupied(x, other) > DENSE
    size = max(1, min(BLOCK_ROWS, BLOCK_BYTES // (8 * max(1, int(is_dense.sum())))))
    dense, sparse = ([rows[:, where] for rows in (x, other)] for where in (is_dense, ~is_dense))
    for i in _slices(x.shape[0], size):
        rows = dense[0][i].toarray()
        for j in _slices(other.shape[0], size):
            if y is None and j.start < i.start:
                continue
            squared = np.asarray(rows @ dense[1][j].toarray().T)
            squared += (sparse[0][i] @ sparse[1][j].T).toarray()
            squared *= -2
            squared += squares[0][i, None]
            squared += squares[1][j]
            yield i, j, np.maximum(squared, 0, out=squared)


def _occupied(x: csr_array, y: csr_array) -> Floats:
    """Fraction of the rows of both that have an entry, of each column."""
    counts = sum(np.bincount(rows.indices, minlength=rows.shape[1]) for rows in (x, y))
    return np.asarray(counts / max(1, x.shape[0] + y.shape[0]), np.float64)


def _slices(n: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, n, size))


def _square(rows: csr_array) -> Floats:
    return np.asarray(rows.multiply(rows).sum(axis=1), dtype=np.float64)


def _tolerance(x: csr_array, y: csr_array) -> float:
    """Bound of the difference between a product's and a subtraction's squared distance.

    A sum of D products in any order is off by up to D times half the precision times the sum of
    their sizes, which is at most (|x|² + |y|²) / 2 for x y.
    """
    largest = _square(x).max() + _square(y).max()
    return float(2 * (x.shape[1] + 8) * np.finfo(np.float64).eps * largest)


def _subtracted(x: csr_array, i: NDArray[Any], y: csr_array, j: NDArray[Any]) -> Floats:
    """Squared distances of pairs of rows, 0 for equal rows and the same for equal pairs."""
    parts = [_square(x[i[pairs]] - y[j[pairs]]) for pairs in _slices(len(i), PAIRS)]
    return np.concatenate(parts) if parts else np.empty(0)


class NearestNeighbours(Metric):
    """Precision, recall, density and coverage in the space of all voxels, see `prdc`.

    A subsample has up to 2,000 showers, as the cost rises with their square: of more, three random
    samples of 2,000 give the value and its error. The published values are for 100,000 and may not
    be compared with these: precision and recall fall where showers are many.
    """

    name = "prdc"
    repeats = 3
    max_size = 2_000

    def __init__(self, reference: Sample, threshold: float) -> None:
        """Nothing is fitted to the whole reference."""

    def columns(self, sample: Sample) -> Columns:
        """The showers themselves."""
        return {"voxels": sample.voxels()}

    def compare(self, reference: Columns, candidate: Columns, seed: int) -> Comparison:
        """The four numbers."""
        return Comparison(prdc(*(_features(side) for side in (reference, candidate))))


def _features(columns: Columns) -> csr_array:
    showers = columns["voxels"]
    assert isinstance(showers, VoxelShowers)
    return voxel_features(showers)
