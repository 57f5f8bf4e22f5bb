"""Fréchet and kernel physics distance of high-level features (FPD and KPD)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import svdvals
from threadpoolctl import threadpool_limits

from caloforge.evaluation.comparison import SmallSampleWarning
from caloforge.evaluation.metrics.undetermined import undetermined
from caloforge.evaluation.observables import Floats
from caloforge.rounding import is_rounding

__all__ = [
    "Distance",
    "fpd",
    "fpd_of_subsets",
    "frechet_distance",
    "kpd",
    "kpd_of_blocks",
]

TOO_FAR = (
    "the candidate's features lie too many of the reference's largest values away for double "
    "precision"
)
KERNEL_SIZE = 10_000  # showers of each batch of KPD
BLOCK_SIZE = 2_500  # showers of each block where all are compared once
KERNEL_BLOCK = 1024  # rows: a block of the kernel's matrix has 8 MB, which stay in the cache

Rows = NDArray[np.int64]


class Distance(NamedTuple):
    """A distance and its error."""

    value: float
    error: float


def fpd(
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    min_samples: int = 10_000,
    max_samples: int = 50_000,
    num_batches: int = 20,
    num_points: int = 10,
    seed: int = 42,
) -> Distance:
    r"""Fréchet distance of two samples, extrapolated to batches of infinite size.

    Both samples are divided by the reference's largest absolute value in each column. Batches of
    `num_points` sizes, equally spaced in 1/size, are sampled with replacement; through the mean
    Fréchet distance at each size goes a straight line in 1/size with intercept and slope not below
    0. The distance is the intercept.

    Sampling with replacement extrapolates to the distance of the two samples as they are, not to
    that of their distributions: n showers each of one distribution are about (a constant) / n
    apart. The distance of few showers is better taken with `fpd_of_subsets`.

    Args:
        reference: features of Geant4 showers, shape (n, columns).
        candidate: features of generated showers, shape (m, columns).
        min_samples: size of the smallest batches.
        max_samples: size of the largest batches.
        num_batches: batches of each size.
        num_points: number of sizes.
        seed: of the random numbers.

    Returns:
        The intercept and its standard error from the fit. The published tables list both
        times 1,000.

    Raises:
        ValueError: for features that are not finite or do not fit together, or sizes that no line
            can be fitted through.

    Warns:
        SmallSampleWarning: for less showers than the smallest batches have.
        UndeterminedWarning: for samples so far apart that the distance, then NaN, overflows.

    Source: JetNet 0.2.5, ``fpd``, with the CaloChallenge's ``min_samples``. The line is that of its
    definition; JetNet's own search for it may stop up to some 1e-5 off it.
    """
    rng = np.random.default_rng(seed)
    first, second = _normalise(reference, candidate)
    _warn_of_few(min(len(first), len(second)), min_samples)
    return _extrapolate(
        first,
        second,
        sizes=_batch_sizes(min_samples, max_samples, num_points),
        num_batches=num_batches,
        choose=lambda n, size: rng.choice(n, size=size),
    )


def fpd_of_subsets(
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    trim: float = 0.0,
    num_batches: int = 5,
    num_points: int = 5,
    seed: int = 42,
) -> Distance:
    r"""Fréchet distance of two distributions, extrapolated from subsets of small samples.

    As `fpd`, with batches of n/2 to n rows sampled *without* replacement, n the length of the
    shorter sample. Such a batch is a smaller sample of the same distribution, so that the line
    extrapolates to infinitely many showers: samples of one distribution are 0 apart within the
    error as soon as n is several times the number of columns. `fpd` tends to the same value for
    large samples.

    Args:
        reference: features of Geant4 showers, shape (n, columns).
        candidate: features of generated showers, shape (m, columns).
        trim: values beyond the reference's quantiles `trim` and 1 - `trim` are moved there, after
            the division by its largest ones, so that a few outliers do not decide the distance.
        num_batches: batches of each size.
        num_points: number of sizes.
        seed: of the random numbers.

    Returns:
        The intercept and its standard error from the fit, which ignores that the batches
        share rows: the spread between independent samples is the better error.

    Raises:
        ValueError: as `fpd`.
    """
    rng = np.random.default_rng(seed)
    first, second = _normalise(reference, candidate)
    if trim:
        limits = np.quantile(first, [trim, 1 - trim], axis=0)
        first, second = first.clip(*limits), second.clip(*limits)
    n = min(len(first), len(second))
    return _extrapolate(
        first,
        second,
        sizes=_batch_sizes(n // 2, n, num_points),
        num_batches=num_batches,
        choose=lambda n, size: rng.permutation(n)[:size],
    )


def kpd(
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    batch_size: int = KERNEL_SIZE,
    num_batches: int = 10,
    seed: int = 42,
) -> Distance:
    """Maximum mean discrepancy of two samples with a polynomial kernel, over several batches.

    Both samples are divided by the reference's largest absolute value in each column; batch i is
    sampled from each with replacement by a generator of seed + 1000 i. See `kpd_of_blocks`.

    Args:
        reference: features of Geant4 showers, shape (n, columns).
        candidate: features of generated showers, shape (m, columns).
        batch_size: rows sampled from each sample.
        num_batches: number of batches.
        seed: of the random numbers.

    Returns:
        The median of the batches and half of their range from 16.275 to 83.725 %; the median can
        be negative. The published tables list both times 1,000.

    Raises:
        ValueError: for features that are not finite or do not fit together.

    Warns:
        SmallSampleWarning: for less showers than a batch has.

    Source: Kansal et al. (arXiv:2211.10295); JetNet 0.2.5, ``kpd``, with the CaloChallenge's
    ``batch_size``.
    """
    first, second = _normalise(reference, candidate)
    _warn_of_few(min(len(first), len(second)), batch_size)
    found = []
    for i in range(num_batches):
        rng = np.random.default_rng(seed + 1000 * i)
        rows = [rng.choice(len(sample), size=batch_size) for sample in (first, second)]
        found.append(_unbiased_mmd(*_weigh(first, rows[0]), *_weigh(second, rows[1])))
    low, high = np.percentile(found, [16.275, 83.725])
    return Distance(float(np.median(found)), float(high - low) / 2)


def kpd_of_blocks(
    reference: ArrayLike, candidate: ArrayLike, *, block_size: int = BLOCK_SIZE
) -> Distance:
    r"""Squared maximum mean discrepancy of two samples, without bias, over disjoint blocks of rows.

    .. math::
        \frac{1}{n(n-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{m(m-1)} \sum_{i \ne j} k(y_i, y_j)
        - \frac{2}{nm} \sum_{i,j} k(x_i, y_j), \qquad
        k(x, y) = \Big(\frac{x \cdot y}{d} + 1\Big)^4

    of the n rows x of the reference and the m rows y of the candidate in each of B blocks; the
    value is the mean over the blocks. No shower is sampled twice, as it would be by `kpd` from few:
    it would be nearest to itself, which counts as a distance. The time grows with the number of
    showers times the size of a block, not with its square; the fluctuation without a difference is
    larger than that of all pairs by the square root of B.

    Both samples are first divided by the reference's largest absolute value in each of the d
    columns. The expectation is 0 for samples of one distribution; a value can be negative.

    Args:
        reference: features of Geant4 showers, in random order, shape (n, d).
        candidate: features of generated showers, likewise, shape (m, d).
        block_size: rows of a block at most.

    Returns:
        The mean over the blocks and its standard error, NaN for one block.

    Raises:
        ValueError: for features that are not finite or do not fit together.

    Source: the kernel is that of Kansal et al. (arXiv:2211.10295), the mean over blocks that of
    Zaremba et al. (arXiv:1307.1954).
    """
    first, second = _normalise(reference, candidate)
    n_blocks = max(1, -(-min(len(first), len(second)) // block_size))
    blocks = zip(*(np.array_split(sample, n_blocks) for sample in (first, second)), strict=True)
    found = [_unbiased_mmd(x, np.ones(len(x)), y, np.ones(len(y))) for x, y in blocks]
    error = np.std(found, ddof=1) / n_blocks**0.5 if n_blocks > 1 else np.nan
    return Distance(float(np.mean(found)), float(error))


def _warn_of_few(n: int, batch_size: int) -> None:
    if n < batch_size:
        warnings.warn(
            f"batches of {batch_size} showers are sampled from {n}: most of them repeatedly, so "
            "that the distance is that of these showers, not that of their distribution; read it "
            "beside the floor of two Geant4 samples as small",
            SmallSampleWarning,
            stacklevel=3,
        )


def _normalise(reference: ArrayLike, candidate: ArrayLike) -> tuple[Floats, Floats]:
    """Both samples in units of the reference's largest absolute value of each column.

    A column that is 0 in the reference, or only rounding compared with the candidate's spread, is
    left as it is.
    """
    first, second = np.asarray(reference, np.float64), np.asarray(candidate, np.float64)
    for name, sample in {"reference": first, "candidate": second}.items():
        if sample.ndim != 2 or len(sample) < 2 or sample.shape[1:] != first.shape[1:]:
            raise ValueError(
                f"features must have shape (n, columns), n > 1, with the reference's columns, got "
                f"{name} {sample.shape} and reference {first.shape}"
            )
        if not np.isfinite(sample).all():
            raise ValueError(f"the features of the {name} must be finite: remove broken showers")
    scale = np.abs(first).max(axis=0)
    scale[is_rounding(scale, np.ptp(second, axis=0))] = 1
    with np.errstate(over="ignore"):
        return first / scale, second / scale


def _batch_sizes(smallest: int, largest: int, n_sizes: int) -> NDArray[np.int32]:
    """Sizes equally spaced in 1/size, cut to integers."""
    if 2 <= smallest < largest and n_sizes >= 3:
        sizes = (1 / np.linspace(1 / smallest, 1 / largest, n_sizes)).astype(np.int32)
        if sizes[0] < sizes[-1]:
            return sizes
    raise ValueError(
        "a line needs three or more sizes of batches from at least 2 to more showers, got "
        f"{n_sizes} from {smallest} to {largest}"
    )


def _extrapolate(
    first: Floats,
    second: Floats,
    *,
    sizes: NDArray[np.int32],
    num_batches: int,
    choose: Callable[[int, int], Rows],
) -> Distance:
    """Intercept of the line through the mean Fréchet distances at 1 / size."""
    # A common shift changes no distance, and covariances about the origin then lose no digits.
    centre = first.mean(axis=0)
    first, second = first - centre, second - centre
    # Matrices of some hundred columns are too small for threads, which wait for each other longer
    # than they work, above all where other processes run.
    quiet = np.errstate(over="ignore", invalid="ignore")
    with threadpool_limits(limits=1, user_api="blas"), quiet:
        distances = [
            frechet_distance(
                *_moments(first, choose(len(first), size)),
                *_moments(second, choose(len(second), size)),
            )
            for size in sizes.repeat(num_batches).tolist()
        ]
    means = np.reshape(distances, (len(sizes), num_batches)).mean(axis=1)
    if not np.isfinite(means).all():
        return Distance(
            undetermined("the Fréchet distance", f"{TOO_FAR} in their squares"), float("nan")
        )
    return _intercept(1 / sizes, means)


def _intercept(x: Floats, y: Floats) -> Distance:
    r"""Least squares for y = a + b x with a and b not below 0: a and its standard error.

    The sum of squares is convex, so where the straight line has a negative a or b, its least value
    in the quadrant lies on an axis. The variance is that of the free fit,

    .. math:: \frac{\sum_i (y_i - a - b x_i)^2}{n - 2}\,
        \frac{\sum_i x_i^2}{n \sum_i (x_i - \bar x)^2}
    """
    scale = float(np.abs(y).max()) or 1.0  # so that no square overflows
    x, y = x / x.max(), y / scale
    offset = x - x.mean()
    slope = float(offset @ y / (offset @ offset))
    lines = [(float(y.mean()) - slope * float(x.mean()), slope)]
    if min(lines[0]) < 0:
        lines = [(0.0, max(0.0, float(x @ y / (x @ x)))), (max(0.0, float(y.mean())), 0.0)]
    squares = [float(((y - a - b * x) ** 2).sum()) for a, b in lines]
    best = int(np.argmin(squares))
    n = len(x)
    variance = squares[best] / (n - 2) * float(x @ x) / (n * float(offset @ offset))
    return Distance(scale * lines[best][0], scale * variance**0.5)


def _weigh(sample: Floats, rows: Rows) -> tuple[Floats, Floats]:
    """The distinct rows among those sampled, and how often each was."""
    counts = np.bincount(rows, minlength=len(sample))
    chosen = np.flatnonzero(counts)
    return sample[chosen], counts[chosen].astype(np.float64)


def _moments(sample: Floats, rows: Rows) -> tuple[Floats, Floats]:
    """Mean and covariance (n - 1) of the rows sampled."""
    values, weights = _weigh(sample, rows)
    root, n = np.sqrt(weights), len(rows)
    values *= root[:, None]
    mean: Floats = root @ values / n
    # The product of a matrix with its own transpose costs half of another product.
    covariance: Floats = (values.T @ values - n * np.outer(mean, mean)) / (n - 1)
    return mean, covariance


def frechet_distance(
    first_mean: Floats, first_covariance: Floats, second_mean: Floats, second_covariance: Floats
) -> float:
    r"""Squared Fréchet (Wasserstein-2) distance of two Gaussians.

    .. math::
        |\mu_1 - \mu_2|^2 + \mathrm{tr}\big(S_1 + S_2 - 2 (S_1 S_2)^{1/2}\big), \qquad
        \mathrm{tr}\,(S_1 S_2)^{1/2} = \sum_i \sigma_i(R_1^T R_2), \quad S = R R^T

    Singular values of factors keep the digits that eigenvalues of the product, their squares, lose
    where a covariance is (nearly) singular.

    Means have shape (d,), covariances (d, d).
    """
    shift = first_mean - second_mean
    if not (np.isfinite(first_covariance).all() and np.isfinite(second_covariance).all()):
        return float("nan")
    overlap = svdvals(_factor(first_covariance).T @ _factor(second_covariance)).sum()
    traces = np.trace(first_covariance) + np.trace(second_covariance)
    return float(shift @ shift + traces - 2 * overlap)


def _factor(covariance: Floats) -> Floats:
    """A matrix R with R R^T = S."""
    try:
        return np.asarray(np.linalg.cholesky(covariance), np.float64)
    except np.linalg.LinAlgError:  # singular, as with a constant column or few rows
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(vectors * np.sqrt(values.clip(min=0)), np.float64)


def _unbiased_mmd(first: Floats, weights: Floats, second: Floats, second_weights: Floats) -> float:
    """Unbiased squared discrepancy of rows that count as often as their weights say."""
    n, m = weights.sum(), second_weights.sum()
    with np.errstate(over="ignore", invalid="ignore"):
        within = [
            (_kernel_sum(x, w, x, w) - w @ _kernel(np.vecdot(x, x), x.shape[1]))
            / (size * (size - 1))
            for x, w, size in ((first, weights, n), (second, second_weights, m))
        ]
        between = _kernel_sum(first, weights, second, second_weights)
        found = float(within[0] + within[1] - 2 * between / (n * m))
    if not np.isfinite(found):
        return undetermined("the kernel distance", f"{TOO_FAR} in their eighth power")
    return found


def _kernel(products: Floats, d: int) -> Floats:
    """(x y / d + 1)^4, in place."""
    products /= d
    products += 1
    products *= products
    products *= products
    return products


def _kernel_sum(x: Floats, x_weights: Floats, y: Floats, y_weights: Floats) -> float:
    """Weighted sum of the kernel over all pairs of rows; pairs of blocks once where x is y."""
    total = 0.0
    for i in _blocks(len(x)):
        for j in _blocks(len(y)):
            if x is y and j.start < i.start:
                continue
            kernel = _kernel(x[i] @ y[j].T, x.shape[1])
            twice = 2 if x is y and j.start > i.start else 1
            total += twice * float(x_weights[i] @ kernel @ y_weights[j])
    return total


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + KERNEL_BLOCK) for start in range(0, n, KERNEL_BLOCK))
