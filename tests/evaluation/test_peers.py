"""How far from its like: a known distance in known widths, whatever they depend on."""

from __future__ import annotations

import numpy as np
import pytest

from caloforge.evaluation import deviation_from_peers


def test_it_is_the_number_of_standard_deviations_of_a_gaussian_whose_mean_moves(rng):
    """The others are N(2 x, x): their mean and width at x are known."""
    x = rng.uniform(1, 5, 20_000)
    others = rng.normal(2 * x, x)
    at = np.array([2.0, 3.0, 4.0])
    value = 2 * at + np.array([0, 2, -1]) * at
    found = deviation_from_peers(value, at[:, None], others, x[:, None], n_peers=500)
    np.testing.assert_allclose(found, [0, 2, -1], atol=0.25)


def test_with_all_others_as_peers_it_is_the_distance_from_their_median():
    others = np.arange(101.0)
    found = deviation_from_peers(
        [50.0, 84.0], np.zeros((2, 1)), others, np.zeros((101, 1)), n_peers=999
    )
    np.testing.assert_allclose(found, [0, 1])


def test_every_likeness_counts_in_its_own_width(rng):
    """One likeness in a unit a million times smaller chooses the same peers."""
    like, others = rng.normal(size=(500, 2)), rng.normal(size=500)
    value, at = np.zeros(20), rng.normal(size=(20, 2))
    unit = np.array([1e6, 1.0])
    one, same = (deviation_from_peers(value, at * u, others, like * u) for u in (1, unit))
    np.testing.assert_allclose(one, same, rtol=1e-6)


def test_a_width_has_a_least_value():
    like, others = np.zeros((5, 1)), np.full(5, 3.0)
    assert np.isinf(deviation_from_peers([4.0], [[0.0]], others, like))
    assert deviation_from_peers([4.0], [[0.0]], others, like, least_width=0.5) == pytest.approx(2)
