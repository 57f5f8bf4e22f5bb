"""Observables against numbers found by hand and against slow, straightforward code."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import features, high_level
from caloforge.evaluation.observables import resolved
from caloforge.geometry import CartesianLayer, Geometry, PolarLayer
from caloforge.showers import VoxelShowers

FOUR_SLICES = Geometry(
    name="four slices, two rings",
    layers=(PolarLayer((0, 10, 20), 4), PolarLayer((0, 10, 20), 4)),
    z=(1, 2),
    threshold=0.1,
)
CELLS = Geometry(
    name="cells",
    layers=(CartesianLayer((-3, -1, 1, 3), (-2, 0, 2)),) * 2,
    z=(1, 2),
    threshold=0.1,
)


def shower(geometry, energies, energy_inc=10.0):
    """One shower from energies by (layer, a, b)."""
    dense = np.zeros((1, *geometry.shape))
    for place, energy in energies.items():
        dense[0][place] = energy
    return VoxelShowers.from_dense([energy_inc], dense, geometry)


@pytest.fixture(scope="module")
def electrons(shared_data):
    return cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_test.h5")[:40]


@pytest.fixture(scope="module")
def photons(shared_data):
    return cf.read(shared_data / "photons-10-100GeV_ild-30_test.h5")[:20]


@pytest.fixture(scope="module")
def in_dataset_1_bins(shared_data):
    """Photon showers in the irregular layers of dataset 1, six detector layers to one."""
    points = cf.read_points(shared_data / "photons-10-100GeV_ild-ecal_points_test.h5")[:20]
    target = cf.geometry_preset("calochallenge-1-photons")
    points = dataclasses.replace(points, layer=points.layer // 6, geometry=target)
    return points.project(target)


@pytest.fixture(scope="module", params=["electrons", "photons", "in_dataset_1_bins"])
def showers(request):
    return request.getfixturevalue(request.param)


def test_centre_and_width_of_two_voxels_are_those_found_by_hand():
    # 1 MeV at r = 5 mm, alpha = pi/4 and 3 MeV at r = 15 mm, alpha = -pi/4.
    found = features(shower(FOUR_SLICES, {(1, 2, 0): 1, (1, 1, 1): 3}))
    assert found["E_tot"] == pytest.approx(4)
    np.testing.assert_allclose(found["E_layer"], [[0, 4]])
    np.testing.assert_allclose(found["EC_eta"], [[0, 12.5 * np.sqrt(0.5)]])
    np.testing.assert_allclose(found["EC_phi"], [[0, -10 * np.sqrt(0.5)]])
    np.testing.assert_allclose(found["EC_r"], [[0, 12.5]])
    np.testing.assert_allclose(found["width_eta"], [[0, np.sqrt(87.5 - 78.125)]])
    np.testing.assert_allclose(found["width_phi"], [[0, np.sqrt(87.5 - 50)]])
    np.testing.assert_allclose(found["width_r"], [[0, np.sqrt(175 - 156.25)]])


def test_a_uniform_ring_has_its_centre_on_the_axis_and_the_width_r_over_root_two():
    found = features(shower(FOUR_SLICES, {(0, alpha, 1): 2 for alpha in range(4)}))
    assert found["EC_eta"][0, 0] == pytest.approx(0, abs=1e-12)
    assert found["EC_phi"][0, 0] == pytest.approx(0, abs=1e-12)
    assert found["width_eta"][0, 0] == pytest.approx(15 / np.sqrt(2))
    assert found["width_r"][0, 0] == pytest.approx(0, abs=1e-6)


def test_an_empty_layer_has_centre_0_width_0_and_sparsity_1():
    found = features(shower(FOUR_SLICES, {(0, 0, 0): 1}))
    for name in ("EC_eta", "EC_phi", "EC_r", "width_eta", "width_phi", "width_r"):
        assert found[name][0, 1] == 0
    np.testing.assert_allclose(found["sparsity"], [[7 / 8, 1]])


def test_no_showers_give_empty_columns():
    found = features(shower(FOUR_SLICES, {})[:0])
    assert found["E_tot"].shape == (0,)
    assert found["EC_r"].shape == (0, 2)


def by_hand_calochallenge(showers, threshold):
    """One layer of one shower at a time, from dense arrays."""
    geometry = showers.geometry
    rows: dict[str, list[list[float]]] = {}
    dense = showers.dense().reshape(len(showers), -1).astype(np.float64)
    dense[dense < np.float32(threshold)] = 0
    for energies in dense:
        row: dict[str, list[float]] = {}
        for i, layer in enumerate(geometry.layers):
            x = energies[geometry.offsets[i] : geometry.offsets[i + 1]].reshape(layer.shape)
            if isinstance(layer, PolarLayer):
                edges = np.linspace(-np.pi, np.pi, layer.n_alpha + 1)
                alpha = edges[:-1] + (edges[1:] - edges[:-1]) / 2
                r = (np.array(layer.r_edges[1:]) + np.array(layer.r_edges[:-1])) / 2
                r, alpha = np.meshgrid(r, alpha)
                eta, phi, resolved = r * np.cos(alpha), r * np.sin(alpha), layer.n_alpha > 1
            else:
                centres = [
                    np.convolve(e, [0.5, 0.5], "valid") for e in (layer.x_edges, layer.y_edges)
                ]
                eta, phi = np.meshgrid(*centres, indexing="ij")
                r, resolved = np.sqrt(eta**2 + phi**2), True
            row.setdefault("E_layer", []).append(x.sum())
            row.setdefault("sparsity", []).append(1 - (x > 0).mean())
            for name, place in (("eta", eta), ("phi", phi), ("r", r)):
                if name != "r" and not resolved:
                    continue
                centre = (place * x).sum() / (x.sum() + 1e-16)
                square = (place**2 * x).sum() / (x.sum() + 1e-16) - centre**2
                row.setdefault(f"EC_{name}", []).append(centre)
                row.setdefault(f"width_{name}", []).append(np.sqrt(max(0, square)))
        row["E_tot"] = energies.sum()
        for name, values in row.items():
            rows.setdefault(name, []).append(values)
    return {name: np.array(values) for name, values in rows.items()}


def test_features_equal_those_of_slow_code(showers):
    threshold = showers.geometry.threshold
    found = features(showers, threshold=threshold)
    expected = by_hand_calochallenge(showers, threshold)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        tolerance = 1e-6 if name.startswith("width") else 1e-9
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=tolerance, err_msg=name)


def test_layers_without_alpha_bins_have_no_eta_and_phi(in_dataset_1_bins):
    found = features(in_dataset_1_bins)
    assert found["EC_eta"].shape == found["width_phi"].shape == (20, 2)
    assert found["EC_r"].shape == found["sparsity"].shape == (20, 5)


@pytest.mark.parametrize(
    ("geometry", "columns"),
    [
        ("calochallenge-1-photons", 30),
        ("calochallenge-1-pions", 46),
        ("calochallenge-2", 362),
        ("calochallenge-3", 362),
    ],
)
def test_the_high_level_list_has_the_published_length(geometry, columns):
    empty = VoxelShowers([1e4], [0, 0], [], [], cf.geometry_preset(geometry))
    for names in ("calochallenge", "fractions"):
        assert high_level(empty.energy_inc, features(empty), names).shape == (1, columns)


def test_the_high_level_list_has_the_published_order_and_scale(electrons):
    found = features(electrons)
    inputs = high_level(electrons.energy_inc, found)
    np.testing.assert_allclose(inputs[:, 0], np.log10(electrons.energy_inc.astype(float)))
    np.testing.assert_allclose(inputs[:, 1:46], np.log10(found["E_layer"] + 1e-8))
    np.testing.assert_allclose(inputs[:, 46:91], found["EC_eta"] / 100)
    rounded = 1e-7  # of the widths of single voxels, which the list has as 0
    np.testing.assert_allclose(inputs[:, 181:226], found["width_phi"] / 100, atol=rounded)
    np.testing.assert_allclose(inputs[:, 226], np.log10(found["E_tot"] + 1e-8))
    np.testing.assert_allclose(inputs[:, 227:272], found["sparsity"])
    np.testing.assert_allclose(inputs[:, 317:], found["width_r"] / 100, atol=rounded)


def test_a_layer_with_one_voxel_has_width_0_and_any_other_its_own(shared_data):
    """However soft the voxel is: the published formula leaves up to 1e-4 mm."""
    showers = cf.read(shared_data / "photons-10-100GeV_ild-30_test.h5")[:100]
    found = features(showers, threshold=0)
    widths = resolved(found)["width_r"]
    n_active = (1 - found["sparsity"]) * np.diff(showers.geometry.offsets)
    is_single = n_active.round() == 1
    assert found["width_r"][is_single].max() > 1e-6
    assert not widths[is_single].any()
    is_wide = found["width_r"] > 1e-2
    assert is_wide.sum() > 2000
    np.testing.assert_array_equal(widths[is_wide], found["width_r"][is_wide])


def test_a_shower_in_one_layer_has_length_0(bundled):
    """Numbers of layers times energies, divided by energies, are whole numbers but for rounding."""
    showers = bundled[:50]
    layer = showers.geometry.voxel_layer[showers.index]
    single = dataclasses.replace(showers, energy=np.where(layer == 11, showers.energy, 0))
    found = features(single, "l2lflows")
    assert not found["z_std"].any()
    assert found["x_std"].min() > 0.1


def test_a_voxel_at_the_threshold_survives_and_one_below_does_not():
    below = np.nextafter(np.float32(0.1), np.float32(0))
    found = features(shower(FOUR_SLICES, {(0, 0, 0): 0.1, (1, 0, 0): below}), threshold=0.1)
    np.testing.assert_allclose(found["E_layer"], [[0.1, 0]])


def test_a_file_read_in_runs_gives_the_same_features_as_its_showers_in_memory(shared_data):
    path = shared_data / "electrons-1-100GeV_calochallenge-2_test.h5"
    whole = features(cf.read(path))
    with cf.open_showers(path) as file:
        for name, values in features(file).items():
            np.testing.assert_array_equal(values, whole[name])


def test_single_precision_is_the_rounded_double_precision(electrons):
    double = features(electrons)
    for name, values in features(electrons, dtype=np.float32).items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, double[name].astype(np.float32))


def test_shower_moments_in_cells_are_those_found_by_hand():
    # 1 MeV in layer 0, cell (0, 1) and 3 MeV in layer 1, cell (2, 1).
    found = features(shower(CELLS, {(0, 0, 1): 1, (1, 2, 1): 3}, energy_inc=40), "l2lflows")
    assert found["energy_ratio"] == pytest.approx(0.1)
    assert found["occupancy"] == pytest.approx(2 / 12)
    assert (found["z_mean"], found["x_mean"], found["y_mean"]) == pytest.approx((0.75, 1.5, 1))
    assert found["z_std"] == pytest.approx(np.sqrt(0.1875))
    assert found["x_std"] == pytest.approx(np.sqrt(0.75))
    assert found["y_std"] == pytest.approx(0)


def test_shower_moments_of_photons_equal_those_of_slow_code(photons):
    found = features(photons, "l2lflows", threshold=0.1)
    dense = photons.dense().astype(np.float64)
    dense[dense < np.float32(0.1)] = 0
    for i, x in enumerate(dense):
        assert found["energy_ratio"][i] == pytest.approx(x.sum() / photons.energy_inc[i])
        assert found["occupancy"][i] == pytest.approx((x > 0).mean())
        for name, number in zip("zxy", np.indices(x.shape), strict=True):
            mean = (number * x).sum() / x.sum()
            std = np.sqrt(((number - mean) ** 2 * x).sum() / x.sum())
            assert found[f"{name}_mean"][i] == pytest.approx(mean)
            assert found[f"{name}_std"][i] == pytest.approx(std)


def test_polar_moments_count_the_angle_from_the_first_slice_as_l2lflows_does():
    found = features(shower(FOUR_SLICES, {(1, 1, 1): 2}), "l2lflows")
    assert (found["x_mean"], found["y_mean"]) == pytest.approx((0, 15), abs=1e-12)


def test_an_empty_shower_has_no_centre():
    found = features(shower(CELLS, {}), "l2lflows")
    assert found["energy_ratio"] == 0
    assert found["occupancy"] == 0
    assert all(np.isnan(found[f"{axis}_{moment}"]) for axis in "xyz" for moment in ("mean", "std"))


def test_an_unknown_convention_is_refused(electrons):
    with pytest.raises(ValueError, match=r"calochallenge.*got 'jetnet'"):
        features(electrons, "jetnet")
    with pytest.raises(ValueError, match="list of inputs"):
        high_level(electrons.energy_inc, features(electrons), "jetnet")


def test_the_older_list_ends_before_the_whole_energy(electrons):
    found = features(electrons)
    older = high_level(electrons.energy_inc, found, "calochallenge-226")
    assert older.shape == (40, 226)
    np.testing.assert_array_equal(older, high_level(electrons.energy_inc, found)[:, :226])


def test_the_depth_of_a_ring_is_the_mean_layer_of_its_energy():
    # ring 0: 1 MeV in layer 0, 3 MeV in layer 1; ring 1: nothing in layer 0, 2 MeV in layer 1
    found = features(shower(FOUR_SLICES, {(0, 0, 0): 1, (1, 2, 0): 3, (1, 2, 1): 2}), "calodream")
    np.testing.assert_allclose(found["depth_r"], [[0.75, 1]])
    np.testing.assert_allclose(found["depth_alpha"], [[0, 0, 1, 0]])


def test_depths_of_electrons_equal_those_of_equation_19(electrons):
    dense = electrons.dense().astype(np.float64)  # (n, layer, alpha, r)
    layers = np.arange(45)[None, :, None]
    found = features(electrons, "calodream")
    for name, axis in (("depth_r", 2), ("depth_alpha", 3)):
        energy = dense.sum(axis=axis)
        expected = (layers * energy).sum(axis=1) / (energy.sum(axis=1) + 1e-8)
        np.testing.assert_allclose(found[name], expected, rtol=1e-9)


def test_bins_of_irregular_layers_are_counted_in_their_own_layer(in_dataset_1_bins):
    found = features(in_dataset_1_bins, "calodream")
    assert found["depth_r"].shape == (20, 19)  # as many rings as the finest layer has
    assert found["depth_alpha"].shape == (20, 10)
    assert (found["depth_r"] <= 4).all()


def test_the_observables_of_caloclouds_equal_those_of_slow_code(photons):
    found = features(photons, "caloclouds", threshold=0.1)
    dense = photons.dense().astype(np.float64)
    dense[dense < np.float32(0.1)] = 0
    centre = (np.arange(30) + 0.5) * 5 - 75
    total = dense.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(
        found["cog_x"], np.einsum("nlxy,x->n", dense, centre) / total, atol=1e-9
    )
    depth = np.einsum("nlxy,l->n", dense, np.asarray(photons.geometry.z)) / total
    np.testing.assert_allclose(found["cog_z"], depth, rtol=1e-9)
    np.testing.assert_array_equal(found["n_hits"], (dense > 0).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(found["sampling_fraction"], total / photons.energy_inc, rtol=1e-6)
    borders = [0, 8, 11, 13, 15, 16, 18, 19, 21, 24, 30]
    by_layer = dense.sum(axis=(2, 3))
    slow = [by_layer[:, i:j].sum(axis=1) for i, j in itertools.pairwise(borders)]
    np.testing.assert_allclose(found["longitudinal"], np.transpose(slow), rtol=1e-9)
    radius = np.hypot(*np.meshgrid(centre, centre, indexing="ij"))
    rings = [0, 6.558, 9.849, 12.96, 17.028, 23.434, 33.609, 40.119, 48.491, 68.808, 300]
    slow = [
        dense[:, :, (radius >= i) & (radius < j)].sum(axis=(1, 2))
        for i, j in itertools.pairwise(rings)
    ]
    np.testing.assert_allclose(found["radial"], np.transpose(slow), rtol=1e-9)


def test_ten_groups_hold_all_energy_in_other_calorimeters(electrons):
    found = features(electrons, "caloclouds")
    for name in ("longitudinal", "radial"):
        np.testing.assert_allclose(found[name].sum(axis=1), electrons.total_energy())


@pytest.mark.parametrize("layout", ["sparse", "calochallenge"])
def test_features_of_a_file_in_double_precision_are_those_of_its_numbers(
    electrons, layout, tmp_path
):
    third = electrons.energy / np.float64(3)  # no float32
    showers = dataclasses.replace(
        electrons, energy=third, energy_inc=electrons.energy_inc / np.float64(7)
    )
    cf.write(tmp_path / "double.h5", showers, layout=layout)
    back = cf.read(tmp_path / "double.h5")
    np.testing.assert_array_equal(back.energy, third)
    np.testing.assert_array_equal(back.energy_inc, showers.energy_inc)
    expected = by_hand_calochallenge(showers, 0)["E_layer"]
    np.testing.assert_allclose(features(back)["E_layer"], expected, rtol=1e-12)
    single = features(dataclasses.replace(electrons, energy=third.astype(np.float32)))
    assert not np.allclose(single["E_layer"], expected, rtol=1e-9, atol=0)
