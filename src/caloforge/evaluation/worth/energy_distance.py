"""The energy distance of two samples of numbers, without bias, and how it fluctuates."""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, pi, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caloforge.evaluation.observables import Floats
from caloforge.rounding import is_rounding

__all__ = ["Fluctuating", "compare", "energy_distance", "mean_difference", "worth_of_shift"]


def mean_difference(x: ArrayLike) -> float:
    r"""Mean absolute difference of two values of a sample, without bias.

    .. math:: E|X - X'| = \frac{1}{n (n - 1)} \sum_{i \ne j} |x_i - x_j|

    Args:
        x: values, shape (n,).
    """
    ordered = np.sort(np.asarray(x, np.float64))
    n = len(ordered)
    below = np.arange(1, n) / n
    return float(2 * np.diff(ordered) @ (below * (1 - below)) * n / (n - 1))


def energy_distance(x: ArrayLike, y: ArrayLike) -> float:
    r"""Squared energy distance of two samples, without bias, by sorting.

    .. math:: D^2 = 2 E|X - Y| - E|X - X'| - E|Y - Y'| = 2 \int (F - G)^2 \, dx

    with the cumulative distributions F and G. It is zero on average for samples of one
    distribution, hence as often negative as positive.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=20_000), rng.normal(0.2, 1, 20_000)
        >>> round(mean_difference(x) / energy_distance(x, y))  # 2 / 0.2² = 50 showers
        53

    Args:
        x: values, shape (n,).
        y: values, shape (m,).

    Source: Székely and Rizzo, J. Stat. Plan. Inference 143 (2013) 1249, equation 2.1.
    """
    return _Merged.of(np.asarray(x, np.float64), np.asarray(y, np.float64)).distance


def worth_of_shift(shift: float) -> float:
    r"""Worth of a normal distribution that is shifted by so many standard deviations.

    .. math::
        \frac{E|Y - Y'|}{D^2} = \frac{1}{2 \left(e^{-a^2} + \sqrt{\pi}\, a\, \mathrm{erf}\, a
        - 1\right)}, \quad a = \frac{\delta}{2 \sigma}

    since :math:`X - Y` is normal with mean :math:`\delta` and variance :math:`2 \sigma^2`, and
    :math:`E|Y - Y'| = 2 \sigma / \sqrt\pi`. For small shifts that is :math:`2 \sigma^2 / \delta^2`.

    Args:
        shift: :math:`\delta / \sigma`.
    """
    a = abs(shift) / 2
    return 1 / (2 * (exp(-(a**2)) + sqrt(pi) * a * erf(a) - 1))


@dataclass(frozen=True, eq=False)
class Fluctuating:
    r"""Inverse worth :math:`q = D^2 / E|X - X'|` of one observable, and how it fluctuates.

    With :math:`\epsilon`, the fluctuation of F - G, that of :math:`D^2` is
    :math:`4 \int (F - G)\, \epsilon + 2 \int \epsilon^2` minus the latter's mean.

    Args:
        inverse: q; NaN where it is not determined.
        linear: fraction of each shower in the first part, in units of :math:`E|X - X'|`: of the
            reference's n and the candidate's m showers, shape (n + m,).
        null: the second part in samples of random numbers: what a perfect candidate would have,
            shape (replicates,).
    """

    inverse: float
    linear: Floats
    null: Floats


def compare(x: Floats, y: Floats, random: NDArray[np.float32]) -> Fluctuating:
    """Inverse worth of a candidate, with all that its error is made of.

    Values that are not finite, as the depth of an empty shower, are left out.

    Args:
        x: an observable of the reference, shape (n,).
        y: of the candidate, shape (m,).
        random: standard normal numbers, one for each shower of both and each replicate (multiplier
            bootstrap); observables that share them keep their correlation, shape
            (replicates, n + m).
    """
    joined = np.concatenate([x, y])
    known = np.flatnonzero(np.isfinite(joined))
    n = int(np.searchsorted(known, len(x)))
    linear = np.zeros(len(joined))
    if min(n, len(known) - n) < 2:
        return Fluctuating(np.nan, linear, np.zeros(len(random)))
    merged = _Merged.of(joined[known[:n]], joined[known[n:]])
    scale = merged.within[0] * n / (n - 1)
    if is_rounding(scale, np.abs(joined[known]).max()):
        return Fluctuating(np.nan, linear, np.zeros(len(random)))
    inverse = merged.distance / scale
    linear[known] = (merged.shares() - inverse * merged.shares_of_scale()) / scale
    return Fluctuating(inverse, linear, merged.null(random[:, known]) / scale)


@dataclass(frozen=True, eq=False)
class _Merged:
    """Two samples in one order.

    Args:
        n: size of the first.
        m: size of the second.
        order: which of the n + m values comes when, shape (n + m,).
        gaps: between one value and the next, shape (n + m - 1,).
        first: cumulative distribution of the first in each gap.
        second: of the second.
    """

    n: int
    m: int
    order: NDArray[np.int64]
    gaps: Floats
    first: Floats
    second: Floats

    @classmethod
    def of(cls, x: Floats, y: Floats) -> _Merged:
        n, m = len(x), len(y)
        joined = np.concatenate([x, y])
        order = np.argsort(joined, kind="stable")
        of_first = np.cumsum(order < n)[:-1]
        of_second = np.arange(1, n + m) - of_first
        return cls(n, m, order, np.diff(joined[order]), of_first / n, of_second / m)

    @property
    def within(self) -> tuple[float, float]:
        """Mean absolute differences of two values of each, pairs of a value with itself counted."""
        first, second = (2 * self.gaps @ (f * (1 - f)) for f in (self.first, self.second))
        return float(first), float(second)

    @property
    def distance(self) -> float:
        first, second = self.within
        biased = 2 * self.gaps @ (self.first - self.second) ** 2
        return float(biased - first / (self.n - 1) - second / (self.m - 1))

    def shares(self) -> Floats:
        """What one more of each value would add to the distance, to first order."""
        beyond = self._beyond(4 * (self.first - self.second))
        beyond[self.n :] *= -1
        return self._centred(beyond)

    def shares_of_scale(self) -> Floats:
        """What one more of each value would add to the mean difference of the first sample."""
        beyond = self._beyond(2 * (1 - 2 * self.first))
        beyond[self.n :] = 0
        return self._centred(beyond)

    def null(self, random: NDArray[np.float32]) -> Floats:
        """The distance of samples of one distribution, by random numbers, shape (replicates,)."""
        n, m = self.n, self.m
        weights = np.hstack([_centred(random[:, :n]) / n, -_centred(random[:, n:]) / m])
        fluctuation = np.cumsum(weights[:, self.order[:-1]], axis=1)
        np.square(fluctuation, out=fluctuation)
        first, second = self.within
        return 2 * (fluctuation @ self.gaps.astype(np.float32)) - (first / n + second / m)

    def _beyond(self, density: Floats) -> Floats:
        """Integral of a density over all that lies above each value, shape (n + m,)."""
        above = np.append(np.cumsum((self.gaps * density)[::-1])[::-1], 0)
        found = np.empty_like(above)
        found[self.order] = above
        return found

    def _centred(self, shares: Floats) -> Floats:
        first, second = shares[: self.n], shares[self.n :]
        return np.concatenate([(first - first.mean()) / self.n, (second - second.mean()) / self.m])


def _centred(random: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(random - random.mean(axis=1, keepdims=True))
