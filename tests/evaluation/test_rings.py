"""Boxes and whiskers of rings against numbers found by hand and by sorting."""

from __future__ import annotations

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import Sample, features, ring_spectra
from caloforge.evaluation.rings import BOX, ring_borders, voxels_of_rings
from caloforge.geometry import Geometry, PolarLayer, geometry_preset
from caloforge.showers import VoxelShowers

EDGES = np.geomspace(1, 1000, 691)  # one per cent a bin
SAMPLES = ["electrons-1-100GeV_calochallenge-2", "photons-10-100GeV_ild-30"]


def test_the_boxes_of_a_hand_made_shower_are_its_quartiles():
    """A hundred voxels in the inner ring with energies 2, 4, … 200 MeV; three of four outside."""
    layer = PolarLayer((0, 1, 2), 100)
    geometry = Geometry("two rings", (layer,), (0,), 0.1)
    dense = np.zeros((1, 100, 2))
    dense[0, :, 0] = 2 * np.arange(1, 101)
    dense[0, ::4, 1] = 8
    found = ring_spectra(VoxelShowers.from_dense([1.0], dense, geometry), edges=EDGES)
    inner, outer = found.quantiles()[0]
    assert inner == pytest.approx([10, 50, 100, 150, 190], rel=0.02)
    assert outer == pytest.approx([8] * 5, rel=0.011)
    assert found.empty()[0].tolist() == [0, 0.75]


@pytest.mark.parametrize("name", SAMPLES)
def test_quantiles_of_real_showers_are_those_of_their_sorted_energies(shared_data, name):
    showers = cf.read(shared_data / f"{name}_test.h5")[:300].above(0.2)
    geometry = showers.geometry
    found = ring_spectra(showers, threshold=0.2)
    borders = ring_borders(geometry, 10)
    width = found.edges[1] / found.edges[0]
    of_layer = geometry.voxel_layer[showers.index] == 10
    radius = geometry.voxel_r[showers.index]
    for ring in range(6):
        inside = of_layer & (radius >= borders[ring]) & (radius < borders[ring + 1])
        expected = np.quantile(showers.energy[inside], BOX, method="inverted_cdf")
        ratio = found.quantiles()[10, ring] / expected
        assert ratio.max() < width * 1.0001
        assert ratio.min() > 1.0001 / width
        assert found.counts[10, ring].sum() == inside.sum()


@pytest.mark.parametrize("name", SAMPLES)
def test_the_empty_voxels_of_all_rings_are_the_sparsity_of_the_layer(shared_data, name):
    showers = cf.read(shared_data / f"{name}_test.h5")[:200]
    found = ring_spectra(showers)
    sparsity = features(showers, threshold=showers.geometry.threshold)["sparsity"]
    n_empty = np.nansum(found.empty() * found.n_voxels, axis=1)
    assert n_empty / found.n_voxels.sum(axis=1) == pytest.approx(sparsity.mean(axis=0))


@pytest.mark.parametrize(
    "name", ["calochallenge-1-pions", "calochallenge-2", "calochallenge-3", "ild-30", "ild-core"]
)
def test_every_voxel_lies_in_one_ring(name):
    geometry = geometry_preset(name)
    per_layer = voxels_of_rings(geometry).sum(axis=1)
    np.testing.assert_array_equal(per_layer, np.diff(geometry.offsets))


def test_rings_of_polar_layers_are_their_radial_bins():
    geometry = geometry_preset("calochallenge-2")
    assert ring_borders(geometry, 0).tolist() == list(geometry.layers[0].r_edges)
    np.testing.assert_array_equal(voxels_of_rings(geometry), np.full((45, 9), 16))


def test_rings_that_a_layer_lacks_have_no_boxes():
    layers = PolarLayer((0, 1, 2), 1), PolarLayer((0, 1), 1)
    geometry = Geometry("uneven", layers, (0, 1), 0.1)
    found = ring_spectra(VoxelShowers.from_dense([1.0], [[5.0, 6.0, 7.0]], geometry), edges=EDGES)
    assert np.isfinite(found.quantiles()[1, 0]).all()
    assert np.isnan(found.quantiles()[1, 1]).all()
    assert np.isnan(found.empty()[1, 1])


def test_energies_beyond_the_borders_are_in_the_last_bin(bundled):
    showers = bundled[:20]
    reference = Sample.of(showers)
    huge = VoxelShowers(
        showers.energy_inc, showers.offset, showers.index, 1e6 * showers.energy, showers.geometry
    )
    found = Sample.of(huge, edges=reference.spectrum.edges).rings
    assert found.counts[..., -1].sum() == len(huge.energy)


def test_a_file_has_the_rings_of_its_showers_in_memory(shared_data):
    path = shared_data / f"{SAMPLES[0]}_test.h5"
    with cf.open_showers(path) as file:
        streamed = ring_spectra(file)
    whole = Sample.of(cf.read(path)).rings
    np.testing.assert_array_equal(streamed.edges, whole.edges)
    np.testing.assert_array_equal(streamed.counts, whole.counts)
