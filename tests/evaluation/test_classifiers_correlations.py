"""Correlations of neighbouring voxels against numbers found by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation.classifiers.correlations import voxel_correlations
from caloforge.geometry import CartesianLayer, Geometry, PolarLayer
from caloforge.showers import VoxelShowers

WIDE = PolarLayer((0, 1, 2, 3), 4)


def geometry_of(*layers):
    return Geometry(
        name="few layers",
        layers=layers,
        z=tuple(range(len(layers))),
        threshold=0.1,
    )


def correlations(geometry, dense):
    """Of one shower, by quantity: concentration, across, outward, onward."""
    showers = VoxelShowers.from_dense([10.0], np.reshape(dense, (1, -1)).astype(float), geometry)
    return voxel_correlations(showers).reshape(4, -1)


def test_the_energy_of_one_voxel_is_concentrated_and_has_no_neighbours():
    block = np.zeros((2, 4, 3))
    block[0, 1, 1] = 7
    found = correlations(geometry_of(WIDE, WIDE), block)
    np.testing.assert_allclose(found, [[1, 0], [0, 0], [0, 0], [0, 0]])


def test_a_uniform_layer_is_spread_and_alpha_wraps_around():
    found = correlations(geometry_of(WIDE, WIDE), np.ones((2, 4, 3)))
    # 12 voxels: 12 neighbours in alpha, 8 in r, and the next layer is the same.
    np.testing.assert_allclose(found[0], 1 / 12)
    np.testing.assert_allclose(found[1], 1)
    np.testing.assert_allclose(found[2], 8 / 12)
    np.testing.assert_allclose(found[3], [1, 0])


def test_cells_do_not_wrap_around():
    cells = CartesianLayer((0, 1, 2, 3, 4), (0, 1, 2, 3))
    found = correlations(geometry_of(cells), np.ones((4, 3)))
    np.testing.assert_allclose(found[:, 0], [1 / 12, 9 / 12, 8 / 12, 0])


def test_a_layer_of_other_bins_is_no_next_layer():
    found = correlations(geometry_of(WIDE, PolarLayer((0, 1), 1), WIDE), np.ones(25))
    np.testing.assert_allclose(found[3], 0)
    np.testing.assert_allclose(found[1], [1, 0, 1])


def test_layers_share_nine_groups(shared_data):
    showers = cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_test.h5")[:5]
    x = showers.dense().astype(np.float64).reshape(5, 9, 5, -1)
    found = voxel_correlations(showers).reshape(5, 4, 9)
    squares, total = (x**2).sum(axis=(2, 3)), (x.sum(axis=3) ** 2).sum(axis=2)
    np.testing.assert_allclose(found[:, 0] * total, squares)
    pairs = (x[:, 0, :-1] * x[:, 0, 1:]).sum(axis=(1, 2)) + (x[:, 0, -1] * x[:, 1, 0]).sum(axis=1)
    norm = np.sqrt((x**2).sum(axis=3)).reshape(5, 45)
    np.testing.assert_allclose(
        found[:, 3, 0], pairs / (norm[:, :5] * norm[:, 1:6]).sum(axis=1), rtol=1e-9
    )


def test_they_do_not_depend_on_the_energy_scale_nor_on_the_origin_of_alpha(shared_data):
    showers = cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_test.h5")[:20]
    expected = voxel_correlations(showers)
    brighter = dataclasses.replace(showers, energy=2 * showers.energy)
    assert voxel_correlations(brighter) == pytest.approx(expected, rel=1e-12)
    turned = VoxelShowers.from_dense(
        showers.energy_inc, np.roll(showers.dense(), 3, axis=2), showers.geometry
    )
    assert voxel_correlations(turned) == pytest.approx(expected, rel=1e-12)


def test_cells_by_the_hundred_thousand_have_the_correlations_of_those_around_the_axis():
    """Two layers of 1,000 x 1,000 cells, of which four have energy."""
    wide = CartesianLayer(tuple(range(-500, 501)), tuple(range(-500, 501)))
    narrow = CartesianLayer((-1, 0, 1), (-1, 0, 1))
    energy = np.array([3.0, 2, 5, 4])
    x, y, layer = np.array([-0.5, -0.5, 0.5, 0.5]), np.array([-0.5, 0.5, -0.5, -0.5]), [0, 0, 0, 1]
    found = []
    for cells in (wide, narrow):
        geometry = geometry_of(cells, cells)
        index = geometry.find_voxels(layer, x, y)
        showers = VoxelShowers(np.array([10.0]), np.array([0, 4]), index, energy, geometry)
        found.append(voxel_correlations(showers).reshape(4, 2))
    np.testing.assert_allclose(found[0], found[1])
    np.testing.assert_allclose(found[0][:, 0], [38 / 100, 15 / 38, 6 / 38, 20 / np.sqrt(38 * 16)])
