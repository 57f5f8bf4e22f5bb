"""Voxel energies in rings around the axis, layer by layer, for box-and-whisker plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.observables import Floats, ShowerSource, caloclouds_bins, stream
from caloforge.evaluation.spectrum import find_logarithmic_bins, spectrum_edges
from caloforge.geometry import Geometry, PolarLayer
from caloforge.showers import VoxelShowers

__all__ = ["BOX", "RingSpectra", "count_rings", "ring_borders", "ring_spectra", "voxels_of_rings"]

BOX = (0.05, 0.25, 0.5, 0.75, 0.95)  # lower whisker, box with its median, upper whisker


@dataclass(frozen=True, eq=False)
class RingSpectra:
    r"""Voxel energies of all showers in each ring of each layer, in fine logarithmic bins.

    Where a layer has fewer rings than another, those that it lacks have no voxels.

    Args:
        edges: borders of the bins [MeV], shape (k + 1,); an energy beyond them is in the last bin.
        counts: voxels with energy, shape (layers, rings, k).
        n_voxels: voxels with and without energy, shape (layers, rings).

    Source: SuperCalo (arXiv:2308.11700), figure 12.
    """

    edges: Floats
    counts: NDArray[np.int64]
    n_voxels: NDArray[np.int64]

    def quantiles(self, fractions: Sequence[float] = BOX) -> Floats:
        """Energies [MeV] that so many of the voxels with energy lie below, to within a bin.

        By default those of a box-and-whisker plot: the box from the first to the third quartile
        with the median, whiskers from 5 to 95 %.

        Args:
            fractions: between 0 and 1.

        Returns:
            Shape (layers, rings, len(fractions)), NaN in rings where no voxel has energy.
        """
        reached = np.cumsum(self.counts, axis=-1)
        total = reached[..., -1:]
        wanted = np.asarray(fractions) * total
        # The bin in which the count is reached; one without voxels never is.
        number = (reached[..., None, :] < wanted[..., None]).sum(axis=-1)
        inside = np.take_along_axis(self.counts, number, axis=-1)
        before = np.take_along_axis(reached, number, axis=-1) - inside
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(total > 0, (wanted - before) / inside, np.nan)
        ratio = self.edges[1:] / self.edges[:-1]
        return np.asarray(self.edges[number] * ratio[number] ** part)

    def empty(self) -> Floats:
        r"""Fraction :math:`f_0` of the voxels without energy, NaN for rings that do not exist.

        Returns:
            Shape (layers, rings).
        """
        known = np.where(self.n_voxels > 0, self.n_voxels, np.nan)
        return np.asarray(1 - self.counts.sum(axis=-1) / known)


def ring_borders(geometry: Geometry, layer: int) -> Floats:
    """Radii [mm] that part a layer into rings, shape (rings + 1,).

    The radial bins of a polar layer; for cartesian cells, which belong to the ring that their
    centre lies in, CaloClouds' ten rings, see `features`.
    """
    of_layer = geometry.layers[layer]
    if isinstance(of_layer, PolarLayer):
        return np.asarray(of_layer.r_edges)
    return caloclouds_bins(geometry)[1]


def _places(geometry: Geometry) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Ring of each voxel, counted through the layers, and how many (layers, rings) there are."""
    borders = [ring_borders(geometry, layer) for layer in range(geometry.n_layers)]
    n_rings = max(map(len, borders)) - 1
    place = [
        number * n_rings + np.searchsorted(edges[1:-1], layer.radii(), side="right")
        for number, (layer, edges) in enumerate(zip(geometry.layers, borders, strict=True))
    ]
    return np.concatenate(place), (geometry.n_layers, n_rings)


def voxels_of_rings(geometry: Geometry) -> NDArray[np.int64]:
    """Number of voxels in each ring of each layer, shape (layers, rings)."""
    place, shape = _places(geometry)
    return np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape)


def count_rings(showers: VoxelShowers, bins: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Histogram of the voxel energies in each ring of each layer, shape (layers, rings, k).

    Args:
        showers: the showers.
        bins: bin of each entry, -1 beyond the last one, shape (nnz,).
        k: number of bins.
    """
    place, (n_layers, n_rings) = _places(showers.geometry)
    key = place[showers.index] * k + np.where(bins < 0, k - 1, bins)
    return np.bincount(key, minlength=n_layers * n_rings * k).reshape(n_layers, n_rings, k)


def ring_spectra(
    showers: ShowerSource, *, threshold: float | None = None, edges: Floats | None = None
) -> RingSpectra:
    """Take the voxel energies in rings around the axis, in a stream.

    Example:
        >>> boxes = ring_spectra(showers).quantiles()  # (layers, rings, 5) [MeV]

    Args:
        showers: showers in memory, or an open file.
        threshold: read-out threshold [MeV]: voxels below it count as empty; by default the
            geometry's.
        edges: borders of the bins [MeV], of one ratio; by default those of `Sample`.

    Raises:
        ValueError: if borders are to be found and no voxel is above the threshold.
    """
    geometry = showers.geometry
    threshold = geometry.threshold if threshold is None else threshold
    edges = spectrum_edges(showers, threshold) if edges is None else edges
    k = len(edges) - 1
    counts = np.zeros((*voxels_of_rings(geometry).shape, k), np.int64)
    for batch in stream(showers, threshold):
        counts += count_rings(batch, find_logarithmic_bins(batch.energy, edges), k)
    return RingSpectra(edges, counts, len(showers) * voxels_of_rings(geometry))
