"""Correlations of layer energies with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from caloforge.evaluation import Sample
from caloforge.evaluation.metrics.correlation import (
    LayerCorrelation,
    correlation_difference,
    pearson,
)


def test_layers_that_rise_together_have_correlation_1_and_opposed_ones_minus_1():
    energy = np.array([1.0, 2.0, 5.0])
    matrix = pearson(np.stack([energy, 3 * energy + 1, -energy], axis=1))
    assert matrix == pytest.approx(np.array([[1, 1, -1], [1, 1, -1], [-1, -1, 1]]))


def test_a_correlation_is_that_found_by_hand():
    # covariance 1/2, variances 1 and 1/3 of (1, 2, 3) and (0, 0, 1): 1/2 / sqrt(1/3)
    assert pearson([[1, 0], [2, 0], [3, 1]])[0, 1] == pytest.approx(np.sqrt(3) / 2)


def test_mixed_independent_layers_have_the_correlation_of_their_mixture(rng):
    first, second = rng.normal(size=(2, 200_000))
    matrix = pearson(np.stack([first, 0.6 * first + 0.8 * second], axis=1))
    assert matrix[0, 1] == pytest.approx(0.6, abs=0.005)


@pytest.mark.parametrize("constant", [0.0, 0.1])  # the mean of many 0.1 is not 0.1 exactly
def test_a_constant_layer_correlates_with_itself_alone(rng, constant):
    energies = rng.exponential(size=(1000, 3))
    energies[:, 1] = constant
    matrix = pearson(energies)
    assert matrix[1].tolist() == matrix[:, 1].tolist() == [0, 1, 0]
    assert matrix[0, 2] == pytest.approx(np.corrcoef(energies[:, 0], energies[:, 2])[0, 1])


def test_a_layer_whose_energies_differ_by_rounding_correlates_with_itself_alone(rng):
    energies = rng.exponential(size=(200, 2))
    energies[:, 1] = np.where(energies[:, 0] > 1, 0.3, 0.1 + 0.2)
    assert pearson(energies).tolist() == [[1, 0], [0, 1]]


def test_a_single_layer_is_a_matrix_of_one():
    assert pearson([[1.0], [2.0]]).tolist() == [[1]]


def test_the_difference_is_over_the_whole_matrix():
    rising = np.array([1.0, 2.0, 5.0])
    same, opposed = (np.stack([rising, sign * rising], axis=1) for sign in (1, -1))
    found = correlation_difference(same, opposed)
    assert found.max == pytest.approx(2)
    assert found.mean == pytest.approx(1)  # two of four entries differ by 2
    assert correlation_difference(same, 7 * same) == pytest.approx((0, 0))


def test_different_layers_are_refused():
    with pytest.raises(ValueError, match="3 in the reference and 2"):
        correlation_difference(np.eye(3), np.eye(2))
    with pytest.raises(ValueError, match="n > 1"):
        pearson([[1.0, 2.0]])
    with pytest.raises(ValueError, match="must be finite"):
        pearson([[1.0, 2.0], [np.nan, 1.0]])


def test_one_layer_of_noise_is_the_largest_difference(bundled, rng):
    """Real layers rise and fall together; one that was shuffled between showers does not."""
    sample = Sample.of(bundled[:1000])
    metric = LayerCorrelation(sample, sample.threshold)
    energies = metric.columns(sample)["E_layer"]
    noisy = energies.copy()
    noisy[:, 10] = rng.permutation(noisy[:, 10])
    reference = {"E_layer": energies[::2]}
    floor, found = (
        metric.compare(reference, {"E_layer": values[1::2]}, seed=0).values
        for values in (energies, noisy)
    )
    assert floor["max"] < 0.6 < 0.8 < found["max"]
    assert floor["mean"] < found["mean"]
