"""Cells on sensors with gaps, and the map of the ILD's against the scan that it is made from."""

from __future__ import annotations

import json

import numpy as np
import pytest

from caloforge.geometry import SensorLayer, geometry_preset, ild_ecal, ild_silicon_depths, muon_scan

# Three columns and one row of sensors of 2 x 2 cells of 5 mm, with gaps of 1 mm and of 3 mm.
SENSORS = SensorLayer((0.0, 11.0, 24.0), (-5.0,), 2, 5.0)


def test_cells_are_found_by_their_centres_and_the_gaps_hold_none():
    x, y = SENSORS.centres()
    assert SENSORS.shape == (6, 2)
    assert np.unique(x).tolist() == [2.5, 7.5, 13.5, 18.5, 26.5, 31.5]
    assert SENSORS.find(x, y).tolist() == list(range(12))
    gaps = np.array([10.0, 10.9, 21.0, 23.9])
    assert SENSORS.find(gaps, np.zeros(4)).tolist() == [-1] * 4
    borders = np.array([0.0, 5.0, 11.0, np.nextafter(34.0, 0)])
    assert SENSORS.find(borders, np.zeros(4)).tolist() == [1, 3, 5, 11]


def test_a_gap_is_drawn_half_by_half():
    assert SENSORS.x_edges == (0.0, 5.0, 10.5, 16.0, 22.5, 29.0, 34.0)
    assert SENSORS.y_edges == (-5.0, 0.0, 5.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_sensors": (0.0, 9.0)}, "x_sensors must be borders .* rise by 10.0 or more"),
        ({"y_sensors": ()}, "y_sensors must be borders"),
        ({"x_sensors": (0.0, float("nan"))}, "x_sensors must be borders"),
        ({"n_cells": 1.5}, "n_cells must be a whole number, 1 or more, got 1.5"),
        ({"pitch": 0.0}, "pitch must be a width above 0"),
    ],
)
def test_impossible_sensors_are_refused(change, message):
    good = {"x_sensors": (0.0, 11.0), "y_sensors": (0.0,), "n_cells": 2, "pitch": 5.0}
    assert SensorLayer(**good).shape == (4, 2)
    with pytest.raises(ValueError, match=message):
        SensorLayer(**{**good, **change})


def test_staggered_cells_have_no_core():
    with pytest.raises(ValueError, match="no place in the middle of staggered sensors"):
        geometry_preset("ild-ecal").crop(10, 10)


# ---- the cells of the ILD


def test_layers_are_staggered_in_pairs_along_x_and_not_at_all_along_y():
    layers = geometry_preset("ild-ecal").layers
    assert len({layer.y_sensors for layer in layers}) == 1
    assert all(even == odd for even, odd in zip(layers[::2], layers[1::2], strict=True))
    depth = ild_silicon_depths()[::2]
    period = layers[0].x_sensors[1] - layers[0].x_sensors[0]
    starts = np.array([layer.x_sensors[0] for layer in layers[::2]])
    # The side of the module is inclined by 45 degrees: as far in as a layer lies behind. Where the
    # tungsten doubles, at the tenth pair, the side has moved before the silicon has.
    moved = (starts[:-1] - starts[1:]) % period
    assert np.delete(moved, 9) == pytest.approx(np.delete(np.diff(depth), 9), abs=2e-3)


def test_sensors_are_parted_by_one_millimetre_and_towers_by_three():
    layer = geometry_preset("ild-ecal").layers[0]
    width = 18 * 5.08833
    assert layer.width == pytest.approx(width)
    assert np.diff(layer.x_sensors) - width == pytest.approx(1.0, abs=2e-3)
    gaps = np.diff(layer.y_sensors) - width
    assert gaps == pytest.approx([3.18, 1, 3.18, 1, 3.18, 1, 3.18], abs=2e-3)


def test_the_map_is_the_one_that_the_scan_makes(shared_reference):
    folder = shared_reference / "ild"
    with np.load(folder / "muon_map.npz") as hits:
        X, Y, Z = (hits[name].astype(np.float64) for name in "XYZ")
    faces = np.array(json.loads((folder / "layer_bottom_mm.json").read_text()))
    made = muon_scan.cell_map(X, Y, Z, faces)
    for layer, x_sensors in zip(ild_ecal((0, 0)).layers, made["x_sensors_mm"], strict=True):
        assert layer.x_sensors == tuple(x_sensors)
        assert layer.y_sensors == tuple(made["z_sensors_mm"])
        assert (layer.n_cells, layer.pitch) == (made["n_cells"], made["pitch_mm"])


def test_every_cell_in_the_middle_of_the_scan_is_hit_at_its_centre(shared_reference):
    with np.load(shared_reference / "ild" / "muon_map.npz") as hits:
        X, Y, Z = (hits[name].astype(np.float64) for name in "XYZ")
    geometry = geometry_preset("ild-ecal")
    layer = np.searchsorted(np.unique(Y.round(1)), Y.round(1))
    near = (abs(X) < 190) & (abs(Z - 40) < 190)
    voxel = geometry.find_voxels(layer[near], X[near], Z[near] - 40)
    assert voxel.min() >= 0
    off = np.hypot(geometry.voxel_x[voxel] - X[near], geometry.voxel_y[voxel] - (Z[near] - 40))
    assert (off > 0.01).sum() <= 1  # the stray one, 1 mm beside its cell, with 13 keV
    inside = (abs(geometry.voxel_x) < 185) & (abs(geometry.voxel_y) < 185)
    assert np.isin(np.flatnonzero(inside), voxel).all()


def test_hits_that_do_not_repeat_are_refused(shared_reference):
    with np.load(shared_reference / "ild" / "muon_map.npz") as hits:
        X, Y, Z = (hits[name].astype(np.float64) for name in "XYZ")
    faces = np.array(json.loads((shared_reference / "ild" / "layer_bottom_mm.json").read_text()))
    with pytest.raises(ValueError, match="X of layer 0 do not lie at the centre of a cell"):
        muon_scan.cell_map(np.where(X > 210, X + 0.4, X), Y, Z, faces)
    with pytest.raises(ValueError, match="are these its faces"):
        muon_scan.cell_map(X, Y, Z, faces + 1)
