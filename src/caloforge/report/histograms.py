"""Histograms of the observables of a sample, each bin with its statistical error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import hist
import numpy as np
from hist import Hist
from numpy.typing import ArrayLike, NDArray

from caloforge.evaluation.observables import Floats
from caloforge.evaluation.sample import Sample
from caloforge.evaluation.spectrum import Spectrum
from caloforge.rounding import is_rounding

__all__ = [
    "Histogram",
    "Histograms",
    "by_energy",
    "content",
    "count_edges",
    "distribution",
    "of_bins",
    "of_counts",
    "of_spectrum",
    "outside",
    "per_bin",
    "range_of",
]

Histogram: TypeAlias = "Hist[Any]"
Histograms: TypeAlias = Mapping[str, Histogram]  # Geant4 first, then the candidates


def axis(edges: Floats, label: str) -> hist.axis.Variable:
    """Axis with a name for code and a label, with the unit, for people."""
    name = label.split(" [")[0].lower().replace(" ", "_")
    return hist.axis.Variable(np.asarray(edges), name=name, label=label)


def of_bins(edges: Floats, label: str, value: ArrayLike, variance: ArrayLike) -> Histogram:
    """Histogram of bin contents that are known."""
    result = Hist(axis(edges, label), storage=hist.storage.Weight())
    view: Any = result.view()
    view.value, view.variance = np.nan_to_num(value), np.nan_to_num(variance)
    return result


def content(histogram: Histogram) -> tuple[Floats, Floats]:
    """Contents of the bins and their errors."""
    view: Any = histogram.view()
    return np.asarray(view.value), np.sqrt(view.variance)


def outside(histogram: Histogram) -> tuple[float, float]:
    """What a distribution has before its first border, and from its last one on."""
    view: Any = histogram.view(flow=True)
    return float(view.value[0]), float(view.value[-1])


def distribution(values: Floats, edges: Floats, label: str) -> Histogram:
    """Fraction of the showers in each bin of a number that each shower has.

    All showers count, those without a value (NaN) and `outside` the bins as well. The variance is
    Poisson's.
    """
    counts = Hist(axis(edges, label), storage=hist.storage.Weight())
    counts.fill(values[np.isfinite(values)])
    return counts / len(values)


def of_spectrum(spectrum: Spectrum, label: str, *, with_below: bool = False) -> Histogram:
    """Voxels of a shower in each bin; the variance is taken between showers, not between voxels.

    Args:
        spectrum: energies of voxels or points.
        label: label of the axis.
        with_below: whether voxels below the threshold are shown as well.
    """
    counts, edges = spectrum.coarse(), spectrum.coarse_edges
    if with_below:
        counts = np.hstack([spectrum.below, counts])
        edges = np.concatenate([spectrum.below_edges[:-1], edges])
    return of_bins(edges, label, counts.mean(axis=0), counts.var(axis=0) / len(counts))


def of_counts(counts: NDArray[Any], edges: Floats, label: str) -> Histogram:
    r"""Fraction in each bin of a number that each shower has many of, such as one a pair of voxels.

    Those of one shower are correlated, so the variance of a bin's share p is that of a ratio of
    sums over showers,

    .. math:: \mathrm{var}(p) = \frac{\sum_i (c_i - p\,t_i)^2}{(\sum_i t_i)^2}

    with the entries :math:`c_i` of shower i in the bin and :math:`t_i` in all bins.

    Args:
        counts: entries of each shower in each bin, shape (n, bins).
        edges: borders of the bins, shape (bins + 1,).
        label: label of the axis.
    """
    entries = counts.astype(np.float64)
    total = entries.sum(axis=1)
    whole = total.sum() or 1.0
    share = entries.sum(axis=0) / whole
    variance = ((entries - share * total[:, None]) ** 2).sum(axis=0) / whole**2
    return of_bins(edges, label, share, variance)


def per_bin(values: Floats, edges: Floats, label: str, *, spread: bool = False) -> Histogram:
    r"""Mean over the showers of columns such as layer energies, or their standard deviation.

    The variance of the mean is :math:`\sigma^2 / n`; for the standard deviation see
    `variance_of_std`.

    Args:
        values: one row a shower, one column a bin, shape (n, bins).
        edges: borders of the bins, shape (bins + 1,).
        label: label of the axis.
        spread: whether to take the standard deviation instead of the mean.
    """
    n, variance = len(values), values.var(axis=0, ddof=1)
    if spread:
        return of_bins(edges, label, np.sqrt(variance), variance_of_std(values))
    return of_bins(edges, label, values.mean(axis=0), variance / n)


def variance_of_std(values: Floats) -> Floats:
    r"""Variance of the standard deviation of each column, tails included.

    .. math:: \mathrm{var}(s) = \frac{m_4 - s^4}{4 n s^2}

    with the fourth central moment :math:`m_4` (for a Gaussian :math:`s^2 / 2n`).
    """
    distance = values - values.mean(axis=0)
    square, fourth = (distance**2).mean(axis=0), (distance**4).mean(axis=0)
    positive = np.where(square > 0, square, np.nan)
    return np.asarray(np.nan_to_num((fourth - square**2).clip(0) / (4 * len(values) * positive)))


def range_of(reference: Floats, bins: int = 40) -> Floats:
    """Borders around all but the outermost 0.2 % of the reference, wider by a tenth.

    They do not go below 0 where the reference does not, such as for widths.
    """
    finite = reference[np.isfinite(reference)]
    low, high = np.quantile(finite, [0.001, 0.999]) if len(finite) else (0.0, 1.0)
    margin = 0.1 * (max(abs(high), 1.0) if is_rounding(high - low, abs(high)) else high - low)
    first = low - margin if (finite < 0).any() else max(low - margin, 0.0)
    return np.linspace(first, high + margin, bins + 1)


def count_edges(values: Floats, bins: int = 30) -> Floats:
    """Borders of up to so many bins, each around as many of the whole numbers of a reference."""
    low, high = np.quantile(values, [0.001, 0.999]) if len(values) else (0.0, 1.0)
    first, last = np.floor(low), np.ceil(high)
    step = -(-(last - first + 1) // bins)
    n_bins = -(-(last - first + 1) // step)
    return np.asarray(first - 0.5 + step * np.arange(n_bins + 1))


def by_energy(sample: Sample, edges: Floats, *, resolution: bool) -> tuple[Floats, Floats]:
    """Mean response or its relative width in bins of incident energy, with the variance."""
    response = sample.features["E_tot"] / sample.energy_inc
    number = np.digitize(sample.energy_inc, edges[1:-1])
    value, variance = np.full((2, len(edges) - 1), np.nan)
    for i in np.unique(number):
        inside = response[number == i]
        if len(inside) < 5 or inside.mean() <= 0:
            continue
        mean, width = inside.mean(), inside.std(ddof=1)
        if resolution:
            value[i], variance[i] = width / mean, variance_of_std(inside) / mean**2
        else:
            value[i], variance[i] = mean, width**2 / len(inside)
    return value, variance
