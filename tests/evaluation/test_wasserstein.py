"""Wasserstein distances with known answers, and equal to those of all voxels of real showers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

import caloforge as cf
from caloforge.evaluation import Sample, wasserstein, wasserstein_batches
from caloforge.evaluation.metrics.undetermined import UndeterminedWarning
from caloforge.evaluation.metrics.wasserstein import Wasserstein


def test_a_shifted_gaussian_is_its_shift_away_in_standard_deviations(rng):
    x = rng.normal(5, 2, 40_000)
    assert wasserstein(x, x + 3) == pytest.approx(3 / x.std(ddof=1))
    assert wasserstein(x, rng.normal(6, 2, 40_000)) == pytest.approx(0.5, abs=0.03)


def test_the_distance_of_equal_gaussians_falls_with_the_root_of_their_number(rng):
    # (2 / sqrt(pi n)) times the integral of sqrt(F (1 - F)), which is 1.6 for a Gaussian
    x = np.linspace(-8, 8, 4001)
    cumulative = np.cumsum(np.exp(-(x**2) / 2)) / np.exp(-(x**2) / 2).sum()
    spread = np.trapezoid(np.sqrt((cumulative * (1 - cumulative)).clip(0)), x)
    found = [wasserstein(*rng.normal(size=(2, 500)), mean=0, std=1) for _ in range(400)]
    assert np.mean(found) == pytest.approx(2 / np.sqrt(np.pi * 500) * spread, rel=0.06)


def test_weights_count_as_repeated_values(rng):
    x, y = rng.normal(size=(2, 50))
    weights = rng.integers(1, 5, 50)
    weighted = wasserstein(x, y, candidate_weights=weights)
    assert weighted == pytest.approx(wasserstein(x, np.repeat(y, weights)))


def test_values_that_are_not_finite_are_left_out():
    assert wasserstein([0, 1, np.nan], [0, 1, np.inf]) == pytest.approx(0)
    assert np.isnan(wasserstein([np.nan], [0, 1]))
    assert np.isnan(wasserstein([2, 2, 2], [0, 1, 2]))


def test_a_reference_whose_spread_is_rounding_has_no_unit():
    constant = np.full(7, 0.1)
    assert constant.std(ddof=1) > 0
    assert np.isnan(wasserstein(constant, [10.0]))
    assert np.isnan(wasserstein([0.3, 0.1 + 0.2], [10.0]))
    assert np.isnan(wasserstein([1.0, 2], [10.0], mean=0.1, std=1e-17))
    assert np.isnan(wasserstein_batches(constant, np.arange(7.0), n_batches=2).mean)
    assert wasserstein([1e6, 1e6 + 1e-3], [1e6]) == pytest.approx(0.5**0.5)


def test_what_has_no_distance_says_why(bundled):
    showers = bundled[:30]
    empty = cf.VoxelShowers(showers.energy_inc, np.zeros(31, int), [], [], showers.geometry)
    single = cf.VoxelShowers(
        showers.energy_inc, np.arange(31), [700] * 30, [50.0] * 30, showers.geometry
    )
    reference, constant = Sample.of(showers), Sample.of(single)
    without = Sample.of(empty, edges=reference.spectrum.edges)
    for first, second, reason in (
        (reference, without, "no shower of the candidate has a value"),
        (constant, constant, "all showers of the reference have the same value"),
    ):
        metric = Wasserstein(first, first.threshold)
        sides = [metric.columns(side) for side in (first, second)]
        with pytest.warns(UndeterminedWarning, match=reason) as said:
            values = metric.compare(*sides, 0).values
        unknown = {name for name, value in values.items() if np.isnan(value)}
        assert {"z_mean", "z_std", "x_std", "z_profile", "r_profile", "spectrum"} <= unknown
        assert len(said) == len(unknown)
        assert np.isfinite(values["energy_ratio"])


def test_profile_distances_equal_those_of_weighted_voxels(two_samples):
    first, second, reference, candidate = two_samples
    geometry = first.geometry
    metric = Wasserstein(reference, geometry.threshold)
    found = metric.compare(metric.columns(reference), metric.columns(candidate), 0).values
    first, second = (showers.above(geometry.threshold) for showers in (first, second))
    places = {"z": geometry.voxel_layer, "r": geometry.voxel_r}
    if geometry.name == "ild-30":
        places |= {"x": geometry.voxel_x, "y": geometry.voxel_y}
    for name, place in places.items():
        expected = wasserstein_distance(
            place[first.index], place[second.index], first.energy, second.energy
        ) / place[first.index].std(ddof=1)
        assert found[f"{name}_profile"] == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_the_spectrum_distance_equals_that_of_all_voxels(two_samples):
    first, second, reference, candidate = two_samples
    threshold = first.geometry.threshold
    metric = Wasserstein(reference, threshold)
    found = metric.compare(metric.columns(reference), metric.columns(candidate), 0).values
    x, y = (s.above(threshold).energy.astype(np.float64) for s in (first, second))
    assert y.max() > x.max()  # energies above all of the reference's must count as well
    assert found["spectrum"] == pytest.approx(wasserstein_distance(x, y) / x.std(ddof=1), rel=5e-3)


def test_shower_distances_are_in_units_of_the_whole_reference(two_samples):
    _, _, reference, candidate = two_samples
    metric = Wasserstein(reference, reference.geometry.threshold)
    some = {name: column[:50] for name, column in metric.columns(reference).items()}
    found = metric.compare(some, metric.columns(candidate), 0).values
    x, y = reference.moments["z_mean"], candidate.moments["z_mean"]
    expected = wasserstein_distance(x[:50], y) / x.std(ddof=1)
    assert found["z_mean"] == pytest.approx(expected)


def test_batches_are_runs_of_equal_length_in_units_of_the_whole_reference(rng):
    x, y = rng.normal(size=25), rng.normal(0.5, 2, 30)
    found = wasserstein_batches(x, y, n_batches=3)
    runs = [slice(0, 9), slice(9, 18), slice(18, 25)]
    by_hand = [wasserstein_distance(x[r], y[r]) / x.std(ddof=1) for r in runs]
    assert found.mean == pytest.approx(np.mean(by_hand), rel=1e-9)
    assert found.std == pytest.approx(np.std(by_hand, ddof=1), rel=1e-9)


def test_shuffled_batches_of_sorted_samples_are_as_far_apart_as_unsorted_ones(rng):
    x, y = rng.normal(size=(2, 10_000))
    found = wasserstein_batches(np.sort(x), np.sort(y)[::-1], rng=rng)
    assert found.mean < 0.1
    assert wasserstein_batches(np.sort(x), np.sort(y)[::-1]).mean > 1


def test_a_single_batch_has_a_distance_without_spread(rng):
    x, y = rng.normal(size=(2, 100))
    found = wasserstein_batches(x, y, n_batches=1)
    assert found.mean == pytest.approx(wasserstein(x, y))
    assert np.isnan(found.std)


def test_too_many_batches_are_refused():
    with pytest.raises(ValueError, match="10 batches need more than 9"):
        wasserstein_batches(np.arange(9.0), np.arange(20.0))
