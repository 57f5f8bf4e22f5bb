"""Distances of showers to training showers, under all symmetries of the voxels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.copies import FEWEST
from caloforge.evaluation.observables import POINT_RINGS, Floats, ShowerSource, stream
from caloforge.evaluation.observables.source import sum_by
from caloforge.evaluation.projection import PointSource, Projected, holds_points
from caloforge.geometry import voxel_images
from caloforge.showers import PointShowers, VoxelShowers, entries_of

__all__ = ["Nearest", "nearest_training"]

BLOCK = 512  # showers that are compared with all training showers at once
SHORTLIST = (
    16  # training showers, most alike in what no symmetry changes, that are compared exactly
)
MOST_INVARIANTS = 1024  # of one shower

Rows = NDArray[np.int64]
Singles = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest training shower of each shower.

    Args:
        distance: see `nearest_training`, shape (n,); NaN for a shower of less than ten entries.
        row: number of that training shower, shape (n,); -1 where there is none.
    """

    distance: Floats
    row: Rows


def nearest_training(
    showers: ShowerSource | PointSource,
    training: ShowerSource | PointSource,
    *,
    threshold: float | None = None,
) -> Nearest:
    r"""Find the training shower that each shower is most like, after any symmetry of the detector.

    .. math:: d = \min_{j, g} \Big| \frac{e}{|e|} - \frac{g\, e_j}{|e_j|} \Big|, \qquad
        0 \le d \le \sqrt 2

    with the voxel energies e of the shower and :math:`e_j` of training shower j, and the symmetries
    g of the voxels, see `voxel_images`. A copy that was rotated, mirrored and rescaled has d = 0.

    No symmetry changes :math:`|e|_o`, the root of the sum of squares over voxels that symmetries
    map onto each other, and :math:`\sum_o |e|_o |e_j|_o \ge e \cdot g\, e_j`. The sixteen training
    showers for which this bound is largest are compared exactly, under all symmetries.

    Point clouds are compared by their energies in the layers and in rings of 2 mm about the axis,
    which no rotation or mirror changes.

    Example:
        >>> from caloforge.evaluation import nearest_training
        >>> found = nearest_training(showers[:5], showers)
        >>> found.row, bool((found.distance < 1e-3).all())
        (array([0, 1, 2, 3, 4]), True)

    Args:
        showers: n showers in memory, or an open file; projected points count as points.
        training: showers of the same kind and geometry.
        threshold: read-out threshold [MeV] applied to both, by default the geometry's; points are
            taken as they are.

    Raises:
        ValueError: if the two are not of one kind and geometry.
    """
    first, second = (
        sample.points if isinstance(sample, Projected) else sample for sample in (showers, training)
    )
    if holds_points(first) is not holds_points(second) or first.geometry != second.geometry:
        raise ValueError(
            f"training showers must be of the kind and geometry of the showers, got "
            f"{_kind(second)} beside {_kind(first)}: give the file that the system was trained on"
        )
    if holds_points(first):
        return _nearest_points(first, second)
    limit = first.geometry.threshold if threshold is None else threshold
    return _nearest_voxels(cast("ShowerSource", first), cast("ShowerSource", second), limit)


def _kind(showers: Any) -> str:
    return f"{'points' if holds_points(showers) else 'voxels'} of {showers.geometry.name}"


def _nearest_points(points: Any, training: Any) -> Nearest:
    known = np.concatenate([_rings(training[rows]) for rows in _runs(training)]).T
    row, cosine = np.full(len(points), -1), np.full(len(points), np.nan)
    for rows in _runs(points):
        found = _rings(points[rows]) @ known
        row[rows], cosine[rows] = found.argmax(axis=1), found.max(axis=1)
        cosine[rows][np.diff(points[rows].offset) < FEWEST] = np.nan
    return _nearest(row, cosine)


def _rings(points: PointShowers) -> Singles:
    """Energies in the rings of each layer over their norm, shape (n, n_layers · n_rings)."""
    n_rings = len(POINT_RINGS) - 1
    ring = np.searchsorted(POINT_RINGS, np.hypot(points.x, points.y), side="right") - 1
    place = points.layer.astype(np.int64) * n_rings + ring
    shape = len(points), points.geometry.n_layers * n_rings
    energy = sum_by(points.event() * shape[1] + place, points.energy, shape)
    return _over_norm(energy)


def _nearest_voxels(showers: ShowerSource, training: ShowerSource, threshold: float) -> Nearest:
    images = voxel_images(showers.geometry)
    every = VoxelShowers.concatenate(list(stream(training, threshold)))
    number = np.flatnonzero(np.diff(every.offset) >= FEWEST)
    known = _unit(every[number])
    bound_of_known = _invariants(known, images).T
    image_of = np.ascontiguousarray(images.T)  # all images of a voxel lie together in memory
    row, cosine = np.full(len(showers), -1), np.full(len(showers), np.nan)
    k, scratch = min(SHORTLIST, len(known)), np.zeros(showers.geometry.n_voxels, np.float32)
    for rows in _runs(showers):
        batch = _unit(showers[rows].above(threshold))
        bound = _invariants(batch, images) @ bound_of_known
        near = np.argpartition(-bound, k - 1, axis=1)[:, :k]
        for i in np.flatnonzero(np.diff(batch.offset) >= FEWEST):
            mine = slice(batch.offset[i], batch.offset[i + 1])
            offset, entries = entries_of(known.offset, near[i])
            scratch[batch.index[mine]] = batch.energy[mine]
            products = scratch.take(image_of.take(known.index[entries], axis=0))
            products *= known.energy[entries, None]
            scratch[batch.index[mine]] = 0
            overlap = np.add.reduceat(products, offset[:-1]).max(axis=1)
            best = overlap.argmax()
            row[rows.start + i], cosine[rows.start + i] = number[near[i, best]], overlap[best]
    return _nearest(row, cosine)


def _unit(showers: VoxelShowers) -> VoxelShowers:
    """The same showers with the voxel energies over their norm."""
    norm = np.sqrt(np.bincount(showers.event(), showers.energy**2, len(showers)))
    energy = showers.energy / norm[showers.event()]
    return dataclasses.replace(showers, energy=energy.astype(np.float32))


def _invariants(showers: VoxelShowers, images: NDArray[np.int32]) -> Singles:
    """Norms of a shower's energies in sets of voxels that no symmetry leaves, shape (n, k)."""
    orbit = np.unique(images.min(axis=0), return_inverse=True)[1]
    k = int(orbit.max()) + 1
    group = orbit * min(k, MOST_INVARIANTS) // k
    shape = len(showers), int(group.max()) + 1
    key = showers.event() * shape[1] + group[showers.index]
    squares = sum_by(key, showers.energy**2, shape)
    return np.sqrt(squares).astype(np.float32)


def _over_norm(values: Floats) -> Singles:
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(norm > 0, norm, 1), np.float32)


def _runs(showers: Any) -> Iterator[slice]:
    return (slice(i, min(i + BLOCK, len(showers))) for i in range(0, len(showers), BLOCK))


def _nearest(row: Rows, cosine: Floats) -> Nearest:
    distance = np.sqrt((2 - 2 * cosine).clip(0))
    return Nearest(distance, np.where(np.isnan(distance), -1, row))
