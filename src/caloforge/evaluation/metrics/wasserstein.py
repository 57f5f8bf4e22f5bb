"""Wasserstein-1 distance of L2LFlows' observables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import wasserstein_distance

from caloforge.evaluation.comparison import Columns, Comparison, Metric, Value
from caloforge.evaluation.metrics.undetermined import undetermined
from caloforge.evaluation.observables import Floats
from caloforge.evaluation.sample import Profile, Sample
from caloforge.evaluation.spectrum import Spectrum
from caloforge.rounding import is_rounding

__all__ = [
    "PUBLISHED_SIZE",
    "SpectrumDistance",
    "Wasserstein",
    "WassersteinBatches",
    "distance",
    "has_spread",
    "mean_std",
    "wasserstein",
    "wasserstein_batches",
]

PUBLISHED_SIZE = 10_000  # showers of a batch


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
        The distance, without unit; NaN if a sample has no finite value, or the reference no spread
        but rounding.

    Source: Conv. L2LFlows, section 5.1 and its ``wasserstein.py``.
    """
    x, x_weights = _finite(reference, reference_weights)
    y, y_weights = _finite(candidate, candidate_weights)
    if not len(x) or not len(y):
        return float("nan")
    centre = x.mean() if mean is None else mean
    scale = (x.std(ddof=1) if len(x) > 1 else 0.0) if std is None else std
    if not has_spread(float(centre), float(scale)):
        return float("nan")
    x, y = (x - centre) / scale, (y - centre) / scale
    return float(wasserstein_distance(x, y, x_weights, y_weights))


def has_spread(mean: float, std: float) -> bool:
    """Whether a standard deviation can be a unit: it is known, and more than rounding."""
    return not (np.isnan(std) or is_rounding(std, abs(mean)))


def distance(
    name: str, reference: ArrayLike, candidate: ArrayLike, mean: float, std: float
) -> float:
    """The distance of an observable as `wasserstein` gives it, NaN with a warning that says why.

    Args:
        name: of the observable.
        reference: its values, shape (n,).
        candidate: its values, shape (m,).
        mean: of the whole reference.
        std: of the whole reference.
    """
    if not has_spread(mean, std):
        return _without_unit(name)
    found = wasserstein(reference, candidate, mean=mean, std=std)
    return _without_values(name) if np.isnan(found) else found


def _of_profile(
    name: str, place: Floats, reference: Floats, candidate: Floats, mean: float, std: float
) -> float:
    """The same of a profile: positions, shape (k,), with the energies there, shape (n, k)."""
    if not has_spread(mean, std):
        return _without_unit(name)
    weights = [side.sum(axis=0, dtype=np.float64) for side in (reference, candidate)]
    if min(total.sum() for total in weights) <= 0:
        return _without_values(name)
    return wasserstein(
        place,
        place,
        reference_weights=weights[0],
        candidate_weights=weights[1],
        mean=mean,
        std=std,
    )


def _without_unit(name: str) -> float:
    return undetermined(
        f"the Wasserstein distance of {name}",
        "all showers of the reference have the same value, whose spread is to be its unit",
    )


def _without_values(name: str) -> float:
    return undetermined(
        f"the Wasserstein distance of {name}",
        "no shower of the reference or no shower of the candidate has a value",
    )


class WassersteinBatches(NamedTuple):
    """Mean of the distances of several batches, and their standard deviation (n - 1)."""

    mean: float
    std: float


def wasserstein_batches(
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    n_batches: int = 10,
    rng: np.random.Generator | None = None,
) -> WassersteinBatches:
    """Wasserstein-1 distance batch by batch, as L2LFlows gives it; see `wasserstein`.

    Finite values of both samples are standardised with the reference's mean and standard deviation,
    cut to the shorter one's length and split into batches of equal length (the last may be
    shorter).

    Args:
        reference: values of Geant4 showers, shape (n,).
        candidate: values of generated showers, shape (m,).
        n_batches: number of batches; a single one has no standard deviation, which is NaN.
        rng: shuffles both samples first; None: their order is kept.

    Raises:
        ValueError: if a batch would be empty.

    Source: L2LFlows, ``wasserstein.py``.
    """
    (x, _), (y, _) = _finite(reference, None), _finite(candidate, None)
    if rng is not None:
        x, y = rng.permutation(x), rng.permutation(y)
    n = min(len(x), len(y))
    length = -(-n // n_batches)
    if n == 0 or length * (n_batches - 1) >= n:
        raise ValueError(
            f"{n_batches} batches need more than {n} finite values: take fewer batches"
        )
    mean, std = mean_std(x)
    found = np.array(
        [
            wasserstein(x[rows], y[rows], mean=mean, std=std)
            for rows in (slice(i, min(i + length, n)) for i in range(0, n, length))
        ]
    )
    spread = float(found.std(ddof=1)) if n_batches > 1 else float("nan")
    return WassersteinBatches(float(found.mean()), spread)


def _finite(values: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats | None]:
    x = np.asarray(values, np.float64)
    keep = np.isfinite(x)
    return x[keep], None if weights is None else np.asarray(weights, np.float64)[keep]


class Wasserstein(Metric):
    """Wasserstein-1 distances of L2LFlows' observables, see `wasserstein`.

    Every distance is standardised with the mean and standard deviation of the whole reference; for
    a profile these are the unweighted ones of the positions of its active voxels, while the
    distance weights each voxel with its energy, as in L2LFlows' code. A subsample has up to 10,000
    showers, as published. Profiles and spectrum take all voxels of the sampled showers (L2LFlows
    samples voxels), so that the floor contains the fluctuations from shower to shower.
    """

    name = "wasserstein"
    repeats = 10
    max_size = PUBLISHED_SIZE
    published_for = ("ild-core", "ild-30", "calochallenge-3")
    published_size = PUBLISHED_SIZE

    def __init__(self, reference: Sample, threshold: float) -> None:
        self.scales = {name: mean_std(values) for name, values in reference.moments.items()}
        for name, profile in reference.profiles.items():
            self.scales[f"{name}_profile"] = mean_std(profile.position, profile.n_hits)
        self.spectrum = SpectrumDistance(reference.spectrum)
        self.positions = {name: p.position for name, p in reference.profiles.items()}

    def columns(self, sample: Sample) -> Columns:
        """Moments, profiles and spectrum of each shower."""
        profiles: Mapping[str, Profile] = sample.profiles
        return {
            **sample.moments,
            **{f"{name}_profile": profile.energy for name, profile in profiles.items()},
            **SpectrumDistance.columns(sample.spectrum),
        }

    def compare(self, reference: Columns, candidate: Columns, seed: int) -> Comparison:
        """Distance of each observable."""
        values: dict[str, Value] = {}
        for name, (mean, std) in self.scales.items():
            place = self.positions.get(name.removesuffix("_profile"))
            pair = reference[name], candidate[name]
            if place is None:
                values[name] = distance(name, *pair, mean, std)
            else:
                values[name] = _of_profile(name, place, *pair, mean, std)
        values["spectrum"] = self.spectrum(reference, candidate)
        return Comparison(values)


class SpectrumDistance:
    """Wasserstein-1 distance of the energies of voxels or points, from their fine bins.

    Args:
        reference: the spectrum whose standard deviation is the unit.
    """

    def __init__(self, reference: Spectrum) -> None:
        self.edges = reference.edges
        middle = (self.edges[:-1] + self.edges[1:]) / 2
        self.scale = mean_std(middle, reference.counts.sum(axis=0, dtype=np.float64))

    @staticmethod
    def columns(spectrum: Spectrum) -> Columns:
        """What the distance needs of each shower."""
        above = np.stack([spectrum.n_above, spectrum.excess], axis=1)
        return {"spectrum": spectrum.counts, "above": above}

    def __call__(self, reference: Columns, candidate: Columns) -> float:
        """Area between the cumulative distributions, by the trapezium rule on the fine bins."""
        mean, std = self.scale
        if not has_spread(mean, std):
            return _without_unit("the spectrum")
        cumulative, beyond = [], []
        for side in (reference, candidate):
            counts = side["spectrum"].sum(axis=0, dtype=np.float64)
            n_above, excess = side["above"].sum(axis=0)
            n_hits = counts.sum() + n_above
            if not n_hits:
                return _without_values("the spectrum")
            cumulative.append(np.concatenate([[0], np.cumsum(counts)]) / n_hits)
            beyond.append(excess / n_hits)
        area = np.trapezoid(np.abs(cumulative[0] - cumulative[1]), self.edges)
        # Beyond the reference's highest energy only the candidate's distribution is not yet 1.
        return float((area + abs(beyond[0] - beyond[1])) / std)


def mean_std(values: Floats, weights: Floats | None = None) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of the finite values, counted `weights` times."""
    counts = np.isfinite(values) * (np.ones(len(values)) if weights is None else weights)
    x, n = np.nan_to_num(values), counts.sum()
    if n < 2:
        return float("nan"), float("nan")
    mean = (counts * x).sum() / n
    return float(mean), float(np.sqrt((counts * (x - mean) ** 2).sum() / (n - 1)))
