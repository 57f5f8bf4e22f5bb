"""Separation powers with known answers, and equal to those of numpy's histograms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import separation_power, separation_powers
from caloforge.evaluation.metrics.separation import Separation, bin_edges
from caloforge.evaluation.metrics.undetermined import UndeterminedWarning
from caloforge.evaluation.observables import features
from caloforge.evaluation.spectrum import find_bins, find_logarithmic_bins


def test_equal_shapes_have_separation_0_and_disjoint_ones_1():
    assert separation_power([1, 2, 3], [10, 20, 30]) == pytest.approx(0)
    assert separation_power([1, 2, 0], [0, 0, 5]) == pytest.approx(1)


def test_separation_of_two_bins_is_that_found_by_hand():
    # h = (1, 0), k = (1/2, 1/2): (1/4 / 3/2 + 1/4 / 1/2) / 2
    assert separation_power([7, 0], [3, 3]) == pytest.approx(1 / 3)


def test_an_empty_histogram_shares_nothing_with_another_and_two_are_not_known_to_differ():
    powers = separation_power([[1, 1], [0, 0], [0, 0], [1, 1]], [[1, 1], [1, 1], [0, 0], [0, 0]])
    np.testing.assert_allclose(powers, [0, 1, np.nan, 1])


def test_a_candidate_outside_all_bins_is_as_far_away_as_can_be(two_samples):
    first, second, *_ = two_samples
    hits = second.above(second.geometry.threshold)
    for factor in (1e-7, 1e6):
        away = dataclasses.replace(hits, energy=hits.energy * np.float32(factor))
        found = separation_powers(first, away)
        assert found["E_tot"] == pytest.approx(1)
        assert found["voxel"] == pytest.approx(1)
        np.testing.assert_allclose(found["E_layer"], 1)


def test_what_no_sample_has_inside_the_bins_is_unknown_and_said(bundled):
    """Responses of 2 %, where dataset 2 has bins from 50 to 150 %."""
    faint = dataclasses.replace(bundled[:40], energy=bundled[:40].energy / 50)
    with pytest.warns(UndeterminedWarning, match="separation power of E_tot is not determined"):
        found = separation_powers(faint, faint)
    assert np.isnan(found["E_tot"])


def test_without_a_threshold_bins_begin_at_the_lowest_energy_of_the_reference(two_samples):
    first, second, *_ = two_samples
    found = features(first)
    edges = bin_edges(first.geometry, first.energy_inc, found, 0.0)
    layers = found["E_layer"]
    lowest = [border[0] for border in edges["E_layer"]]
    np.testing.assert_allclose(lowest, layers[layers > 0].min())
    powers = separation_powers(first, second, threshold=0)
    assert all(np.isfinite(power).all() for power in powers.values())
    bare = dataclasses.replace(first.geometry, threshold=0.0)
    in_bare = [dataclasses.replace(showers, geometry=bare) for showers in (first, second)]
    by_geometry = separation_powers(*in_bare)
    assert by_geometry["voxel"] == powers["voxel"]


@pytest.mark.parametrize("threshold", [-1.0, np.nan, np.inf])
def test_thresholds_that_are_none_are_refused(bundled, threshold):
    with pytest.raises(ValueError, match="threshold must be 0 or more"):
        separation_powers(bundled[:20], bundled[20:40], threshold=threshold)


def test_a_reference_of_one_value_has_a_bin_around_it():
    geometry = cf.geometry_preset("ild-30")
    single = cf.VoxelShowers(np.full(20, 1e4), np.arange(21), [404] * 20, [7.0] * 20, geometry)
    edges = bin_edges(geometry, single.energy_inc, features(single), 0.1)
    for name in ("EC_eta", "width_eta", "width_r", "sparsity"):
        assert all(border[-1] - border[0] == pytest.approx(2) for border in edges[name])


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
    ends = {name: [(b[0], b[-1]) for b in borders] for name, borders in edges.items()}
    for axis in ("eta", "phi"):
        assert ends[f"EC_{axis}"] == [(-100, 100)] * 2 + [(-500, 500)] * 2
        assert ends[f"width_{axis}"] == [(0, 100)] * 2 + [(0, 400)] * 2
    for name in ("EC_r", "width_r"):
        assert ends[name] == [(0, 500)] * 4 + [(0, 1500)] * 3


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
