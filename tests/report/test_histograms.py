"""Histograms hold the numbers they claim to hold, with their errors."""

from __future__ import annotations

import numpy as np
import pytest

from caloforge.report.figures import ratio_to
from caloforge.report.histograms import (
    content,
    distribution,
    of_bins,
    of_counts,
    of_spectrum,
    per_bin,
    range_of,
    variance_of_std,
)
from caloforge.report.layers import layer_panel
from caloforge.report.panels import sections


def test_fractions_add_up_to_that_of_the_showers_in_the_range(samples):
    values = samples["Geant4"].features["E_tot"]
    edges = np.linspace(0, np.median(values), 11)
    fraction, error = content(distribution(values, edges, "E [MeV]"))
    assert fraction.sum() == pytest.approx((values < edges[-1]).mean())
    np.testing.assert_allclose(error * len(values), np.sqrt(fraction * len(values)))


def test_means_and_spreads_of_columns_come_with_their_errors(rng):
    # 400 samples of 300 numbers: the errors must be the spread between the samples.
    draws = rng.gamma(2.0, size=(400, 300, 3))
    edges = np.arange(4.0)
    for spread, reduce in ((False, np.mean), (True, np.std)):
        found = [content(per_bin(draw, edges, "layer", spread=spread)) for draw in draws]
        values, errors = np.array(found).swapaxes(0, 1)
        np.testing.assert_allclose(values, reduce(draws, axis=1), rtol=2e-3)
        np.testing.assert_allclose(errors.mean(axis=0), values.std(axis=0), rtol=0.15)


def test_the_variance_of_a_standard_deviation_is_the_known_one_for_a_gaussian(rng):
    x = rng.normal(0, 3, 400_000)
    assert variance_of_std(x) == pytest.approx(9 / (2 * len(x)), rel=0.03)


def test_the_spectrum_counts_the_voxels_of_a_shower(samples):
    spectrum = samples["Geant4"].spectrum
    value, error = content(of_spectrum(spectrum, "E [MeV]"))
    counts = spectrum.counts.sum(axis=1)
    assert value.sum() == pytest.approx(counts.mean())
    # Voxels of one shower rise and fall together: the error is larger than Poisson's.
    assert (error > np.sqrt(value / len(counts))).mean() > 0.5


def test_the_range_leaves_out_outliers_and_holds_the_rest(samples):
    values = samples["Geant4"].features["E_layer"][:, 10]
    values = np.tile(values, 5)  # 2,000 showers: one of them is not yet a thousandth
    edges = range_of(np.append(values, [np.nan, 1e12]))
    assert 0 <= edges[0] <= values.min()
    assert values.max() < edges[-1] < 1.5 * values.max()


def test_what_is_never_negative_has_no_bins_below_zero(samples):
    """Widths, energies, fractions of all panels; positions have bins on both sides."""
    panels = {panel.name: panel for section in sections(samples) for panel in section.panels}
    first = {name: panel.histograms["Geant4"].axes[0].edges[0] for name, panel in panels.items()}
    positive = ("response", "occupancy", "width_", "centre_r_", "centre_depth")
    of_showers = [n for n in first if n.startswith(positive) and not n.endswith("_by_layer")]
    assert len(of_showers) == 8
    assert all(first[name] >= 0 for name in of_showers)
    (across,) = (n for n in first if n.startswith("centre_x_") and n != "centre_x_by_layer")
    assert first[across] < 0
    assert range_of(np.array([0.0, 0.1, 3.0]))[0] == 0


def test_the_range_of_numbers_that_differ_by_rounding_holds_them():
    edges = range_of(np.array([0.3, 0.1 + 0.2]))
    assert (np.diff(edges) > 1e-3).all()
    assert edges[0] < 0.3 < edges[-1]


def test_a_ratio_is_unknown_where_geant4_has_too_few_entries():
    edges = np.arange(4.0)
    reference = of_bins(edges, "x", [100, 1, 0], [100, 1, 0])
    other = of_bins(edges, "x", [50, 2, 3], [50, 2, 3])
    ratio, error = ratio_to(reference, other)
    np.testing.assert_allclose(ratio, [0.5, np.nan, np.nan])
    np.testing.assert_allclose(error, [np.sqrt(50) / 100, np.nan, np.nan])


def test_every_observable_of_the_comparison_has_a_panel_with_all_samples(samples):
    panels = {panel.name: panel for section in sections(samples) for panel in section.panels}
    assert {
        "response",
        "profile_longitudinal",
        "profile_r",
        "voxel_spectrum",
        "occupancy",
        "sparsity_by_layer",
        "empty_by_layer",
        "centre_x_by_layer",
        "width_y_by_layer",
    } <= panels.keys()
    assert sum(name.startswith("layer_energy_") for name in panels) == 6
    assert all(len(panel.histograms) == len(samples) for panel in panels.values())


def test_a_layer_panel_counts_the_showers_that_have_energy_there(samples):
    for layer in (0, 25, 44):
        for feature in ("EC_eta", "width_r"):
            panel = layer_panel(samples, feature, layer)
            for name, sample in samples.items():
                histogram = panel.histograms[name]
                inside = content(histogram)[0].sum()
                seen = (sample.features["E_layer"][:, layer] > 0).mean()
                assert seen - max(0.03 * seen, 2.5 / len(sample)) <= inside <= seen + 1e-12


def test_every_sparsity_has_a_bin_and_every_bin_as_many_sparsities(samples):
    n_voxels = 16 * 9
    for layer in (0, 10, 44):
        histogram = layer_panel(samples, "sparsity", layer).histograms["Geant4"]
        edges = histogram.axes[0].edges
        assert content(histogram)[0].sum() == pytest.approx(1, abs=3e-3)
        possible = np.arange(n_voxels + 1) / n_voxels
        in_bins, _ = np.histogram(possible[possible > edges[0]], edges)
        assert len(set(in_bins[edges[:-1] > 0])) == 1
        assert edges[-2] < 1 < edges[-1]


def test_the_panels_of_sparsity_and_emptiness_show_the_means(samples):
    panels = {panel.name: panel for section in sections(samples) for panel in section.panels}
    for name, sample in samples.items():
        value, _ = content(panels["sparsity_by_layer"].histograms[name])
        np.testing.assert_allclose(value, sample.features["sparsity"].mean(axis=0))
        value, _ = content(panels["empty_by_layer"].histograms[name])
        np.testing.assert_allclose(value, (sample.features["sparsity"] == 1).mean(axis=0))


def test_the_longitudinal_panel_shows_the_mean_layer_energies(samples):
    panels = {panel.name: panel for section in sections(samples) for panel in section.panels}
    for name, sample in samples.items():
        value, _ = content(panels["profile_longitudinal"].histograms[name])
        np.testing.assert_allclose(value, sample.features["E_layer"].mean(axis=0))


def test_the_radial_panel_integrates_to_the_mean_deposited_energy(samples):
    panels = {panel.name: panel for section in sections(samples) for panel in section.panels}
    for name, sample in samples.items():
        histogram = panels["profile_r"].histograms[name]
        energy = (content(histogram)[0] * histogram.axes[0].widths).sum()
        assert energy == pytest.approx(sample.features["E_tot"].mean(), rel=1e-5)


def test_the_error_of_a_share_is_the_spread_between_showers():
    """Ten entries of a shower that are all alike count as one shower, not as ten entries."""
    counts = np.array([[10, 0], [0, 10], [10, 0], [0, 10]])
    value, error = content(of_counts(counts, np.array([0, 0.5, 1.0]), "x"))
    assert value.tolist() == [0.5, 0.5]
    # Each shower is 5 entries off of 40 in all: sqrt(4 · 25) / 40.
    assert error.tolist() == pytest.approx([0.25, 0.25])
    alike = np.full((4, 2), 5)
    assert content(of_counts(alike, np.array([0, 0.5, 1.0]), "x"))[1].tolist() == [0, 0]
