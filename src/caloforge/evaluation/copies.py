"""Showers that samples share, found by their content: they would make a floor false."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from caloforge.evaluation.observables import Floats, ShowerSource, stream
from caloforge.geometry import Geometry
from caloforge.showers import Particles

__all__ = ["Chosen", "Shared", "find_shared", "fingerprints", "same_showers"]

TOLERANCE = 1e-3  # what rounding to 11 bits, or storing in other units, may change an energy by
FEWEST = 10  # voxels with energy: with fewer two showers may be equal by chance
N_PROJECTIONS = 16
N_NEIGHBOURS = 8


def fingerprints(showers: ShowerSource, threshold: float) -> Floats:
    r"""A place for each shower, where its copies lie together and other showers far away.

    .. math:: f = \left(\log E_\mathrm{inc}, \log |e|, W e / |e|\right)

    with the voxel energies e above the threshold and sixteen fixed random directions W of variance
    1/16, so that distances are about those of the voxel energies over |e|, to which rounding adds
    its relative error. The order of the voxels does not count.

    Args:
        showers: showers in memory, or an open file, which is read in a stream.
        threshold: read-out threshold [MeV].

    Returns:
        Shape (n, 18); NaN for a shower with fewer than ten voxels, which is too few.

    Source: projections that keep distances, Johnson and Lindenstrauss, 1984.
    """
    directions = _directions(showers.geometry)
    found = np.full((len(showers), 2 + N_PROJECTIONS), np.nan)
    start = 0
    for batch in stream(showers, threshold):
        energy = batch.energy.astype(np.float64)
        shape = len(batch), showers.geometry.n_voxels
        voxels = csr_array((energy, batch.index, batch.offset), shape=shape)
        norm = np.sqrt(np.asarray(voxels.multiply(voxels).sum(axis=1), np.float64))
        rows = (np.diff(batch.offset) >= FEWEST) & (norm > 0) & (batch.energy_inc > 0)
        shape_of = (voxels @ directions)[rows] / norm[rows, None]
        scales = np.log([batch.energy_inc[rows].astype(np.float64), norm[rows]])
        found[start : start + len(batch)][rows] = np.concatenate([scales.T, shape_of], axis=1)
        start += len(batch)
    return found


def _directions(geometry: Geometry) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    random = rng.standard_normal((geometry.n_voxels, N_PROJECTIONS), dtype=np.float32)
    return np.asarray(random / np.float32(np.sqrt(N_PROJECTIONS)))


def same_showers(places: Mapping[str, Floats]) -> dict[str, NDArray[np.int64]]:
    """Numbers of the showers of several samples: copies have one number, within and between them.

    Args:
        places: `fingerprints` by sample, shape (n, k) each.

    Returns:
        Numbers by sample, shape (n,) each.
    """
    joined = np.concatenate(list(places.values()))
    number, left = np.arange(len(joined)), np.flatnonzero(np.isfinite(joined).all(axis=1))
    while len(left) > 1:  # one of all copies stays, so that a next round joins groups of many
        k = min(N_NEIGHBOURS, len(left))
        tree = KDTree(joined[left], balanced_tree=False, compact_nodes=False)
        found = tree.query(joined[left], k=range(1, k + 1), distance_upper_bound=TOLERANCE)
        near = np.asarray(found[1], np.int64)
        row, column = np.nonzero(near < len(left))
        links = coo_array((np.ones(len(row)), (row, near[row, column])), (len(left), len(left)))
        n_groups, group = connected_components(links, directed=False)
        if n_groups == len(left):
            break
        first = left[np.unique(group, return_index=True)[1]]
        number[left] = first[group]
        left = first
    while np.any(number != number[number]):
        number = number[number]
    borders = np.cumsum([len(place) for place in places.values()])[:-1]
    return dict(zip(places, np.split(number, borders), strict=True))


@dataclass(frozen=True)
class Shared:
    """Showers that a sample has from another one, or that it holds more than once.

    Args:
        sample: name of the sample.
        origin: name of the other one, the sample's own for copies within it.
        n: how many of its showers those are.
        size: how many showers it has.
        example: number of one of them, counted from 0, and of the same shower in the other sample.
        consequence: what follows from it.
    """

    sample: str
    origin: str
    n: int
    size: int
    example: tuple[int, int]
    consequence: str

    @property
    def text(self) -> str:
        """All of it in a sentence."""
        first, second = self.example
        of = "again" if self.origin == self.sample else f"of {self.origin}"
        return (
            f"{self.sample} holds {self.n:,} showers {of} among its {self.size:,} (its no. {first} "
            f"is no. {second}{'' if of == 'again' else ' there'}): {self.consequence}"
        )


def find_shared(
    numbers: Mapping[str, NDArray[np.int64]], consequence: Callable[[str, str], str]
) -> Iterator[Shared]:
    """Copies within each sample, then what each has from those before it.

    Args:
        numbers: of the showers by sample, see `same_showers`.
        consequence: of copies, by the name of the sample that has them and of the one they are of.
    """
    for name, mine in numbers.items():
        first = np.unique(mine, return_index=True)[1]
        again = np.setdiff1d(np.arange(len(mine)), first)
        yield from _shared(name, name, mine, mine, again, consequence)
    for origin, name in combinations(numbers, 2):
        mine, theirs = numbers[name], numbers[origin]
        rows = np.flatnonzero(np.isin(mine, theirs))
        yield from _shared(name, origin, mine, theirs, rows, consequence)


def _shared(
    name: str,
    origin: str,
    mine: NDArray[np.int64],
    theirs: NDArray[np.int64],
    rows: NDArray[np.int64],
    consequence: Callable[[str, str], str],
) -> Iterator[Shared]:
    if len(rows):
        example = int(rows[0]), int(np.argmax(theirs == mine[rows[0]]))
        yield Shared(name, origin, len(rows), len(mine), example, consequence(name, origin))


@dataclass(frozen=True, eq=False)
class Chosen:
    """Some showers of a source, as a source like any file of them.

    Args:
        source: showers of either kind, in memory or an open file.
        rows: which of them, rising, shape (n,).
    """

    source: Any
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def geometry(self) -> Geometry:
        """The voxels, or the layers of points."""
        geometry: Geometry = self.source.geometry
        return geometry

    @property
    def path(self) -> Path | None:
        """The file of the showers, None for showers in memory."""
        return getattr(self.source, "path", None)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The metadata of the file."""
        return getattr(self.source, "attributes", {})

    @property
    def energy_inc(self) -> Any:
        """Incident energies [MeV], shape (n,)."""
        return np.asarray(self.source.energy_inc)[self.rows]

    @property
    def particles(self) -> Particles:
        """The incident particles, one a shower."""
        every: Particles = self.source.particles
        return every[self.rows]

    def blocks(self, size: int, /) -> Iterator[Any]:
        """All of them in runs of up to `size` showers, in order."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def __getitem__(self, selection: slice) -> Any:
        """Read a run of showers: from the first to the last of them, without those left out."""
        rows = self.rows[selection]
        if not len(rows):
            return self.source[:0]
        return self.source[int(rows[0]) : int(rows[-1]) + 1][rows - rows[0]]
