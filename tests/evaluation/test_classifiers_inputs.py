"""The classifiers' lists of inputs beside arrays laid out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import caloforge as cf
from caloforge.evaluation import Sample
from caloforge.evaluation.classifiers import take_columns
from caloforge.evaluation.classifiers.inputs import INPUTS, Table, join_columns, take_inputs


@pytest.fixture(scope="module")
def in_dataset_1_bins(shared_data):
    """Photon showers in irregular layers, six detector layers to one."""
    points = cf.read_points(shared_data / "photons-10-100GeV_ild-ecal_points_test.h5")[:20]
    target = cf.geometry_preset("calochallenge-1-photons")
    points = dataclasses.replace(points, layer=points.layer // 6, geometry=target)
    return points.project(target)


@pytest.fixture(scope="module")
def electrons(shared_data):
    return cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_test.h5")[:20]


@pytest.fixture(scope="module", params=["electrons", "in_dataset_1_bins"])
def showers(request):
    return request.getfixturevalue(request.param)


def inputs_of(showers, name, rows, threshold=None):
    sample = Sample.of(showers, threshold=threshold)
    return take_inputs(take_columns(sample, name), name).batch(torch.as_tensor(rows)).numpy()


def by_hand(showers, name, threshold):
    """All inputs, dense, in double precision."""
    every = showers.dense().reshape(len(showers), -1).astype(np.float64)
    x = np.where(every < np.float32(threshold), 0, every)
    incident = showers.energy_inc.astype(np.float64)[:, None]
    offsets = showers.geometry.offsets
    layer = np.add.reduceat(x, offsets[:-1], axis=1)
    if name == "voxels-MeV":
        return np.hstack([x, incident / 1000])
    if name == "voxels-normed":
        by_layer = every / (np.repeat(layer, np.diff(offsets), axis=1) + 1e-16)
        return np.hstack([np.log10(incident), by_layer, np.log10(layer + 1e-8)])
    factor = {"voxels": 1, "voxels-percent": 100}[name]
    return np.hstack([np.log10(incident), factor * x / incident])


@pytest.mark.parametrize("name", ["voxels", "voxels-percent", "voxels-normed", "voxels-MeV"])
def test_voxel_inputs_equal_dense_ones(showers, name):
    # A threshold far above the geometry's, so that voxels below it exist.
    threshold = 5 * showers.geometry.threshold
    rows = [3, 0, 17, 3]
    found = inputs_of(showers, name, rows, threshold)
    expected = by_hand(showers, name, threshold)[rows]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_normed_voxels_below_the_threshold_count_and_their_layer_energy_does_not(electrons):
    loud = electrons.geometry.voxel_layer[electrons.index] == 10
    energy = np.where(loud, 2, 1e-3).astype(np.float32)
    showers = dataclasses.replace(electrons, energy=energy)
    inputs = inputs_of(showers, "voxels-normed", [0], threshold=1)[0]
    voxels, layers = inputs[1:-45].reshape(45, -1), inputs[-45:]
    assert voxels[10].sum() == pytest.approx(1)
    assert layers[10] == pytest.approx(np.log10(2 * (voxels[10] > 0).sum()))
    assert voxels[9].max() == pytest.approx(1e13)
    assert layers[9] == pytest.approx(-8)


def test_joined_showers_follow_each_other(electrons):
    first, second = (Sample.of(electrons[rows]) for rows in (slice(0, 12), slice(12, 20)))
    joined = join_columns(take_columns(first, "voxels"), take_columns(second, "voxels"))
    whole = take_columns(Sample.of(electrons), "voxels")
    every = torch.arange(20)
    torch.testing.assert_close(
        take_inputs(joined, "voxels").batch(every), take_inputs(whole, "voxels").batch(every)
    )


@pytest.mark.parametrize(
    ("name", "n_inputs"),
    [
        ("voxels", 6481),
        ("voxels-percent", 6481),
        ("voxels-normed", 6481 + 45),
        ("voxels-MeV", 6481),
        ("features", 362),
        ("features-226", 226),
        ("fractions", 362),
        ("moments", 9),
        ("moments-linear", 9),
        ("caloclouds", 25),
        ("correlations", 1 + 49 + 4 * 9),
        ("ratios", 1 + 45),
        ("layers", 362 + 4 * 9 + 3 * 44),
    ],
)
def test_lists_have_the_published_length(electrons, name, n_inputs):
    columns = take_columns(Sample.of(electrons), name)
    inputs = take_inputs(columns, name)
    assert inputs.shape == (20, n_inputs)
    assert all(len(column) == 20 for column in columns.values())
    batch = inputs.to(torch.device("cpu"), torch.float32).batch(torch.tensor([1, 2]))
    assert batch.shape == (2, n_inputs)
    assert batch.dtype == torch.float32


def test_every_list_has_its_length_tested():
    mark = next(m for m in test_lists_have_the_published_length.pytestmark)
    assert {name for name, _ in mark.args[1]} == set(INPUTS)


def test_energy_ratios_are_logits_of_equation_2(electrons):
    """By hand: u_0 over 2.85 E_inc, u_i over what is left, moved from 0 and 1 by a millionth."""
    inputs = inputs_of(electrons, "ratios", range(20))
    energy = Sample.of(electrons).features["E_layer"]
    np.testing.assert_allclose(inputs[:, 0], np.log10(electrons.energy_inc), rtol=1e-6)
    u = (1 / (1 + np.exp(-inputs[:, 1:])) - 1e-6) / (1 - 2e-6)
    np.testing.assert_allclose(u[:, 0], energy.sum(1) / electrons.energy_inc / 2.85, rtol=1e-6)
    # u_i is of layer i, counted from 1, and of what is left there
    for i in range(1, 45):
        left = energy[:, i - 1 :].sum(1)
        share = np.divide(energy[:, i - 1], left, out=np.zeros(20), where=left > 0)
        np.testing.assert_allclose(u[:, i], share, atol=1e-9)


def test_where_a_shower_ends_its_ratio_is_1_and_behind_that_0(electrons):
    dense = electrons.dense()
    dense[:, 41, 0, 0], dense[:, 42:] = 5, 0
    showers = cf.VoxelShowers.from_dense(electrons.energy_inc, dense, electrons.geometry)
    border = np.log((1 - 1e-6) / 1e-6)
    found = inputs_of(showers, "ratios", range(20))[:, -3:]  # of layers 41 to 43
    np.testing.assert_allclose(found, np.tile([border, -border, -border], (20, 1)), rtol=1e-9)


def test_the_last_of_the_linear_moments_is_the_incident_energy_in_gev(electrons):
    inputs = inputs_of(electrons, "moments-linear", [0, 1])
    np.testing.assert_allclose(inputs[:, -1], electrons.energy_inc[:2] / 1000)


def test_standardised_inputs_have_mean_0_and_deviation_1_on_the_rows_they_are_fitted_on(rng):
    values = rng.normal(5, 3, size=(100, 3))
    values[:, 2] = 7
    rows = torch.arange(40)
    table = Table(torch.as_tensor(values)).standardised(rows)
    found = table.batch(rows).numpy()
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found.std(axis=0), [1, 1, 0])


def test_inputs_of_any_unit_have_deviation_1_and_those_that_differ_by_rounding_none(rng):
    values = np.stack([1e-12 * rng.normal(size=50), np.where(rng.random(50) < 0.5, 0.3, 0.1 + 0.2)])
    found = Table(torch.as_tensor(values.T)).standardised(torch.arange(50)).values
    np.testing.assert_allclose(found.std(dim=0, correction=0), [1, 0], atol=1e-12)


def test_an_input_that_is_not_known_becomes_the_mean():
    table = Table(torch.tensor([[1.0], [3.0], [torch.nan]], dtype=torch.float64))
    found = table.standardised(torch.arange(3)).batch(torch.arange(3))
    torch.testing.assert_close(found, torch.tensor([[-1.0], [1.0], [0.0]], dtype=torch.float64))
