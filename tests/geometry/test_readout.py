"""Geometry: numbering of voxels, their centres and their inverse, plain form."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from caloforge.geometry import (
    CartesianLayer,
    Geometry,
    PolarLayer,
    SensorLayer,
    geometry_preset,
    geometry_presets,
)

MIXED = Geometry(
    name="mixed",
    layers=(PolarLayer((0, 5, 10), 4), PolarLayer((0, 20), 1), CartesianLayer((-9, 0, 9), (0, 9))),
    z=(1.0, 2.0, 4.0),
    threshold=0.1,
    layer_ids=(0, 1, 12),
)
GEOMETRIES = [*map(geometry_preset, geometry_presets()), MIXED]


@pytest.fixture(params=GEOMETRIES, ids=lambda geometry: geometry.name)
def geometry(request) -> Geometry:
    return request.param


def test_the_centre_of_every_voxel_is_found_in_that_voxel(geometry):
    found = geometry.find_voxels(geometry.voxel_layer, geometry.voxel_x, geometry.voxel_y)
    assert found.tolist() == list(range(geometry.n_voxels))


def test_points_outside_every_voxel_are_found_nowhere(geometry):
    first = geometry.layers[0]
    nowhere = 5000.0  # or in a gap, where points farther out are refused
    if isinstance(first, SensorLayer):
        nowhere = first.x_sensors[1] - 0.5
    far = [nowhere, 0.0, 0.0, 0.0]
    layers = [0, -1, geometry.n_layers, 300]
    assert geometry.find_voxels(layers, far, np.zeros(4)).tolist() == [-1, -1, -1, -1]


def test_voxels_are_numbered_layer_by_layer(geometry):
    assert geometry.offsets[0] == 0
    assert geometry.offsets[-1] == geometry.n_voxels
    for i, layer in enumerate(geometry.layers):
        part = geometry.layer_slice(i)
        assert part.stop - part.start == layer.shape[0] * layer.shape[1]
        assert set(geometry.voxel_layer[part]) == {i}
        assert set(geometry.voxel_z[part]) == {geometry.z[i]}


@pytest.mark.parametrize("name", ["calochallenge-2", "calochallenge-3"])
def test_a_block_of_polar_voxels_is_layer_alpha_r(name):
    geometry = geometry_preset(name)
    r = geometry.voxel_r.reshape(geometry.shape)
    assert np.ptp(r, axis=(0, 1)).max() == 0.0  # r changes along the last axis alone
    assert np.all(np.diff(r, axis=2) > 0)
    x, y = (v.reshape(geometry.shape) for v in (geometry.voxel_x, geometry.voxel_y))
    alpha = np.arctan2(y, x)
    assert np.ptp(alpha, axis=(0, 2)).max() < 1e-12
    assert np.all(np.diff(alpha, axis=1) > 0)


def test_a_block_of_cells_is_layer_x_y():
    geometry = geometry_preset("ild-30")
    x, y = (v.reshape(geometry.shape) for v in (geometry.voxel_x, geometry.voxel_y))
    assert np.ptp(x, axis=(0, 2)).max() == 0.0
    assert np.ptp(y, axis=(0, 1)).max() == 0.0


def test_radius_is_that_of_the_centre(geometry):
    assert np.allclose(geometry.voxel_r, np.hypot(geometry.voxel_x, geometry.voxel_y), rtol=1e-9)


def test_one_layer_may_be_given_for_all_points(geometry):
    x, y = geometry.voxel_x[:3], geometry.voxel_y[:3]
    in_first = geometry.find_voxels(np.zeros(3, int), x, y)
    assert geometry.find_voxels(0, x, y).tolist() == in_first.tolist()


def test_only_alpha_wraps_around():
    assert geometry_preset("calochallenge-2").cyclic_axis == 1
    assert geometry_preset("ild-30").cyclic_axis is None
    assert MIXED.cyclic_axis is None


def test_an_irregular_geometry_has_no_shape():
    assert not MIXED.is_regular
    assert MIXED.layer_shapes == ((4, 2), (1, 1), (2, 1))
    with pytest.raises(ValueError, match=r"mixed is irregular.*use layer_slice"):
        _ = MIXED.shape


def test_a_core_is_the_middle_of_every_layer():
    whole = geometry_preset("ild-30")
    core = whole.crop(4, 2)
    assert core.name == "ild-30-4x2"
    assert core.shape == (30, 4, 2)
    assert (core.z, core.threshold) == (whole.z, whole.threshold)
    assert np.abs(core.voxel_x).max() == 7.5
    assert np.abs(core.voxel_y).max() == 2.5
    assert whole.crop(4, 2, name="core").name == "core"


def test_polar_bins_have_no_core():
    with pytest.raises(ValueError, match="cut out of cartesian cells, calochallenge-2 has polar"):
        geometry_preset("calochallenge-2").crop(4, 4)


def test_plain_form_survives_json(geometry):
    plain = json.loads(json.dumps(geometry.to_dict()))
    assert Geometry.from_dict(plain) == geometry
    assert hash(Geometry.from_dict(plain)) == hash(geometry)


def test_plain_form_writes_equal_layers_once():
    assert len(geometry_preset("calochallenge-3").to_dict()["layers"]) == 1
    assert len(MIXED.to_dict()["layers"]) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"layers": [{"kind": "hexagonal", "r": 1}]},
        {"layers": [{"kind": "polar", "r_edges": [0, 1]}]},
        {"colour": "blue"},
    ],
)
def test_what_is_no_plain_form_is_refused(change):
    with pytest.raises(ValueError, match=r"not a geometry: .*; expected the keys that"):
        Geometry.from_dict({**MIXED.to_dict(), **change})


SENSORS = {"kind": "sensors", "x_sensors": [0], "y_sensors": [0], "pitch": 1.0}


@pytest.mark.parametrize(
    "layer",
    [
        {"kind": "polar", "r_edges": [0, 1], "n_alpha": 1, "repeat": 10**15},
        {"kind": "polar", "r_edges": [0, 1], "n_alpha": 10**15},
        {"kind": "polar", "r_edges": [0, 1], "n_alpha": float("inf")},
        {**SENSORS, "n_cells": 10**12},
    ],
)
def test_a_plain_form_of_boundless_size_costs_no_memory(layer):
    with pytest.raises(ValueError, match=r"layers, got|voxels at most|cells at most|infinity"):
        Geometry.from_dict({**MIXED.to_dict(), "layers": [layer], "z": [1.0], "layer_ids": [0]})


def test_a_missing_key_is_refused():
    plain = MIXED.to_dict()
    del plain["threshold"]
    with pytest.raises(ValueError, match=r"not a geometry: .*threshold"):
        Geometry.from_dict(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": ()}, "at least one layer"),
        ({"z": (1.0,)}, "z must give one number for each of the 3 layers, got 1"),
        ({"z": (1.0, 2.0, float("nan"))}, r"z must be finite depths \[mm\]"),
        ({"layer_ids": (1, 2)}, "layer_ids must give one number for each of the 3 layers, got 2"),
        ({"threshold": -1.0}, r"threshold must be 0 or more \[MeV\], got -1.0"),
    ],
)
def test_an_impossible_geometry_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(MIXED, **change)


def test_positions_of_voxels_cannot_be_overwritten(geometry):
    with pytest.raises(ValueError, match="read-only"):
        geometry.voxel_x[0] = 1.0


def test_numbers_of_any_type_make_the_same_geometry():
    other = dataclasses.replace(
        MIXED, z=np.array(MIXED.z), layer_ids=list(np.array(MIXED.layer_ids)), threshold=0.1
    )
    assert other == MIXED
    assert json.loads(json.dumps(other.to_dict())) == json.loads(json.dumps(MIXED.to_dict()))
