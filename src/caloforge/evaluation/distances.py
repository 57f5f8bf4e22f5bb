"""Distances between distributions of observables: separation power and Wasserstein-1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import wasserstein_distance

from caloforge.evaluation.comparison import Columns, Metric
from caloforge.evaluation.observables import Floats, alpha_layers
from caloforge.evaluation.sample import Profile, Sample, find_bins
from caloforge.geometry import Geometry

__all__ = ["Separation", "Wasserstein", "bin_edges", "separation_power", "wasserstein"]

EMPTY_BIN = 1e-16


def separation_power(first: ArrayLike, second: ArrayLike) -> Floats:
    r"""Compare two histograms of the same bins: 0 for equal shapes, 1 for no overlap.

    .. math:: S = \frac12 \sum_i \frac{(h_i - k_i)^2}{h_i + k_i + 10^{-16}}

    with h and k normalised to unit sum inside the range. Two samples of N entries each of the same
    distribution give about (number of populated bins) / 2N.

    Args:
        first: bin contents, shape (..., bins).
        second: bin contents, shape (..., bins).

    Returns:
        S, shape (...); NaN where a histogram is empty.

    Source: CaloChallenge, ``evaluate_plotting_helper.py`` (triangular discrimination).
    """
    with np.errstate(invalid="ignore"):
        h, k = (
            counts / counts.sum(axis=-1, keepdims=True)
            for counts in (np.asarray(first, np.float64), np.asarray(second, np.float64))
        )
    return np.asarray(0.5 * ((h - k) ** 2 / (h + k + EMPTY_BIN)).sum(axis=-1))


def wasserstein(
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    reference_weights: ArrayLike | None = None,
    candidate_weights: ArrayLike | None = None,
    mean: float | None = None,
    std: float | None = None,
) -> float:
    r"""Wasserstein-1 distance in units of the reference's standard deviation.

    .. math:: W_1 = \int |F(t) - G(t)|\,dt, \qquad t = (x - \mu_\mathrm{ref}) / \sigma_\mathrm{ref}

    with F and G the (weighted) cumulative distributions. Values that are not finite are left out.

    Args:
        reference: values, shape (n,).
        candidate: values, shape (m,).
        reference_weights: weights of the values, shape (n,).
        candidate_weights: weights of the values, shape (m,).
        mean: mean of the reference, by default of these values, unweighted.
        std: standard deviation of the reference (n - 1), by default of these values, unweighted.

    Returns:
        The distance, without unit; NaN if a sample has no finite value or no spread.

    Source: Conv. L2LFlows, section 5.1 and its ``wasserstein.py``.
    """
    x, x_weights = _finite(reference, reference_weights)
    y, y_weights = _finite(candidate, candidate_weights)
    if not len(x) or not len(y):
        return float("nan")
    centre = x.mean() if mean is None else mean
    scale = (x.std(ddof=1) if len(x) > 1 else 0.0) if std is None else std
    if not scale > 0:
        return float("nan")
    x, y = (x - centre) / scale, (y - centre) / scale
    return float(wasserstein_distance(x, y, x_weights, y_weights))


def _finite(values: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats | None]:
    x = np.asarray(values, np.float64)
    keep = np.isfinite(x)
    return x[keep], None if weights is None else np.asarray(weights, np.float64)[keep]


# The CaloChallenge's ranges [mm] of its hundred bins: datasets 2 and 3; dataset 1 and, apart, its
# layers 12 to 14 (the calorimeter's back, with wide bins).
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
BY_LAYER = ("E_layer", *_RANGES_23, "sparsity")


def bin_edges(
    geometry: Geometry,
    energy_inc: NDArray[Any],
    features: Mapping[str, Floats],
    threshold: float,
) -> dict[str, list[Floats]]:
    """Borders of the histograms that separation powers are taken on, for each layer.

    The CaloChallenge's table for its datasets. For other geometries the same numbers of bins, for
    E_tot / E_inc and each layer's centre and width in a range around the reference's 0.1 and 99.9 %
    quantiles, wider by a tenth at both ends.

    Args:
        geometry: the voxels.
        energy_inc: incident energies of the reference [MeV], shape (n,).
        features: CaloChallenge features of the reference.
        threshold: read-out threshold [MeV], the lowest layer energy in the histograms.

    Returns:
        Lists of borders, one a layer: E_layer [MeV], centres and widths [mm]; one list for E_tot,
        the borders of E_tot / E_inc.
    """
    official = geometry.name.startswith("calochallenge-")
    ratio = features["E_tot"] / energy_inc
    edges = {
        "E_tot": [np.linspace(0.5, 1.5, 101) if official else _around(ratio)],
        "E_layer": [_logarithmic(threshold, top) for top in features["E_layer"].max(axis=0)],
        "sparsity": [np.linspace(0, 1, 21)] * geometry.n_layers,
    }
    layer_ids = np.asarray(geometry.layer_ids)
    for name, around in _RANGES_23.items():
        ids = layer_ids if name.endswith("_r") else layer_ids[alpha_layers(geometry)]
        if not official:
            edges[name] = [_around(column) for column in features[name].T]
        elif geometry.name.startswith("calochallenge-1"):
            ranges = [_RANGES_1_BACK if i in _BACK_LAYERS else _RANGES_1 for i in ids]
            edges[name] = [np.linspace(*chosen[name], 101) for chosen in ranges]
        else:
            edges[name] = [np.linspace(*around, 101)] * len(ids)
    return edges


def _logarithmic(threshold: float, highest: float) -> Floats:
    """The CaloChallenge's 40 borders; an arbitrary bin for a layer that is always empty."""
    top = highest if highest > threshold else 2 * threshold
    return np.logspace(np.log10(threshold), np.log10(top), 40)


def _around(values: Floats) -> Floats:
    low, high = np.quantile(values, [0.001, 0.999])
    margin = 0.1 * (high - low) or 1.0
    return np.linspace(low - margin, high + margin, 101)


class Separation(Metric):
    """Separation powers of the CaloChallenge's observables, see `separation_power`."""

    name: ClassVar[str] = "separation"
    repeats: ClassVar[int] = 10

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

    def compare(
        self, reference: Columns, candidate: Columns, seed: int
    ) -> dict[str, Floats | float]:
        """Separation power of each observable, layer by layer."""
        values: dict[str, Floats | float] = {}
        for name, edges in self.edges.items():
            shape = len(edges), len(edges[0]) - 1
            first, second = (_fill(side[name], shape) for side in (reference, candidate))
            powers = separation_power(first, second)
            values[name] = float(powers[0]) if name == "E_tot" else powers
        spectra = (side["voxel"].sum(axis=0) for side in (reference, candidate))
        values["voxel"] = float(separation_power(*spectra))
        return values


def _fill(bins: NDArray[np.int32], shape: tuple[int, int]) -> NDArray[np.int64]:
    return np.bincount(bins[bins >= 0], minlength=shape[0] * shape[1]).reshape(shape)


class Wasserstein(Metric):
    """Wasserstein-1 distances of L2LFlows' observables, see `wasserstein`.

    Every distance is standardised with the mean and standard deviation of the whole reference; for
    a profile these are the unweighted ones of the positions of its active voxels, while the
    distance weights each voxel with its energy, as in L2LFlows' code. A draw is of up to 10,000
    showers, as published. Profiles and spectrum take all voxels of the drawn showers (L2LFlows
    draws voxels), so that the floor contains the fluctuations from shower to shower.
    """

    name: ClassVar[str] = "wasserstein"
    repeats: ClassVar[int] = 10
    max_size: ClassVar[int | None] = 10_000

    def __init__(self, reference: Sample, threshold: float) -> None:
        self.scales = {name: _mean_std(values) for name, values in reference.moments.items()}
        for name, profile in reference.profiles.items():
            self.scales[f"{name}_profile"] = _mean_std(profile.position, profile.n_hits)
        spectrum = reference.spectrum
        middle = (spectrum.edges[:-1] + spectrum.edges[1:]) / 2
        self.spectrum_edges = spectrum.edges
        self.spectrum_std = _mean_std(middle, spectrum.counts.sum(axis=0, dtype=np.float64))[1]
        self.positions = {name: p.position for name, p in reference.profiles.items()}

    def columns(self, sample: Sample) -> Columns:
        """Moments, profiles and spectrum of each shower."""
        profiles: Mapping[str, Profile] = sample.profiles
        spectrum = sample.spectrum
        return {
            **sample.moments,
            **{f"{name}_profile": profile.energy for name, profile in profiles.items()},
            "spectrum": spectrum.counts,
            "above": np.stack([spectrum.n_above, spectrum.excess], axis=1),
        }

    def compare(
        self, reference: Columns, candidate: Columns, seed: int
    ) -> dict[str, Floats | float]:
        """Distance of each observable."""
        values: dict[str, Floats | float] = {}
        for name, (mean, std) in self.scales.items():
            place = self.positions.get(name.removesuffix("_profile"))
            if place is None:
                pair = reference[name], candidate[name]
                values[name] = wasserstein(*pair, mean=mean, std=std)
                continue
            weights = [side[name].sum(axis=0, dtype=np.float64) for side in (reference, candidate)]
            values[name] = (
                wasserstein(
                    place,
                    place,
                    reference_weights=weights[0],
                    candidate_weights=weights[1],
                    mean=mean,
                    std=std,
                )
                if min(total.sum() for total in weights) > 0
                else float("nan")
            )
        values["spectrum"] = self._spectrum(reference, candidate)
        return values

    def _spectrum(self, reference: Columns, candidate: Columns) -> float:
        """Area between the cumulative distributions, by the trapezium rule on the fine bins."""
        cumulative, beyond = [], []
        for side in (reference, candidate):
            counts = side["spectrum"].sum(axis=0, dtype=np.float64)
            n_above, excess = side["above"].sum(axis=0)
            n_hits = counts.sum() + n_above
            if not n_hits:
                return float("nan")
            cumulative.append(np.concatenate([[0], np.cumsum(counts)]) / n_hits)
            beyond.append(excess / n_hits)
        area = np.trapezoid(np.abs(cumulative[0] - cumulative[1]), self.spectrum_edges)
        # Beyond the reference's highest energy only the candidate's distribution is not yet 1.
        return float((area + abs(beyond[0] - beyond[1])) / self.spectrum_std)


def _mean_std(values: Floats, weights: Floats | None = None) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of the finite values, counted `weights` times."""
    counts = np.isfinite(values) * (np.ones(len(values)) if weights is None else weights)
    x, n = np.nan_to_num(values), counts.sum()
    if n < 2:
        return float("nan"), float("nan")
    mean = (counts * x).sum() / n
    return float(mean), float(np.sqrt((counts * (x - mean) ** 2).sum() / (n - 1)))
