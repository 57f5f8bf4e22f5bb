"""The correlation of adjacent layers against numbers found by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import Sample, inter_layer_correlation, transverse_groups
from caloforge.evaluation.observables import RHO_RINGS, count_rho, mean_rho, rho_rings
from caloforge.geometry import CartesianLayer, Coarsening, Geometry, PolarLayer, geometry_preset
from caloforge.showers import VoxelShowers

LAYER = PolarLayer((0, 1, 2, 3), 4)  # one coarse voxel of 4 alpha x 3 r


def geometry_of(*layers):
    return Geometry("few layers", layers, tuple(range(len(layers))), 0.1)


def rho_of(*patterns, layer=LAYER, factors=None):
    """Of one shower, whose layers have these energies."""
    geometry = geometry_of(*[layer] * len(patterns))
    dense = np.reshape(patterns, (1, -1)).astype(float)
    coarsening = None if factors is None else Coarsening(geometry, factors)
    return inter_layer_correlation(VoxelShowers.from_dense([9.0], dense, geometry), coarsening)[0]


def test_equal_patterns_have_correlation_1_whatever_their_energies(rng):
    pattern = rng.exponential(size=12)
    assert rho_of(pattern, pattern, 7 * pattern).ravel() == pytest.approx([1, 1])


def test_patterns_without_a_common_voxel_have_correlation_0():
    first = np.arange(12) < 5
    assert rho_of(first, ~first).ravel() == pytest.approx([0])


def test_a_correlation_is_the_cosine_found_by_hand():
    one, both = np.eye(12)[3], np.eye(12)[3] + np.eye(12)[8]
    # (1, 0)·(1, 1) / √2, then (1, 1)·(3, 4) / (5 √2)
    other = 3 * np.eye(12)[3] + 4 * np.eye(12)[8]
    assert rho_of(one, both, other).ravel() == pytest.approx([1 / np.sqrt(2), 7 / np.sqrt(50)])


def test_single_hits_that_know_nothing_of_each_other_agree_in_one_case_of_twelve(rng):
    geometry, n = geometry_of(LAYER, LAYER), 40_000
    hits = rng.integers([0, 12], [12, 24], size=(n, 2))
    showers = VoxelShowers(np.ones(n), 2 * np.arange(n + 1), hits.ravel(), np.ones(2 * n), geometry)
    error = np.sqrt(1 / 12 * 11 / 12 / n)
    assert inter_layer_correlation(showers).mean() == pytest.approx(1 / 12, abs=4 * error)


def test_a_coarse_voxel_without_energy_has_no_correlation():
    full, empty = np.ones(12), np.zeros(12)
    found = rho_of(full, empty, full, full).ravel()
    assert np.isnan(found[:2]).all()
    assert found[2] == pytest.approx(1)


def test_each_coarse_voxel_is_compared_with_the_one_behind_it_alone():
    two = PolarLayer((0, 1, 2, 3), 8)  # two coarse voxels side by side
    here, beside = np.arange(24) < 12, np.arange(24) >= 12
    found = rho_of(here, beside, here + beside, layer=two, factors=(1, 4, 3))
    assert found.shape == (2, 2, 1)
    assert np.isnan(found[0]).all()
    assert np.isnan(found[1, 0, 0])
    assert found[1, 1, 0] == pytest.approx(1)


def test_coarse_voxels_of_several_layers_are_compared_layer_by_layer():
    first, second = np.eye(12)[0], np.eye(12)[1]
    assert rho_of(first, second, first, second, factors=(2, 4, 3)).ravel() == pytest.approx([1])
    assert rho_of(first, second, second, first, factors=(2, 4, 3)).ravel() == pytest.approx([0])


@pytest.mark.parametrize(
    ("name", "factors"),
    [("calochallenge-2", (1, 4, 3)), ("calochallenge-3", (1, 5, 3)), ("ild-30", (1, 3, 3))],
)
def test_the_groups_are_those_of_the_paper_or_as_near_as_the_bins_allow(name, factors):
    assert transverse_groups(geometry_preset(name)).factors == factors


def test_the_rings_of_dataset_2_are_its_three_coarse_radial_bins():
    found = rho_rings(transverse_groups(geometry_preset("calochallenge-2")))
    np.testing.assert_array_equal(found, np.tile([0, 1, 2], (4, 1)))


def test_the_rings_of_cells_are_round():
    found = rho_rings(transverse_groups(geometry_preset("ild-30")))
    np.testing.assert_array_equal(found, found[::-1])
    np.testing.assert_array_equal(found, found.T)
    assert found[4, 4] == found[4, 6] == 0  # 11 and 24 mm from the axis
    assert found[4, 7] == found[6, 6] == 1  # 38 and 32 mm
    assert found[4, 8] == found[0, 0] == 2  # 53 and 95 mm


@pytest.mark.parametrize(
    "geometry", ["electrons-1-100GeV_calochallenge-2", "photons-10-100GeV_ild-30"]
)
def test_histograms_and_means_are_those_of_the_correlations(shared_data, geometry):
    showers = cf.read(shared_data / f"{geometry}_test.h5")[:60].above(0.1)
    coarsening = transverse_groups(showers.geometry)
    rho = inter_layer_correlation(showers, coarsening)
    means = mean_rho(showers).reshape(60, -1, 3)
    assert np.nanmax(rho) <= 1 + 1e-9
    for number, (name, counts) in enumerate(count_rho(showers).items()):
        in_ring = rho[:, :, rho_rings(coarsening) == number]
        assert name == RHO_RINGS[number]
        expected, _ = np.histogram(np.minimum(in_ring[7][np.isfinite(in_ring[7])], 1), 40, (0, 1))
        assert np.abs(counts[7] - expected).sum() <= 2  # a value on a border
        assert counts.sum() == np.isfinite(in_ring).sum()
        known = np.isfinite(in_ring[7, 4])
        if known.any():
            assert means[7, 4, number] == pytest.approx(in_ring[7, 4][known].mean())


def test_layers_of_other_showers_agree_less_with_each_other(bundled, rng):
    showers = bundled[:600].above(bundled.geometry.threshold)
    dense = showers.dense()
    dense[:, 1::2] = dense[rng.permutation(600), 1::2]
    strangers = VoxelShowers.from_dense(showers.energy_inc, dense, showers.geometry)
    for ring in ("inner", "middle", "outer"):
        own, foreign = (_mean(Sample.of(sample).rho[ring]) for sample in (showers, strangers))
        assert own > foreign + 0.02


def _mean(counts):
    centres = (np.arange(40) + 0.5) / 40
    return counts.sum(axis=0) @ centres / counts.sum()


def test_layers_of_different_bins_have_no_correlation():
    geometry = geometry_of(LAYER, CartesianLayer((0, 1), (0, 1)))
    showers = VoxelShowers.from_dense([9.0, 9.0], np.arange(1.0, 27).reshape(2, 13), geometry)
    assert count_rho(showers) == {}
    assert Sample.of(showers).rho == {}
    with pytest.raises(ValueError, match="irregular"):
        inter_layer_correlation(showers)


def test_a_coarsening_of_another_geometry_is_refused(bundled):
    other = dataclasses.replace(bundled.geometry, name="other")
    with pytest.raises(ValueError, match="the coarsening is of other, the showers are of calo"):
        inter_layer_correlation(bundled[:2], Coarsening(other, (1, 4, 3)))
