"""Separation powers with known answers, and equal to those of numpy's histograms."""

from __future__ import annotations

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import separation_power, separation_powers
from caloforge.evaluation.metrics.separation import Separation, bin_edges
from caloforge.evaluation.observables import features
from caloforge.evaluation.spectrum import find_bins, find_logarithmic_bins


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
    found = metric.compare(metric.columns(reference), metric.columns(candidate), 0).values

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


def test_whole_samples_have_the_separations_of_the_metric(two_samples):
    first, second, reference, candidate = two_samples
    metric = Separation(reference, first.geometry.threshold)
    expected = metric.compare(metric.columns(reference), metric.columns(candidate), 0).values
    found = separation_powers(first, second)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_logarithmic_bins_are_those_of_a_search(rng):
    edges = np.geomspace(0.015, 312.5, 491)
    values = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, 1e9)])
    values = np.concatenate([values, 10 ** rng.uniform(-3, 4, 10_000)])
    np.testing.assert_array_equal(find_logarithmic_bins(values, edges), find_bins(values, edges))
