"""SuperCalo's correlation of the voxels of adjacent layers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.observables.source import Floats, sum_by
from caloforge.geometry import Coarsening, Geometry, PolarLayer
from caloforge.showers import VoxelShowers

__all__ = [
    "RHO_EDGES",
    "RHO_RINGS",
    "count_rho",
    "inter_layer_correlation",
    "mean_rho",
    "rho_rings",
    "transverse_groups",
]

RHO_RINGS = ("inner", "middle", "outer")
RHO_EDGES = np.linspace(0, 1, 41)  # of the histograms
RUN = 64  # showers at a time: their voxels stay in the cache
GROUP = (4, 3)  # voxels along (alpha, r) in SuperCalo's choice B


def transverse_groups(geometry: Geometry) -> Coarsening:
    """Coarse voxels of one layer each, as near to SuperCalo's 4 alpha x 3 r as the bins allow.

    Those of the paper (choice B) for dataset 2, 5 alpha x 3 r for dataset 3, 3 x 3 for 30 x 30
    cells.

    Raises:
        ValueError: for an irregular geometry.
    """
    a, b = GROUP if isinstance(geometry.layers[0], PolarLayer) else (GROUP[1], GROUP[1])
    return Coarsening.nearest(geometry, (1, a, b))


def inter_layer_correlation(showers: VoxelShowers, coarsening: Coarsening | None = None) -> Floats:
    r"""Correlation of the fine voxels of coarse voxels that lie one after the other.

    .. math::
        \rho = \frac{\vec e^{(n)} \cdot \vec e^{(n+1)}}{|\vec e^{(n)}|\,|\vec e^{(n+1)}|}

    with the energies :math:`\vec e^{(n)}` of the fine voxels in a coarse voxel of the coarse layer
    n, and of those in its neighbour after it, in the same order: 1 for the same pattern in both, 0
    if no voxel with energy has one with energy after it. It does not depend on the scale of the
    energies, and as these are not negative, independent patterns have a
    positive mean as well: two single hits among m voxels give 1/m.

    Args:
        showers: showers of a regular geometry, without the voxels below the threshold.
        coarsening: the coarse voxels, by default `transverse_groups`.

    Returns:
        Shape (n, layers - 1, alpha, r) or (n, layers - 1, x, y) in coarse voxels; NaN where one of
        the two is empty.

    Raises:
        ValueError: for an irregular geometry, or a coarsening of another one.

    Source: SuperCalo (arXiv:2308.11700), equation 3 and figure 5.
    """
    geometry, n = showers.geometry, len(showers)
    coarsening = transverse_groups(geometry) if coarsening is None else coarsening
    if coarsening.fine != geometry:
        raise ValueError(
            f"the coarsening is of {coarsening.fine.name}, the showers are of {geometry.name}: "
            "make it from showers.geometry"
        )
    z, a, b = coarsening.shape
    rho = np.empty((n, z - 1, a, b))
    for start in range(0, n, RUN):
        rho[start : start + RUN] = _cosines(showers[start : start + RUN], coarsening)
    return rho


def _cosines(showers: VoxelShowers, coarsening: Coarsening) -> Floats:
    """The correlations of a run of showers, whose voxels are laid out dense."""
    event, voxel = showers.event(), showers.index.astype(np.int64)
    energy, n_voxels = showers.energy.astype(np.float64), coarsening.fine.n_voxels
    key = event * coarsening.n_coarse + coarsening.coarse_index[voxel]
    shape = len(showers), *coarsening.shape
    # After each shower one more coarse layer is added, empty, the neighbour of the last one.
    step = n_voxels // coarsening.shape[0]
    place = event * (n_voxels + step) + voxel
    block = np.zeros(len(showers) * (n_voxels + step))
    block[place] = energy
    dot = sum_by(key, energy * block[place + step], shape)[:, :-1]
    length = np.sqrt(sum_by(key, energy**2, shape))
    lengths = length[:, :-1] * length[:, 1:]
    return np.asarray(np.divide(dot, lengths, where=lengths > 0, out=np.full(dot.shape, np.nan)))


def rho_rings(coarsening: Coarsening) -> NDArray[np.int64]:
    """Whether the coarse voxels of a layer are inner, middle or outer ones, counted from 0.

    Thirds of the radius, for cartesian cells of half the extent in x: the three coarse radial bins
    of SuperCalo's choice B.

    Returns:
        Shape (alpha, r) or (x, y) in coarse voxels.
    """
    layer = coarsening.geometry.layers[0]
    borders = layer.r_edges if isinstance(layer, PolarLayer) else layer.x_edges
    reach = borders[-1] if isinstance(layer, PolarLayer) else (borders[-1] - borders[0]) / 2
    number = (len(RHO_RINGS) * layer.radii() / reach).astype(np.int64)
    return np.minimum(number, len(RHO_RINGS) - 1).reshape(layer.shape)


def count_rho(showers: VoxelShowers) -> dict[str, NDArray[np.int64]]:
    """Histogram of the correlations rho of each shower, over all pairs of adjacent layers.

    Args:
        showers: showers without the voxels below the threshold.

    Returns:
        Pairs of coarse voxels in each bin of `RHO_EDGES` for the inner, the middle and the outer
        ones, see `rho_rings`, shape (n, bins) each; nothing for an irregular geometry.
    """
    if not showers.geometry.is_regular:
        return {}
    coarsening = transverse_groups(showers.geometry)
    rho, ring = inter_layer_correlation(showers, coarsening).ravel(), rho_rings(coarsening).ravel()
    n, n_rings, k = len(showers), len(RHO_RINGS), len(RHO_EDGES) - 1
    known = np.flatnonzero(np.isfinite(rho))
    event = known // ((showers.geometry.n_layers - 1) * ring.size)
    found = np.minimum((rho[known] * k).astype(np.int64), k - 1)
    key = (event * n_rings + ring[known % ring.size]) * k + found
    counts = np.bincount(key, minlength=n * n_rings * k).reshape(n, n_rings, k)
    return dict(zip(RHO_RINGS, np.moveaxis(counts, 1, 0), strict=True))


def mean_rho(showers: VoxelShowers) -> Floats:
    """Mean correlation rho of inner, middle and outer coarse voxels for each two adjacent layers.

    Args:
        showers: showers of a regular geometry, without the voxels below the threshold.

    Returns:
        Shape (n, 3 · (layers - 1)), layers in order; NaN where no coarse voxel and the one after
        it have energy.
    """
    coarsening = transverse_groups(showers.geometry)
    rho = inter_layer_correlation(showers, coarsening)
    of_ring = rho_rings(coarsening) == np.arange(len(RHO_RINGS))[:, None, None]
    known = np.isfinite(rho)
    total = np.einsum("nzab,rab->nzr", np.where(known, rho, 0), of_ring)
    count = np.einsum("nzab,rab->nzr", known.astype(np.float64), of_ring)
    mean = np.divide(total, count, where=count > 0, out=np.full(total.shape, np.nan))
    return np.asarray(mean.reshape(len(showers), -1))
