"""Observables of showers: numbers that the field compares generators by, one row a shower."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caloforge.evaluation.observables.calochallenge import (
    HIGH_LEVEL,
    alpha_layers,
    calochallenge,
    high_level,
    resolved,
)
from caloforge.evaluation.observables.caloclouds import (
    FIXED_ENERGIES,
    at_energy,
    caloclouds,
    fixed_energy,
    is_ild,
)
from caloforge.evaluation.observables.caloclouds import bins as caloclouds_bins
from caloforge.evaluation.observables.calodream import calodream
from caloforge.evaluation.observables.interlayer import (
    RHO_EDGES,
    RHO_RINGS,
    count_rho,
    inter_layer_correlation,
    mean_rho,
    rho_rings,
    transverse_groups,
)
from caloforge.evaluation.observables.l2lflows import l2lflows
from caloforge.evaluation.observables.points import POINT_RINGS, point_features
from caloforge.evaluation.observables.source import Floats, ShowerSource, stream
from caloforge.showers import VoxelShowers

__all__ = [
    "CONVENTIONS",
    "FIXED_ENERGIES",
    "HIGH_LEVEL",
    "POINT_RINGS",
    "RHO_EDGES",
    "RHO_RINGS",
    "Convention",
    "Floats",
    "ShowerSource",
    "alpha_layers",
    "at_energy",
    "caloclouds_bins",
    "count_rho",
    "features",
    "fixed_energy",
    "high_level",
    "inter_layer_correlation",
    "is_ild",
    "mean_rho",
    "point_features",
    "put",
    "resolved",
    "rho_rings",
    "stream",
    "transverse_groups",
]

Convention = Literal["calochallenge", "l2lflows", "caloclouds", "calodream"]
CONVENTIONS: dict[str, Callable[[VoxelShowers], dict[str, Floats]]] = {
    "calochallenge": calochallenge,
    "l2lflows": l2lflows,
    "caloclouds": caloclouds,
    "calodream": calodream,
}


def features(
    showers: ShowerSource,
    convention: Convention = "calochallenge",
    *,
    threshold: float | None = None,
    dtype: DTypeLike = np.float64,
) -> dict[str, NDArray[Any]]:
    r"""Compute the observables of each shower, in a stream.

    ``calochallenge``: with the sums over the voxels v of a layer, energies :math:`x_v`,
    :math:`S = \sum_v x_v`, and voxel centres :math:`\eta = r \cos\alpha`,
    :math:`\phi = r \sin\alpha` [mm] (x and y of a cartesian cell),

    .. math::
        \mathrm{EC}_\eta = \frac{\sum_v \eta_v x_v}{S + 10^{-16}}, \qquad
        \mathrm{width}_\eta = \Big[\frac{\sum_v \eta_v^2 x_v}{S + 10^{-16}}
            - \mathrm{EC}_\eta^2\Big]_{\ge 0}^{1/2}

    and likewise for phi and r; ``E_tot`` (n,) and ``E_layer`` [MeV]; ``sparsity``, the fraction of
    *inactive* voxels of each layer. An empty layer has centre 0, width 0 and sparsity 1. Layers
    with a single alpha bin have no ``EC_eta``, ``EC_phi``, ``width_eta`` and ``width_phi``.

    ``l2lflows``: ``energy_ratio`` (deposited over incident energy), ``occupancy`` (fraction of
    active voxels) and ``x_mean``, ``x_std``, … ``z_std``, the energy-weighted mean and standard
    deviation of a shower, each (n,). z is the layer's number; x and y are numbers of cells in a
    cartesian geometry whose layers are equal (centres [mm] where they differ), and
    :math:`r\cos A`, :math:`r\sin A` [mm] with :math:`A = 2\pi i / n_\alpha` in a polar one. NaN
    for an empty shower.

    ``caloclouds``: ``cog_x``, ``cog_y``, ``cog_z``, the energy-weighted mean position [mm], z the
    depth behind the front face, NaN for an empty shower; ``n_hits``, the number of active voxels;
    ``sampling_fraction``, deposited over incident energy; ``longitudinal`` and ``radial`` (n, 10),
    the energy [MeV] in ten groups of layers and ten rings around the axis: CaloClouds' borders in
    ILD, ten equal steps elsewhere.

    ``calodream``: ``depth_r`` (n, n_r) and ``depth_alpha`` (n, n_alpha) (``depth_x`` and
    ``depth_y`` of cartesian cells), the mean layer number weighted with the energies
    :math:`E_{i,j}` of layer i in ring, or sector, j,

    .. math:: d_j = \frac{\sum_i i\, E_{i,j}}{\sum_i E_{i,j} + 10^{-8}},

    0 for an empty one; where layers differ, j is the bin's number in its own layer.

    Args:
        showers: showers in memory, or an open file.
        convention: whose definitions.
        threshold: read-out threshold [MeV]: voxels below it count as empty. None: as they are.
        dtype: precision of the result; the computation is in double precision.

    Returns:
        Arrays of shape (n,) or (n, layers).

    Raises:
        ValueError: for an unknown convention.

    Sources: CaloChallenge, ``HighLevelFeatures``; L2LFlows (Buss et al.), section 4.1; CaloClouds
    II (Buhmann et al.), ``metrics.py``; CaloDREAM (Favaro et al.), equation 19.
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"convention must be one of {sorted(CONVENTIONS)}, got {convention!r}")
    compute = CONVENTIONS[convention]
    columns: dict[str, NDArray[Any]] = {}
    start = 0
    for batch in stream(showers, threshold):
        put(columns, compute(batch), start, len(showers), dtype)
        start += len(batch)
    return columns or {name: x.astype(dtype) for name, x in compute(showers[:]).items()}


def put(
    columns: dict[str, NDArray[Any]],
    part: Mapping[str, NDArray[Any]],
    start: int,
    n: int,
    dtype: DTypeLike = np.float64,
) -> None:
    """Put the observables of a run of showers into columns of n rows, made with the first run."""
    for name, values in part.items():
        if name not in columns:
            columns[name] = np.empty((n, *values.shape[1:]), dtype)
        columns[name][start : start + len(values)] = values
