"""Separation power of the CaloChallenge's observables, in its binning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caloforge.evaluation.comparison import Columns, Comparison, Metric, Value
from caloforge.evaluation.leaderboard import DATASETS, DATASETS_23
from caloforge.evaluation.metrics.undetermined import undetermined
from caloforge.evaluation.observables import Floats, ShowerSource, alpha_layers, resolved
from caloforge.evaluation.sample import Sample
from caloforge.evaluation.spectrum import find_bins
from caloforge.geometry import Geometry, preset_of
from caloforge.rounding import is_rounding

__all__ = ["Separation", "bin_edges", "separation_power", "separation_powers"]

EMPTY_BIN = 1e-16
OF_ALL_LAYERS = ("EC_r", "width_r")  # the others need bins in alpha


def separation_power(first: ArrayLike, second: ArrayLike) -> Floats:
    r"""Compare two histograms of the same bins: 0 for equal shapes, 1 for no overlap.

    .. math:: S = \frac12 \sum_i \frac{(h_i - k_i)^2}{h_i + k_i + 10^{-16}}

    with h and k normalised to unit sum inside the range. Two samples of N entries each of the same
    distribution give about (number of populated bins) / 2N. A histogram without entries shares no
    bin with one that has some: they are as far apart as can be.

    Args:
        first: bin contents, shape (..., bins).
        second: bin contents, shape (..., bins).

    Returns:
        S, shape (...); 1 where one of the two is empty, NaN where both are.

    Source: CaloChallenge, ``evaluate_plotting_helper.py`` (triangular discrimination), which has no
    value where one is empty.
    """
    with np.errstate(invalid="ignore"):
        h, k = (
            counts / counts.sum(axis=-1, keepdims=True)
            for counts in (np.asarray(first, np.float64), np.asarray(second, np.float64))
        )
    power = 0.5 * ((h - k) ** 2 / (h + k + EMPTY_BIN)).sum(axis=-1)
    empty, other = (np.isnan(side).any(axis=-1) for side in (h, k))
    return np.where(empty ^ other, 1.0, power)


# The CaloChallenge's ranges [mm] of its hundred bins: datasets 2 and 3; dataset 1 and, separately,
# its layers 12 to 14 (the calorimeter's back, with wide bins).
_RANGES_23 = {
    "EC_eta": (-30.0, 30.0),
    "EC_phi": (-30.0, 30.0),
    "EC_r": (0.0, 42.0),
    "width_eta": (0.0, 30.0),
    "width_phi": (0.0, 30.0),
    "width_r": (0.0, 20.0),
}
_RANGES_1 = {
    "EC_eta": (-100.0, 100.0),
    "EC_phi": (-100.0, 100.0),
    "EC_r": (0.0, 500.0),
    "width_eta": (0.0, 100.0),
    "width_phi": (0.0, 100.0),
    "width_r": (0.0, 500.0),
}
_RANGES_1_BACK = {
    "EC_eta": (-500.0, 500.0),
    "EC_phi": (-500.0, 500.0),
    "EC_r": (0.0, 1500.0),
    "width_eta": (0.0, 400.0),
    "width_phi": (0.0, 400.0),
    "width_r": (0.0, 1500.0),
}
_BACK_LAYERS = (12, 13, 14)


def _official_ranges(geometry: Geometry) -> list[Mapping[str, tuple[float, float]]] | None:
    """The CaloChallenge's ranges of each layer of its datasets, None for any other detector."""
    dataset = preset_of(geometry)
    if dataset not in DATASETS:
        return None
    if dataset in DATASETS_23:
        return [_RANGES_23] * geometry.n_layers
    return [_RANGES_1_BACK if i in _BACK_LAYERS else _RANGES_1 for i in geometry.layer_ids]


def bin_edges(
    geometry: Geometry,
    energy_inc: NDArray[Any],
    features: Mapping[str, Floats],
    threshold: float,
) -> dict[str, list[Floats]]:
    """Borders of the histograms that separation powers are taken on, for each layer.

    The CaloChallenge's table for its datasets. For other geometries the same numbers of bins, for
    E_tot / E_inc and each layer's sparsity, centre and width in a range around the reference's 0.1
    and 99.9 % quantiles, wider by a tenth at both ends.

    Args:
        geometry: the voxels.
        energy_inc: incident energies of the reference [MeV], shape (n,).
        features: CaloChallenge features of the reference.
        threshold: read-out threshold [MeV], the lowest layer energy in the histograms; where there
            is none, that is the reference's lowest one.

    Returns:
        Lists of borders, one a layer: E_layer [MeV], centres and widths [mm]; one list for E_tot,
        the borders of E_tot / E_inc.
    """
    official = _official_ranges(geometry)
    features = resolved(features)
    ratio = features["E_tot"] / energy_inc
    edges = {
        "E_tot": [np.linspace(0.5, 1.5, 101) if official is not None else _around(ratio)],
        "E_layer": _of_energies(features["E_layer"], threshold),
        "sparsity": (
            [np.linspace(0, 1, 21)] * geometry.n_layers
            if official is not None
            else [_around(column, bins=20) for column in features["sparsity"].T]
        ),
    }
    for name in _RANGES_23:
        if official is None:
            edges[name] = [_around(column) for column in features[name].T]
            continue
        layers = range(geometry.n_layers) if name in OF_ALL_LAYERS else alpha_layers(geometry)
        edges[name] = [np.linspace(*official[i][name], 101) for i in layers]
    return edges


def _of_energies(energies: Floats, threshold: float) -> list[Floats]:
    """The CaloChallenge's 40 borders; arbitrary ones for a layer that is always empty."""
    lowest = threshold or energies.min(initial=np.inf, where=energies > 0)
    if not np.isfinite(lowest):
        lowest = 1.0
    tops = [top if top > lowest else 2 * lowest for top in energies.max(axis=0)]
    return [np.logspace(np.log10(lowest), np.log10(top), 40) for top in tops]


def _around(values: Floats, bins: int = 100) -> Floats:
    low, high = np.quantile(values, [0.001, 0.999])
    is_constant = is_rounding(float(high - low), float(np.abs(values).max()))
    margin = 1.0 if is_constant else 0.1 * (high - low)
    return np.linspace(low - margin, high + margin, bins + 1)


class Separation(Metric):
    """Separation powers of the CaloChallenge's observables, see `separation_power`."""

    name = "separation"
    repeats = 10
    published_for = DATASETS
    published_size = 100_000  # the CaloChallenge's table is of as many showers and more

    def __init__(self, reference: Sample, threshold: float) -> None:
        self.edges = bin_edges(
            reference.geometry, reference.energy_inc, reference.features, threshold
        )

    def columns(self, sample: Sample) -> Columns:
        """Bin of each feature in the joined histograms of all layers, -1 outside."""
        columns: dict[str, NDArray[Any]] = {"voxel": sample.spectrum.coarse()}
        for name, edges in self.edges.items():
            values = sample.features[name].reshape(len(sample), -1)
            if name == "E_tot":
                values = values / sample.energy_inc[:, None]
            bins = np.stack(
                [find_bins(*pair) for pair in zip(values.T, edges, strict=True)], axis=1
            )
            first = np.arange(len(edges)) * (len(edges[0]) - 1)
            columns[name] = np.where(bins < 0, -1, bins + first).astype(np.int32)
        return columns

    def compare(self, reference: Columns, candidate: Columns, seed: int) -> Comparison:
        """Separation power of each observable, layer by layer."""
        values: dict[str, Value] = {}
        for name, edges in self.edges.items():
            shape = len(edges), len(edges[0]) - 1
            first, second = (_fill(side[name], shape) for side in (reference, candidate))
            powers = separation_power(first, second)
            values[name] = float(powers[0]) if name == "E_tot" else powers
        spectra = (side["voxel"].sum(axis=0) for side in (reference, candidate))
        values["voxel"] = float(separation_power(*spectra))
        for name, found in values.items():
            if np.isnan(found).all():
                undetermined(
                    f"the separation power of {name}",
                    "no shower of the reference or the candidate has a value inside its bins",
                )
        return Comparison(values)


def _fill(bins: NDArray[np.int32], shape: tuple[int, int]) -> NDArray[np.int64]:
    return np.bincount(bins[bins >= 0], minlength=shape[0] * shape[1]).reshape(shape)


def separation_powers(
    reference: ShowerSource, candidate: ShowerSource, *, threshold: float | None = None
) -> dict[str, Value]:
    """Compare two whole samples as the CaloChallenge's table does, see `separation_power`.

    Args:
        reference: Geant4 showers, whose highest energies end the logarithmic bins.
        candidate: generated showers of the same geometry.
        threshold: read-out threshold [MeV], by default the geometry's.

    Returns:
        Separation powers by observable: a number for ``E_tot`` (over E_inc) and ``voxel``, arrays
        of shape (layers,) for the others.
    """
    first = Sample.of(reference, threshold=threshold)
    second = Sample.of(candidate, threshold=first.threshold, edges=first.spectrum.edges)
    metric = Separation(first, first.threshold)
    return dict(metric.compare(metric.columns(first), metric.columns(second), 0).values)
