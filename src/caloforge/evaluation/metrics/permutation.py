"""Two-sample tests whose level is exact: the same statistic of samples that were mixed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from caloforge.evaluation.comparison import Columns, Comparison, Metric
from caloforge.evaluation.metrics.physics_distance import frechet_distance
from caloforge.evaluation.observables import Floats, high_level
from caloforge.evaluation.quantities import quantity
from caloforge.evaluation.sample import Sample

__all__ = [
    "PermutationTests",
    "at_like_energy",
    "frechet_test",
    "joined",
    "kolmogorov_smirnov_test",
    "p_value",
    "shower_columns",
    "shuffled",
    "sliced_wasserstein_test",
    "uncorrelated",
]

N_PERMUTATIONS = 499
N_SLICES = 128
N_COMPONENTS = 64
N_GROUPS = 10  # of layers

Labels = NDArray[np.bool_]


def p_value(statistic: float, null: Floats) -> tuple[float, float]:
    r"""Fraction of mixed samples that differ as much as the two that were given, and its error.

    .. math:: p = \frac{1 + \#\{b : t_b \ge t\}}{1 + B}, \qquad \sqrt{p (1 - p) / (1 + B)}

    If all showers are of one distribution, p is below :math:`\alpha` in a fraction :math:`\alpha`
    of the tests, for any statistic and any number of showers.

    Args:
        statistic: t of the two samples.
        null: of samples of the same sizes that their showers were mixed into, shape (B,).

    Source: Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010) 39.
    """
    p = (1 + int(np.sum(null >= statistic))) / (1 + len(null))
    return p, float(np.sqrt(p * (1 - p) / (1 + len(null))))


def sliced_wasserstein_test(
    reference: Floats,
    candidate: Floats,
    *,
    slices: int = N_SLICES,
    permutations: int = N_PERMUTATIONS,
    seed: int = 0,
) -> tuple[float, float]:
    r"""The p-value of the sliced Wasserstein distance, and its error, by permutation.

    .. math:: t = \frac{1}{K} \sum_k \int \big| F_k(x) - G_k(x) \big| \, dx

    with the cumulative distributions of the two samples along K random directions, after both are
    made uncorrelated, with variance 1, by the covariance of all showers.

    Args:
        reference: shape (n, d).
        candidate: shape (m, d).
        slices: number of directions K.
        permutations: how often the showers are mixed.
        seed: of the directions and the mixing.

    Raises:
        ValueError: for samples that do not fit together, or values that are not finite.

    Source: Grossi, Letizia and Torre (arXiv:2409.16336), section 3, whose null distributions are
    of independent reference samples; mixing needs none and is exact.
    """
    rng = np.random.default_rng(seed)
    pooled = uncorrelated(joined(reference, candidate))
    directions = rng.standard_normal((pooled.shape[1], slices))
    steps = _Steps(pooled @ (directions / np.linalg.norm(directions, axis=0)))
    return _by_permutation(steps.area, len(reference), len(candidate), permutations, rng)


def kolmogorov_smirnov_test(
    reference: Floats,
    candidate: Floats,
    *,
    permutations: int = N_PERMUTATIONS,
    seed: int = 0,
) -> tuple[float, float]:
    r"""The p-value of the mean Kolmogorov-Smirnov distance, and its error, by permutation.

    .. math:: t = \frac{1}{d} \sum_k \max_x \big| F_k(x) - G_k(x) \big|

    Args:
        reference: shape (n, d).
        candidate: shape (m, d).
        permutations: how often the showers are mixed.
        seed: of the mixing.

    Raises:
        ValueError: for samples that do not fit together, or values that are not finite.

    Source: Grossi, Letizia and Torre (arXiv:2409.16336), section 3.
    """
    rng = np.random.default_rng(seed)
    steps = _Steps(joined(reference, candidate))
    return _by_permutation(
        lambda labels: float(steps.heights(labels).mean()),
        len(reference),
        len(candidate),
        permutations,
        rng,
    )


def frechet_test(
    reference: Floats,
    candidate: Floats,
    *,
    components: int = N_COMPONENTS,
    permutations: int = N_PERMUTATIONS,
    seed: int = 0,
) -> tuple[float, float]:
    """The p-value of the Fréchet distance, and its error, by permutation; see `frechet_distance`.

    It is taken in the largest principal components of all showers.

    Args:
        reference: shape (n, d).
        candidate: shape (m, d).
        components: number of principal components.
        permutations: how often the showers are mixed.
        seed: of the mixing.

    Raises:
        ValueError: for samples that do not fit together, or values that are not finite.
    """
    rng = np.random.default_rng(seed)
    pooled = joined(reference, candidate)
    pooled = pooled - pooled.mean(axis=0)
    _, vectors = np.linalg.eigh(pooled.T @ pooled)
    pooled = pooled @ vectors[:, -components:]
    whole = pooled.T @ pooled

    def distance(is_candidate: Labels) -> float:
        n, m = np.sum(~is_candidate), np.sum(is_candidate)
        rows = pooled[is_candidate]
        mean, products = rows.mean(axis=0), rows.T @ rows
        other = -mean * (m / n)  # the mean of all is 0
        return frechet_distance(
            other,
            (whole - products - n * np.outer(other, other)) / (n - 1),
            mean,
            (products - m * np.outer(mean, mean)) / (m - 1),
        )

    with threadpool_limits(limits=1, user_api="blas"):
        return _by_permutation(distance, len(reference), len(candidate), permutations, rng)


def joined(reference: Floats, candidate: Floats) -> Floats:
    """The showers of both samples, the reference's first.

    Raises:
        ValueError: for samples that do not fit together, or values that are not finite.
    """
    first, second = np.asarray(reference, np.float64), np.asarray(candidate, np.float64)
    if first.ndim != 2 or first.shape[1:] != second.shape[1:] or min(len(first), len(second)) < 2:
        raise ValueError(
            "both samples must have shape (n, d), n > 1, and the same columns, got "
            f"{first.shape} and {second.shape}"
        )
    pooled = np.concatenate([first, second])
    if not np.isfinite(pooled).all():
        raise ValueError("the values of both samples must be finite: remove broken showers")
    return pooled


def shuffled(n: int, m: int, permutations: int, rng: np.random.Generator) -> Iterator[Labels]:
    """Which of n + m showers are the candidate's: as given, then mixed again and again."""
    labels = np.arange(n + m) >= n
    yield labels
    for _ in range(permutations):
        yield rng.permutation(labels)


def _by_permutation(
    statistic: Callable[[Labels], float],
    n: int,
    m: int,
    permutations: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    found, *null = map(statistic, shuffled(n, m, permutations, rng))
    return p_value(found, np.asarray(null))


class _Steps:
    """Differences of cumulative distributions, for any choice of the candidate's showers.

    Args:
        values: of all showers in some columns, shape (n + m, d).
    """

    def __init__(self, values: Floats) -> None:
        self.order = np.ascontiguousarray(values.argsort(axis=0).T)
        rising = np.take_along_axis(values.T, self.order, axis=1)
        self.width = np.diff(rising, axis=1).astype(np.float32)

    def _difference(self, is_candidate: Labels) -> NDArray[np.float32]:
        """F - G between each value and the next, shape (d, n + m - 1)."""
        m = int(is_candidate.sum())
        step = np.where(is_candidate, -1 / m, 1 / (len(is_candidate) - m)).astype(np.float32)
        return np.abs(np.cumsum(step[self.order[:, :-1]], axis=1))

    def area(self, is_candidate: Labels) -> float:
        """Mean area between the two over the columns."""
        difference = self._difference(is_candidate)
        return float(np.vdot(difference, self.width)) / len(self.order)

    def heights(self, is_candidate: Labels) -> NDArray[np.float32]:
        """Largest difference of each column, shape (d,); between equal values there is none."""
        return np.asarray(np.max(self._difference(is_candidate) * (self.width > 0), axis=1))


def uncorrelated(values: Floats) -> Floats:
    """Linear combinations of the columns with variance 1, without those that hardly vary."""
    variance, vectors = np.linalg.eigh(np.atleast_2d(np.cov(values, rowvar=False)))
    kept = variance > 1e-6 * variance.max()
    return np.asarray((values - values.mean(axis=0)) @ (vectors[:, kept] / variance[kept] ** 0.5))


def at_like_energy(reference: Floats, candidate: Floats) -> tuple[Floats, Floats]:
    """Observables relative to those of showers of similar incident energy, without long tails.

    Every column becomes a standard normal by the ranks among all showers; from all but the first
    its cubic polynomial in the first is taken, and the rest divided by a cubic polynomial of its
    size. Both samples count alike, so a test of the two by permutation stays exact.

    Args:
        reference: incident energy and observables, shape (n, d); NaN counts as the lowest.
        candidate: shape (m, d).

    Returns:
        Both, of the same shapes; a column that does not vary is 0.
    """
    pooled = np.concatenate([reference, candidate])
    ranks = rankdata(np.where(np.isnan(pooled), -np.inf, pooled), axis=0)
    normal = ndtri((ranks - 0.5) / len(pooled))
    powers = np.vander(normal[:, 0], 4)

    def smooth(values: Floats) -> Floats:
        return np.asarray(powers @ np.linalg.lstsq(powers, values)[0])

    rest = normal[:, 1:] - smooth(normal[:, 1:])
    size = smooth(np.abs(rest))
    rest /= size.clip(np.maximum(0.2 * size.mean(axis=0), 1e-6))  # where nothing varies, by 1e-6
    found = np.column_stack([normal[:, 0], rest])
    return found[: len(reference)], found[len(reference) :]


def shower_columns(sample: Sample) -> dict[str, Floats]:
    """What the tests see of a shower, by name with unit; arrays (n,).

    The incident energy; the observables of L2LFlows, see `features`; the mean radius; the energy
    over the incident one, and the fraction of inactive voxels, in ten groups of layers.
    """
    moments, radial = sample.moments, sample.profiles["r"]
    layers = np.array_split(np.arange(sample.geometry.n_layers), N_GROUPS)
    groups = [g for g in layers if len(g)]
    energy, inactive = sample.features["E_layer"], sample.features["sparsity"]
    with np.errstate(invalid="ignore"):
        columns = {
            "incident energy [MeV]": np.asarray(sample.energy_inc, np.float64),
            **{quantity("wasserstein", k).title.lower(): moments[k] for k in moments},
            "mean radius [mm]": radial.energy @ radial.position / radial.energy.sum(1),
        }
    for group in groups:
        where = f"layers {group[0]} to {group[-1]}" if len(group) > 1 else f"layer {group[0]}"
        columns[f"energy of {where}"] = energy[:, group].sum(axis=1) / sample.energy_inc
        columns[f"sparsity of {where}"] = inactive[:, group].mean(axis=1)
    return columns


class PermutationTests(Metric):
    """Tests of the whole samples, each with the p-value of being of one distribution.

    The sliced Wasserstein distance and the mean Kolmogorov-Smirnov distance are of
    `shower_columns`, the Fréchet distance of the CaloChallenge's high-level features, all at like
    incident energy and without tails, see `at_like_energy`.
    """

    name = "permutation"
    repeats = 1
    max_size = 20_000
    has_floor = False
    permutations = N_PERMUTATIONS

    def __init__(self, reference: Sample, threshold: float) -> None:
        """Nothing is fitted to the reference."""

    def columns(self, sample: Sample) -> Columns:
        """Observables of showers, shape (n, d), and the CaloChallenge's features, (n, columns)."""
        return {
            "observables": np.column_stack(list(shower_columns(sample).values())),
            "features": high_level(sample.energy_inc, sample.features),
        }

    def compare(self, reference: Columns, candidate: Columns, seed: int) -> Comparison:
        """The p-value of each test."""
        few, many = (
            at_like_energy(reference[name], candidate[name]) for name in ("observables", "features")
        )
        times = self.permutations
        found = {
            "sliced_wasserstein": sliced_wasserstein_test(*few, permutations=times, seed=seed),
            "mean_ks": kolmogorov_smirnov_test(*few, permutations=times, seed=seed),
            "frechet": frechet_test(*many, permutations=times, seed=seed),
        }
        return Comparison(
            {name: p for name, (p, _) in found.items()},
            {name: error for name, (_, error) in found.items()},
        )
