"""One worth with its uncertainty, and means of several."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from caloforge.evaluation.digits import format_limits
from caloforge.evaluation.observables import Floats

__all__ = ["Estimate", "Fluctuations"]

PERFECT = 0.95  # fraction of perfect candidates in which no difference is seen
ONE_SIDED = 1.645  # standard deviations that 95 % of a normal distribution lie below


@dataclass(frozen=True)
class Estimate:
    """A worth, known by its inverse q, which is what adds up.

    A difference is **seen** where q is larger than in 95 % of perfect candidates. Where none is
    seen, the worth is out of sight, and known to be larger than a limit.

    Args:
        inverse: q, without bias, hence as often negative as positive for a perfect candidate; NaN
            where it is not determined.
        error: its standard deviation.
        low: lower limit of the worth: of 68 % together with the upper one, or, where it is out of
            sight, of 95 % alone.
        high: upper limit, infinite where the worth is out of sight.
    """

    inverse: float
    error: float
    low: float
    high: float

    @property
    def is_seen(self) -> bool:
        """Whether a difference is seen."""
        return math.isfinite(self.high)

    @property
    def value(self) -> float:
        """The worth, infinite where it is out of sight."""
        return 1 / self.inverse if self.is_seen else self.high

    @property
    def text(self) -> str:
        """The worth as it is shown: 1,100 +300 −200, or > 9,000."""
        return format_limits(self.value, self.low, self.high)

    def to_dict(self) -> dict[str, float | str | None]:
        """As plain values; null where it is not determined or out of sight."""
        limits = {"worth": self.value, "low": self.low, "high": self.high}
        finite = {name: x if math.isfinite(x) else None for name, x in limits.items()}
        return {**finite, "text": self.text}


@dataclass(frozen=True, eq=False)
class Fluctuations:
    """Inverse worths of several observables in several cells, and how they fluctuate together.

    Args:
        inverse: q, NaN where it is not determined, shape (cells, observables).
        linear: covariances of the parts that are linear in the fluctuation, shape (cells,
            observables, observables).
        null: q of perfect candidates, shape (cells, observables, replicates).
    """

    inverse: Floats
    linear: Floats
    null: Floats

    def mean(self, weights: Floats) -> Estimate:
        r"""The mean of inverse worths that are determined.

        The linear part has the difference of the distributions only with its own fluctuation,
        which makes its variance too large by twice that of the other part on average:

        .. math:: \sigma^2 = V_0 + \max(0, V_1 - 2 V_0)

        A difference is seen where q is above the 95 % quantile of perfect candidates. Its limits
        follow from :math:`\kappa = \max(0, V_1 - 2 V_0) / q`, see `_limits`. Where it is not
        seen, :math:`\kappa` is four times the q of one standard deviation of the likeliest
        fluctuation (nearly always the mean's, as if it were alone in the variance of an observable
        in a cell), and a negative q counts as 0, so that luck makes no candidate better than
        perfect.

        Args:
            weights: relative weights, shape (cells, observables).
        """
        known = np.isfinite(self.inverse) & (weights > 0)
        if not known.any():
            return Estimate(*[math.nan] * 4)
        shares = np.where(known, weights, 0) / known.sum()
        inverse = float((shares * np.nan_to_num(self.inverse)).sum())
        null = np.einsum("co,cor->r", shares, self.null)
        of_null = float(null.var())
        of_linear = float(np.einsum("co,cop,cp->", shares, self.linear, shares))
        error = math.sqrt(of_null + max(0.0, of_linear - 2 * of_null))
        if inverse > np.quantile(null, PERFECT):
            lowest, highest = _limits(inverse, of_null, (error**2 - of_null) / inverse, 1)
            return Estimate(inverse, error, 1 / highest, 1 / lowest if lowest > 0 else math.inf)
        slope = 4 * float((shares * self.null.std(axis=2)).sum(axis=1).max()) / math.sqrt(2)
        _, highest = _limits(max(0.0, inverse), of_null, slope, ONE_SIDED)
        return Estimate(inverse, error, 1 / highest, math.inf)


def _limits(inverse: float, of_null: float, slope: float, z: float) -> tuple[float, float]:
    r"""Limits of q at z standard deviations, where its variance is :math:`V_0 + \kappa q`.

    .. math:: \left(\sqrt{q + a + \kappa / 8} \pm z \sqrt\kappa / 2\right)^2 - a + \kappa / 8,
        \quad a = V_0 / \kappa

    by the root that makes the variance the same everywhere. Exact for the shift of a mean, where
    :math:`a = \kappa / 8`; near :math:`q \pm z \sqrt{V_0}` for small :math:`\kappa`.
    """
    slope = max(slope, 1e-3 * math.sqrt(of_null))
    offset = of_null / slope
    root, step = math.sqrt(inverse + offset + slope / 8), z * math.sqrt(slope) / 2
    lowest, highest = ((root + side) ** 2 - offset + slope / 8 for side in (-step, step))
    return lowest, highest
