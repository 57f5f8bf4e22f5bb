"""Distances with known answers, and equal to those of slow code on real showers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

import caloforge as cf
from caloforge.evaluation import Sample, separation_power, wasserstein
from caloforge.evaluation.distances import Separation, Wasserstein, bin_edges
from caloforge.evaluation.observables import features
from caloforge.evaluation.sample import spectrum_edges


def sample_of(showers, edges=None):
    threshold = showers.geometry.threshold
    if edges is None:
        edges = spectrum_edges(threshold, float(showers.energy.max()))
    energies = np.geomspace(2e4, 8e4, 3)
    return Sample.of(showers, threshold=threshold, edges=edges, event_energies=energies)


@pytest.fixture(
    scope="module", params=["photons-10-100GeV_ild-30", "electrons-1-100GeV_calochallenge-2"]
)
def two_samples(request, shared_data):
    """200 showers, and 150 others with a tenth more energy."""
    first = cf.read(shared_data / f"{request.param}_test.h5")[:200]
    second = cf.read(shared_data / f"{request.param}_train.h5")[:150]
    second = cf.VoxelShowers(
        second.energy_inc, second.offset, second.index, 1.1 * second.energy, second.geometry
    )
    reference = sample_of(first)
    return first, second, reference, sample_of(second, reference.spectrum.edges)


def test_equal_shapes_have_separation_0_and_disjoint_ones_1():
    assert separation_power([1, 2, 3], [10, 20, 30]) == pytest.approx(0)
    assert separation_power([1, 2, 0], [0, 0, 5]) == pytest.approx(1)


def test_separation_of_two_bins_is_that_found_by_hand():
    # h = (1, 0), k = (1/2, 1/2): (1/4 / 3/2 + 1/4 / 1/2) / 2
    assert separation_power([7, 0], [3, 3]) == pytest.approx(1 / 3)


def test_separation_is_taken_histogram_by_histogram_and_unknown_for_an_empty_one():
    powers = separation_power([[1, 0], [0, 0]], [[0, 1], [1, 1]])
    assert powers[0] == pytest.approx(1)
    assert np.isnan(powers[1])


def test_separation_of_equal_distributions_is_bins_over_twice_the_entries(rng):
    counts = rng.multinomial(20_000, np.full(100, 0.01), size=(2, 200))
    assert separation_power(*counts).mean() == pytest.approx(100 / (2 * 20_000), rel=0.03)


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


def test_the_borders_are_those_of_the_calochallenge(shared_data):
    showers = cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_test.h5")[:50]
    found = features(showers)
    edges = bin_edges(showers.geometry, showers.energy_inc, found, 0.01515)
    assert {name: len(of_layers) for name, of_layers in edges.items()} == {
        **dict.fromkeys(found, 45),
        "E_tot": 1,
    }
    assert edges["E_tot"][0][[0, 1, -1]] == pytest.approx([0.5, 0.51, 1.5])
    assert edges["E_layer"][7][[0, -1]] == pytest.approx([0.01515, found["E_layer"][:, 7].max()])
    assert len(edges["E_layer"][7]) == 40
    assert edges["EC_phi"][3][[0, 1, -1]] == pytest.approx([-30, -29.4, 30])
    assert edges["width_eta"][3][[0, -1]] == pytest.approx([0, 30])
    assert edges["EC_r"][44][[0, -1]] == pytest.approx([0, 42])
    assert edges["width_r"][44][[0, -1]] == pytest.approx([0, 20])
    assert len(edges["sparsity"][0]) == 21


def test_the_wide_layers_of_dataset_1_have_wide_histograms():
    geometry = cf.geometry_preset("calochallenge-1-pions")  # layers 0 1 2 3 12 13 14
    empty = cf.VoxelShowers([1e4], [0, 0], [], [], geometry)
    edges = bin_edges(geometry, empty.energy_inc, features(empty), 1.0)
    assert [border[-1] for border in edges["EC_eta"]] == [100, 100, 500, 500]
    assert [border[-1] for border in edges["width_phi"]] == [100, 100, 400, 400]
    assert [border[-1] for border in edges["EC_r"]] == [500, 500, 500, 500, 1500, 1500, 1500]
    assert [border[-1] for border in edges["width_r"]] == [500, 500, 500, 500, 1500, 1500, 1500]


def test_separations_equal_those_of_numpy_histograms(two_samples):
    first, second, reference, candidate = two_samples
    threshold = first.geometry.threshold
    metric = Separation(reference, threshold)
    found = metric.compare(metric.columns(reference), metric.columns(candidate), seed=0)

    def slow(x, y, borders):
        h, k = (np.histogram(values, borders)[0] for values in (x, y))
        return separation_power(h, k)

    for name, borders in metric.edges.items():
        x, y = (s.features[name].reshape(len(s), -1) for s in (reference, candidate))
        if name == "E_tot":
            x, y = x / reference.energy_inc[:, None], y / candidate.energy_inc[:, None]
        expected = [slow(x[:, i], y[:, i], borders[i]) for i in range(len(borders))]
        np.testing.assert_allclose(np.atleast_1d(found[name]), expected, atol=1e-12)
    borders = np.logspace(np.log10(threshold), np.log10(float(first.energy.max())), 50)
    assert found["voxel"] == pytest.approx(
        slow(first.above(threshold).energy, second.above(threshold).energy, borders), abs=1e-12
    )


def test_profile_distances_equal_those_of_weighted_voxels(two_samples):
    first, second, reference, candidate = two_samples
    geometry = first.geometry
    metric = Wasserstein(reference, geometry.threshold)
    found = metric.compare(metric.columns(reference), metric.columns(candidate), seed=0)
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
    found = metric.compare(metric.columns(reference), metric.columns(candidate), seed=0)
    x, y = (s.above(threshold).energy.astype(np.float64) for s in (first, second))
    assert y.max() > x.max()  # energies above all of the reference's must count as well
    assert found["spectrum"] == pytest.approx(wasserstein_distance(x, y) / x.std(ddof=1), rel=5e-3)


def test_shower_distances_are_in_units_of_the_whole_reference(two_samples):
    _, _, reference, candidate = two_samples
    metric = Wasserstein(reference, reference.geometry.threshold)
    some = {name: column[:50] for name, column in metric.columns(reference).items()}
    found = metric.compare(some, metric.columns(candidate), seed=0)
    x, y = reference.moments["z_mean"], candidate.moments["z_mean"]
    expected = wasserstein_distance(x[:50], y) / x.std(ddof=1)
    assert found["z_mean"] == pytest.approx(expected)
