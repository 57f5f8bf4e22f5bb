"""Clusters: points of a layer that lie around one of high energy, as one particle leaves them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from caloforge.showers.particles import Floats
from caloforge.showers.points import PointShowers
from caloforge.showers.ragged import offsets, sums

__all__ = ["ClusteredShowers", "clustered"]

AT_ONCE = 400_000  # points that look for their neighbours together, to bound the memory

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClusteredShowers(PointShowers):
    """Showers whose points are clusters, at their centres and with their sums of energy.

    Args:
        first: row of each cluster's first member, shape (n_points,).
        size: number of its members, shape (n_points,).
        members: x [mm], y [mm] and energy [MeV] of the points that the clusters are made of, the
            members of one in a run of rows, shape (m, 3). Selected showers keep all rows.
    """

    first: Integers = field(kw_only=True)
    size: Integers = field(kw_only=True)
    members: Floats = field(kw_only=True)

    columns: ClassVar[tuple[str, ...]] = (*PointShowers.columns, "first", "size")

    def __post_init__(self) -> None:
        super().__post_init__()
        ends = self.first + self.size
        if self.size.size and not (
            self.first.min() >= 0 and self.size.min() >= 1 and ends.max() <= len(self.members)
        ):
            raise ValueError(
                f"every cluster needs 1 member or more among the {len(self.members)} rows, got "
                f"{self.size.min()} at the least, and rows {self.first.min()} to {ends.max()}"
            )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        begins = offsets(np.array([len(part.members) for part in parts], dtype=np.int64))
        members = np.concatenate([part.members for part in parts])
        moved = [
            dataclasses.replace(part, first=part.first + begin, members=members)
            for part, begin in zip(parts, begins[:-1], strict=True)
        ]
        return super().concatenate(moved)


def clustered(showers: PointShowers, reach: float, largest: int) -> ClusteredShowers:
    """Showers whose points are grouped around those of highest energy.

    Each point follows the one of highest energy among all of its layer that are within reach of it,
    which may be itself; those that end at the same one are a cluster. One of too many members, as
    in the core of a shower, where particles cannot be distinguished, is split into its points
    again. A cluster lies at the centre of gravity of its members and has their energy, so that
    energies, and centres of gravity, of layers and showers are kept.

    Args:
        showers: points, on a grid finer than the reach or on none.
        reach: largest distance between points of one cluster [mm].
        largest: number of members that a cluster has at most.

    Raises:
        ValueError: for a reach that is not above 0, or a number that is not.
    """
    if not (np.isfinite(reach) and reach > 0 and largest > 0):
        raise ValueError(
            f"clusters need a reach above 0 [mm] and 1 member or more, got {reach} and {largest}"
        )
    begins = np.flatnonzero(np.diff(showers.offset[:-1] // AT_ONCE, prepend=-1))
    cuts = pairwise([*begins.tolist(), len(showers)])
    parts = [_clustered(showers[begin:end], reach, largest) for begin, end in cuts]
    return ClusteredShowers.concatenate(parts or [_clustered(showers, reach, largest)])


def _clustered(showers: PointShowers, reach: float, largest: int) -> ClusteredShowers:
    heads = _heads(showers, reach)
    crowded = np.bincount(heads)[heads] > largest if len(heads) else np.zeros(0, bool)
    heads = np.where(crowded, np.arange(len(heads)), heads)
    head, cluster = np.unique(heads, return_inverse=True)
    order = np.argsort(cluster, kind="stable")
    size = np.bincount(cluster, minlength=len(head))
    energy = sums(cluster, showers.energy, len(head))

    def centre(x: Floats) -> Floats:
        weighted = sums(cluster, showers.energy * x.astype(np.float64), len(head))
        # points without energy have no centre of gravity
        centres = np.divide(weighted, energy, out=x[head].astype(np.float64), where=energy > 0)
        return centres.astype(x.dtype)

    counts = np.bincount(showers.event()[head], minlength=len(showers))
    return ClusteredShowers(
        offset=offsets(counts),
        x=centre(showers.x),
        y=centre(showers.y),
        layer=showers.layer[head],
        energy=energy.astype(showers.energy.dtype),
        geometry=showers.geometry,
        **showers.of_particles(),
        first=offsets(size)[:-1],
        size=size,
        members=np.stack([showers.x, showers.y, showers.energy], 1)[order],
    )


def _heads(showers: PointShowers, reach: float) -> Integers:
    """The point that each point ends at, shape (n_points,)."""
    n = len(showers.energy)
    # planes farther apart than the reach, so that no point sees another plane
    places = np.stack([showers.x, showers.y, 2.0 * reach * showers.plane()], 1)
    pairs = KDTree(places).query_pairs(reach, output_type="ndarray") if n else np.empty((0, 2), int)
    by_energy = np.argsort(showers.energy, kind="stable")
    rank = np.empty(n, np.int64)  # all different, so that no chain of points is a circle
    rank[by_energy] = np.arange(n)
    highest = rank.copy()
    for one, other in (pairs.T, pairs.T[::-1]):
        np.maximum.at(highest, one, rank[other])
    head: Integers = by_energy[highest]
    while not np.array_equal(after := head[head], head):
        head = after
    return head
