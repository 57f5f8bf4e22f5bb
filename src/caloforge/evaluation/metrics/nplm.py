"""The New Physics Learning Machine: a test that learns where two samples differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.spatial.distance import cdist, pdist
from scipy.special import expit
from threadpoolctl import threadpool_limits

from caloforge.evaluation.comparison import Columns, Comparison, Metric
from caloforge.evaluation.metrics.permutation import (
    at_like_energy,
    joined,
    p_value,
    shower_columns,
    shuffled,
    uncorrelated,
)
from caloforge.evaluation.observables import Floats
from caloforge.evaluation.sample import Sample

__all__ = ["LearnedRatio", "Nplm", "Region", "nplm_test"]

N_PERMUTATIONS = 199
N_CENTRES = 256
N_STEPS = 10
N_BINS = 10  # of each observable, with as many showers of the reference each
PENALTY = 1e-3  # of the squared norm of the logarithm of the ratio, for each shower
AT_ONCE = 50  # permutations that are learned together
SEEN = 4.0  # spreads of the null from which on a region is named
NAMED = 3  # regions at the most
LEVEL = 0.05  # p-value up to which a metric names the regions that differ

Singles = NDArray[np.float32]


@dataclass(frozen=True)
class Region:
    """A range of an observable where a candidate differs from Geant4.

    Args:
        observable: its name.
        low: fraction of the Geant4 showers of similar incident energy below the range.
        high: fraction of them below its end.
        ratio: showers of the candidate there over those of Geant4, of samples of one size.
        spreads: how far the learned ratio is from 1, in its spreads between mixed samples.
    """

    observable: str
    low: float
    high: float
    ratio: float
    spreads: float

    @property
    def text(self) -> str:
        """The same in words."""
        many = "too many" if self.ratio > 1 else "too few"
        if self.low == 0:
            where = f"below its {self.high:.0%} quantile"
        elif self.high == 1:
            where = f"above its {self.low:.0%} quantile"
        else:
            where = f"between its {self.low:.0%} and {self.high:.0%} quantiles"
        return f"{many} showers with {self.observable} {where} ({self.ratio:.2g} times Geant4's)"


@dataclass(frozen=True)
class LearnedRatio:
    """What the test finds.

    Args:
        p: the p-value.
        error: of the p-value, from the number of permutations.
        statistic: t of the two samples.
        regions: where they differ most, the most significant first.
    """

    p: float
    error: float
    statistic: float
    regions: tuple[Region, ...]


def nplm_test(
    reference: Floats,
    candidate: Floats,
    names: Sequence[str],
    *,
    centres: int = N_CENTRES,
    permutations: int = N_PERMUTATIONS,
    seed: int = 0,
) -> LearnedRatio:
    r"""Learn the logarithm f of the ratio of the candidate's density to Geant4's, and test f = 0.

    .. math:: t = 2 \Big[ \sum_{x \in C} f(x) - \frac{m}{n} \sum_{x \in R} (e^{f(x)} - 1) \Big],
        \qquad f(x) = b + \sum_j w_j\, e^{-|x - c_j|^2 / 2 \sigma^2}

    f is a logistic regression of all showers with Gaussian kernels around some of them (Nyström),
    their width :math:`\sigma` the 90 % quantile of the distances between showers. It is learned in
    ten steps with the bound 1/4 on the curvature of the loss, for which one matrix serves all
    mixtures; t of the samples as given is compared with t of mixed ones, hence an exact level.

    Regions are ranges of one observable between deciles of the reference where the mean of f is
    largest, of those where it lies four spreads off its mean over mixtures.

    Args:
        reference: shape (n, d).
        candidate: shape (m, d).
        names: of the d columns.
        centres: number of kernels at the most.
        permutations: how often the showers are mixed.
        seed: of the centres and the mixing.

    Raises:
        ValueError: for samples that do not fit together, or values that are not finite.

    Sources: D'Agnolo and Wulzer (arXiv:1806.02350) for t; Letizia et al.
    (arXiv:2204.02317) for kernels and their width; Grossi et al. (arXiv:2508.02275) for
    generators. They calibrate t on independent samples of the reference in place of mixtures. The
    bound: Böhning and Lindsay, Ann. Inst. Stat. Math. 40 (1988) 641.
    """
    n, m = len(reference), len(candidate)
    rng = np.random.default_rng(seed)
    pooled = joined(reference, candidate)
    learner = _Learner(uncorrelated(pooled), min(centres, (n + m) // 4), rng)
    bins = _bins(reference, pooled)
    statistics, means = [], []
    with threadpool_limits(limits=1, user_api="blas"):
        for labels in _blocks(n, m, permutations, rng):
            f = learner.fit(labels)
            of_reference = np.where(labels, 0, np.expm1(f)).sum(axis=0)
            statistics.append(2 * (np.where(labels, f, 0).sum(axis=0) - m / n * of_reference))
            means.append(_mean_in_bins(bins, f))
    t, mean = np.concatenate(statistics), np.concatenate(means)
    p, error = p_value(t[0], t[1:])
    spreads = (mean[0] - mean[1:].mean(axis=0)) / mean[1:].std(axis=0, ddof=1)
    regions = tuple(_regions(names, bins, mean[0], np.nan_to_num(spreads), n))
    return LearnedRatio(p, error, float(t[0]), regions)


def _blocks(
    n: int, m: int, permutations: int, rng: np.random.Generator
) -> Iterator[NDArray[np.bool_]]:
    """Columns that mark the showers of the candidate, some at a time."""
    every = list(shuffled(n, m, permutations, rng))
    for start in range(0, len(every), AT_ONCE):
        yield np.stack(every[start : start + AT_ONCE], axis=1)


class _Learner:
    """Logistic regression with kernels, for many choices of the candidate's showers at once.

    Args:
        values: of all showers, shape (n + m, d).
        centres: number of kernels.
        rng: chooses their centres among the showers.
    """

    def __init__(self, values: Floats, centres: int, rng: np.random.Generator) -> None:
        middle = values[rng.permutation(len(values))[:centres]]
        width = np.quantile(pdist(middle), 0.9)

        def kernel(x: Floats) -> Floats:
            return np.asarray(np.exp(-0.5 * (cdist(x, middle) / width) ** 2))

        root = np.linalg.cholesky(kernel(middle) + 1e-6 * np.eye(centres))
        features = solve_triangular(root, kernel(values).T, lower=True).T
        constant = np.ones((len(values), 1))
        self.features = np.hstack([features, constant]).astype(np.float32)
        self.penalty = np.full((centres + 1, 1), PENALTY * len(values) / 2, np.float32)
        self.penalty[-1] = 0
        products = self.features.T @ self.features
        self.products, self.identity = products, np.diag(self.penalty[:, 0])

    def fit(self, labels: NDArray[np.bool_]) -> Singles:
        """The logarithm of the ratio for each shower and each choice, both shape (n + m, k)."""
        m = labels[:, 0].sum()
        weight = np.where(labels, 1, m / (len(labels) - m)).astype(np.float32)
        curvature = cho_factor(float(weight.max()) / 4 * self.products + self.identity)
        solution = np.zeros((self.features.shape[1], labels.shape[1]), np.float32)
        for _ in range(N_STEPS):
            slope = weight * (expit(self.features @ solution) - labels)
            gradient = self.features.T @ slope + self.penalty * solution
            solution -= cho_solve(curvature, gradient)
        return self.features @ solution


def _bins(reference: Floats, pooled: Floats) -> NDArray[np.int64]:
    """Number of the tenth of the reference that each shower lies in, shape (n + m, d)."""
    borders = np.quantile(reference, np.arange(1, N_BINS) / N_BINS, axis=0)
    return np.stack(
        [
            np.searchsorted(of_column, column, side="right")
            for of_column, column in zip(borders.T, pooled.T, strict=True)
        ],
        axis=1,
    )


def _mean_in_bins(bins: NDArray[np.int64], f: Singles) -> Floats:
    """Mean of f over the showers of each bin of each observable, shape (k, d, N_BINS)."""
    member = bins[:, :, None] == np.arange(N_BINS)
    flat = member.reshape(len(bins), -1).astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (f.T @ flat) / flat.sum(axis=0)
    return np.asarray(means, np.float64).reshape(f.shape[1], *member.shape[1:])


def _regions(
    names: Sequence[str], bins: NDArray[np.int64], mean: Floats, spreads: Floats, n: int
) -> Iterator[Region]:
    """The ranges that stand out most, one of each observable."""
    largest = np.abs(spreads).max(axis=1)
    least = max(SEEN, largest.max() / 3)
    for k in np.argsort(-largest)[:NAMED]:
        if largest[k] < least:
            return
        peak = int(np.where(np.abs(spreads[k]) < SEEN, 0, np.abs(mean[k])).argmax())
        like_peak = mean[k] / mean[k, peak] > 0.5
        low, high = peak, peak + 1
        while low > 0 and like_peak[low - 1]:
            low -= 1
        while high < N_BINS and like_peak[high]:
            high += 1
        inside = (bins[:, k] >= low) & (bins[:, k] < high)
        ratio = float(inside[n:].mean() / max(inside[:n].mean(), 1 / n))
        yield Region(names[k], low / N_BINS, high / N_BINS, ratio, float(spreads[k, peak]))


class Nplm(Metric):
    """The p-value of a learned likelihood ratio of `shower_columns` at similar incident energy.

    See `nplm_test` and `at_like_energy`.
    """

    name = "nplm"
    repeats = 1
    max_size = 20_000
    has_floor = False
    permutations = N_PERMUTATIONS

    def __init__(self, reference: Sample, threshold: float) -> None:
        self.names = list(shower_columns(reference))

    def columns(self, sample: Sample) -> Columns:
        """Observables of showers, shape (n, d)."""
        return {"observables": np.column_stack(list(shower_columns(sample).values()))}

    def compare(self, reference: Columns, candidate: Columns, seed: int) -> Comparison:
        """The p-value, and the regions that differ most."""
        pair = at_like_energy(reference["observables"], candidate["observables"])
        found = nplm_test(*pair, self.names, permutations=self.permutations, seed=seed)
        regions = ", ".join(region.text for region in found.regions)
        rejects = found.p <= LEVEL and regions
        remarks = {"nplm": f"it finds {regions}"} if rejects else {}
        return Comparison({"nplm": found.p}, {"nplm": found.error}, remarks=remarks)
