"""Correlation of the layers' energies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from caloforge.evaluation.comparison import Columns, Comparison, Metric
from caloforge.evaluation.leaderboard import DATASETS
from caloforge.evaluation.observables import Floats
from caloforge.evaluation.sample import Sample
from caloforge.rounding import is_rounding

__all__ = ["CorrelationDifference", "LayerCorrelation", "correlation_difference", "pearson"]


class CorrelationDifference(NamedTuple):
    """Mean and largest absolute difference of two matrices of correlations."""

    mean: float
    max: float


def pearson(layer_energies: ArrayLike) -> Floats:
    r"""Pearson correlation of the energies of every two layers.

    .. math:: C_{lm} = \mathrm{cov}(E_l, E_m) \,/\, (\sigma_l \sigma_m)

    A layer that has the same energy in every shower, but for rounding, has correlation 0 with the
    others.

    Args:
        layer_energies: energy of each layer [MeV], shape (n, layers).

    Returns:
        Symmetric, 1 on the diagonal, shape (layers, layers).

    Raises:
        ValueError: for fewer than two showers, or energies that are not finite.

    Source: CaloChallenge, ``reference_creation.ipynb``.
    """
    energies = np.asarray(layer_energies, np.float64)
    if energies.ndim != 2 or len(energies) < 2:
        raise ValueError(
            f"layer_energies must have shape (n, layers) with n > 1, got {energies.shape}"
        )
    if not np.isfinite(energies).all():
        raise ValueError("layer_energies must be finite [MeV]: remove broken showers")
    with np.errstate(divide="ignore", invalid="ignore"):
        matrix = np.atleast_2d(np.corrcoef(energies, rowvar=False))
    constant = is_rounding(np.ptp(energies, axis=0), np.abs(energies).max(axis=0))
    matrix[constant] = matrix[:, constant] = 0
    np.fill_diagonal(matrix, 1)
    return matrix


def correlation_difference(reference: ArrayLike, candidate: ArrayLike) -> CorrelationDifference:
    r"""How far the correlations of layers differ: mean and maximum of :math:`|C - C_\mathrm{ref}|`.

    The mean is over the whole matrix, with its diagonal.

    Args:
        reference: layer energies of Geant4 showers [MeV], shape (n, layers).
        candidate: layer energies of generated showers [MeV], shape (m, layers).

    Raises:
        ValueError: for different numbers of layers, or as `pearson`.
    """
    first, second = pearson(reference), pearson(candidate)
    if first.shape != second.shape:
        raise ValueError(
            f"both samples must have the same layers, got {len(first)} in the reference and "
            f"{len(second)} in the candidate"
        )
    difference = np.abs(first - second)
    return CorrelationDifference(float(difference.mean()), float(difference.max()))


class LayerCorrelation(Metric):
    """Difference of the correlations of layer energies, see `correlation_difference`."""

    name = "pearson"
    repeats = 10
    published_for = DATASETS
    published_size = 100_000  # noise falls as 1/sqrt(n)

    def __init__(self, reference: Sample, threshold: float) -> None:
        """Nothing is fitted to the whole reference."""

    def columns(self, sample: Sample) -> Columns:
        """Energy of each layer [MeV], shape (n, layers)."""
        return {"E_layer": sample.features["E_layer"]}

    def compare(self, reference: Columns, candidate: Columns, seed: int) -> Comparison:
        """Mean and largest difference."""
        found = correlation_difference(reference["E_layer"], candidate["E_layer"])
        return Comparison(found._asdict())
