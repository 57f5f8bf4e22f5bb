"""Point clouds in other formats hold what caloforge's do; hits for ROOT can be read back."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest

from caloforge import data
from caloforge.geometry import geometry_preset, ild_ecal
from caloforge.showers import PointShowers, VoxelShowers


@pytest.fixture(scope="module")
def photons(bundled_points) -> PointShowers:
    return bundled_points[:8]


@pytest.fixture(scope="module")
def inclined(photons) -> PointShowers:
    """The same, as if each flew along another direction."""
    angle = np.linspace(0, 0.7, len(photons), dtype=np.float32)
    direction = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1)
    return dataclasses.replace(photons, direction=direction)


def _padded(photons: PointShowers, *, ahead: bool) -> np.ndarray:
    """CaloClouds' events: X', layer, Z', energy [GeV], padded before, as theirs, or after."""
    counts = np.diff(photons.offset)
    events = np.zeros((len(photons), counts.max() + 3, 4), np.float32)
    for i, shower in enumerate(photons.batches(1)):
        rows = slice(-counts[i], None) if ahead else slice(counts[i])
        columns = (shower.x, shower.layer + 0.5, shower.y + 40, shower.energy / 1e3)
        events[i, rows] = np.stack(columns, axis=-1)
    return events


def _assert_same(read: PointShowers, photons: PointShowers) -> None:
    assert read.energy_inc == pytest.approx(photons.energy_inc, rel=1e-6)
    assert np.array_equal(read.offset, photons.offset)
    assert read.geometry == photons.geometry
    assert np.array_equal(read.direction, photons.direction)
    assert np.array_equal(read.layer, photons.layer)
    assert np.allclose(read.x, photons.x, atol=1e-4)
    assert np.allclose(read.y, photons.y, atol=1e-4)
    assert np.allclose(read.energy, photons.energy, rtol=1e-6)


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_the_padded_files_of_caloclouds_are_read(photons, tmp_path, ahead, transposed):
    events = _padded(photons, ahead=ahead)
    with h5py.File(tmp_path / "padded.hdf5", "w") as file:
        file["energy"] = photons.energy_inc[:, None] / 1e3
        file["events"] = np.swapaxes(events, 1, 2) if transposed else events
    _assert_same(data.read(tmp_path / "padded.hdf5"), photons)
    with data.open_points(tmp_path / "padded.hdf5") as file:
        _assert_same(file[2:5], photons[2:5])
        assert file.energy_inc == pytest.approx(photons.energy_inc)
        assert len(file[3:3]) == 0


def test_the_sparse_form_keeps_directions_and_detectors(inclined, photons, tmp_path):
    there = ild_ecal((37.5, -36.1))
    moved = dataclasses.replace(inclined, geometry=there)
    data.write(tmp_path / "moved.h5", moved, attributes={"geometry": "another's"})
    _assert_same(data.read(tmp_path / "moved.h5"), moved)
    with data.open_points(tmp_path / "moved.h5") as file:
        assert file.geometry == there
        _assert_same(file[3:5], moved[3:5])
    # what is not said is along the depth, also of showers written before the first that differs
    with data.create_points(tmp_path / "mixed.h5", photons.geometry) as writer:
        for part in (photons[:3], inclined[3:5], photons[5:]):
            writer.append(part)
    mixed = data.read(tmp_path / "mixed.h5")
    assert np.array_equal(mixed.direction[3:5], inclined.direction[3:5])
    _assert_same(mixed[:3], photons[:3])
    _assert_same(mixed[5:], photons[5:])
    with h5py.File(tmp_path / "mixed.h5", "r+") as file:
        file["direction"][4] = [0.0, 0.0, 3.0]
    with pytest.raises(data.ShowerFileError, match=r"showers 0 to 8: direction must hold vectors"):
        data.read(tmp_path / "mixed.h5")


def test_points_of_another_detector_are_refused(photons, tmp_path):
    data.write(tmp_path / "points.h5", photons)
    with pytest.raises(data.ShowerFileError, match="holds showers of ild-ecal, not of ild-30"):
        data.read(tmp_path / "points.h5", "ild-30")
    assert data.read(tmp_path / "points.h5", "ild-ecal").geometry == photons.geometry
    with (
        data.create_points(tmp_path / "others.h5", geometry_preset("ild-30")) as writer,
        pytest.raises(ValueError, match="takes showers of ild-30, got showers of ild-ecal"),
    ):
        writer.append(photons)
    with h5py.File(tmp_path / "points.h5", "r+") as file:
        del file.attrs["geometry"]
    with pytest.raises(data.ShowerFileError, match=r"give one, for example geometry='ild-ecal'"):
        data.read(tmp_path / "points.h5")
    assert data.read(tmp_path / "points.h5", "ild-30").geometry.name == "ild-30"


def test_a_file_is_opened_as_what_it_holds(photons, few, tmp_path):
    data.write(tmp_path / "points.h5", photons)
    data.write(tmp_path / "voxels.h5", few)
    with (
        data.open_file(tmp_path / "points.h5") as points,
        data.open_file(tmp_path / "voxels.h5") as voxels,
    ):
        assert isinstance(points[:1], PointShowers)
        assert isinstance(voxels[:1], VoxelShowers)


def test_the_impact_point_of_a_padded_file_is_its_middle(photons, tmp_path):
    with h5py.File(tmp_path / "padded.hdf5", "w") as file:
        file["energy"] = photons.energy_inc[:, None] / 1e3
        file["events"] = _padded(photons, ahead=True)
    with data.CaloCloudsFile(tmp_path / "padded.hdf5", impact=(37.5, -36.1)) as file:
        read = file[:]
    assert np.allclose(read.x, photons.x - 37.5, atol=1e-4)
    assert np.allclose(read.y, photons.y + 40 + 36.1, atol=1e-4)
    assert read.geometry == ild_ecal((37.5, -36.1))
    with data.open_points(tmp_path / "padded.hdf5", "ild-30") as file:
        assert file[:1].geometry == geometry_preset("ild-30")


@pytest.mark.parametrize(
    ("shape", "column", "value", "message"),
    [
        ((8, 5, 3), 0, 0.0, r"events must have shape \(8, N, 4\) .* got \(8, 5, 3\)"),
        ((7, 5, 4), 0, 0.0, r"events must have shape \(8, N, 4\) .* got \(7, 5, 4\)"),
        ((8, 5, 4), 1, -1.0, "layers must be numbers from 0"),
        ((8, 5, 4), 1, 30.0, "layers must lie in 0 … 29 for ild-ecal, got 1 … 30: is it another"),
        ((8, 5, 4), 3, -1.0, "shower 3, point 1: energy must not be negative"),
        ((8, 5, 4), 3, np.nan, "shower 3, point 1: energy must be finite"),
    ],
)
def test_padded_files_that_hold_no_showers_are_refused(tmp_path, shape, column, value, message):
    events = np.ones(shape, np.float32)
    events[3, 1, min(column, shape[2] - 1)] = value
    with h5py.File(tmp_path / "padded.hdf5", "w") as file:
        file["energy"] = np.full((8, 1), 10.0)
        file["events"] = events
    with pytest.raises(data.ShowerFileError, match=message):
        data.read(tmp_path / "padded.hdf5")


def test_showerdata_reads_what_was_written_for_it(photons, tmp_path):
    showerdata = pytest.importorskip("showerdata")
    path = tmp_path / "showers.h5"
    data.write(path, photons, layout="showerdata", attributes={"particle": "gamma"})
    read = showerdata.load(path)
    assert read.pdg.tolist() == [22] * len(photons)
    assert read.directions.tolist() == [[0, 0, 1]] * len(photons)
    assert read.energies[:, 0] == pytest.approx(photons.energy_inc / 1e3)  # GeV
    total = showerdata.observables.calc_energy_per_layer(read, 30).sum(axis=1)
    assert total == pytest.approx(photons.total_energy() / 1e3, rel=1e-5)
    _assert_same(data.read(path), photons)


def test_incident_particles_are_read_without_their_showers(inclined, photons, tmp_path):
    cells = photons.project(geometry_preset("ild-30"))
    data.write(tmp_path / "inclined.h5", inclined)
    data.write(tmp_path / "straight.h5", photons)
    data.write(tmp_path / "cells.h5", cells, layout="calochallenge")
    for name, showers in {"inclined": inclined, "straight": photons, "cells": cells}.items():
        path = tmp_path / f"{name}.h5"
        with h5py.File(path, "r+") as file:  # as other programs write: no known geometry
            file.attrs["geometry"] = "another"
        particles = data.read_particles(path)
        for column in ("direction", "pdg"):
            assert np.array_equal(getattr(particles, column), getattr(showers, column))
        assert np.array_equal(particles.energy, showers.energy_inc)


def test_showerdata_keeps_directions_and_detectors(inclined, tmp_path):
    showerdata = pytest.importorskip("showerdata")
    path = tmp_path / "showers.h5"
    moved = dataclasses.replace(inclined, geometry=ild_ecal((37.5, -36.1)))
    data.write(path, moved, layout="showerdata", attributes={"particle": "gamma"})
    assert np.array_equal(showerdata.load(path).directions, inclined.direction)
    _assert_same(data.read(path), moved)
    with pytest.raises(data.ShowerFileError, match="not of ild-30: leave the geometry out"):
        data.read(path, "ild-30")


def test_the_files_of_showerdata_are_read_with_their_time(photons, tmp_path):
    showerdata = pytest.importorskip("showerdata")
    points = np.zeros((2, 3, 5), np.float32)
    points[0, :2] = [[1.0, -2.0, 7.0, 1e-3, 5.0], [3.0, 4.0, 29.0, 2e-3, 6.0]]
    points[1, :1] = [[0.0, 0.0, 0.0, 4e-3, 7.0]]
    showers = showerdata.Showers(points=points, energies=[10.0, 20.0], pdg=22)
    showerdata.save(showers, tmp_path / "timed.h5")
    read = data.read(tmp_path / "timed.h5")
    assert read.energy_inc.tolist() == [1e4, 2e4]
    assert read.offset.tolist() == [0, 2, 3]
    assert read.layer.tolist() == [7, 29, 0]
    assert read.energy == pytest.approx([1.0, 2.0, 4.0])
    assert read.geometry == geometry_preset("ild-ecal")
    assert data.read(tmp_path / "timed.h5", "ild-30").geometry.name == "ild-30"


def test_points_are_written_as_points(photons, tmp_path):
    with pytest.raises(ValueError, match="must be 'sparse' or 'showerdata', got 'calochallenge'"):
        data.write(tmp_path / "wrong.h5", photons, layout="calochallenge")
    unknown = dataclasses.replace(photons, pdg=0)
    with pytest.raises(ValueError, match=r"kind of every particle, .* 8 of 8 .*not known"):
        data.write(tmp_path / "wrong.h5", unknown, layout="showerdata")
    assert list(tmp_path.iterdir()) == []


def test_hits_for_root(photons, tmp_path):
    uproot = pytest.importorskip("uproot")
    cells = photons.project(geometry_preset("ild-ecal"))
    data.write_root(tmp_path / "cells.root", cells)
    with uproot.open(tmp_path / "cells.root") as file:
        tree = file["showers"].arrays(library="np")
    assert tree["energy_inc"] == pytest.approx(cells.energy_inc)
    assert tree["nhit"].tolist() == np.diff(cells.offset).tolist()
    assert np.array_equal(np.concatenate(tree["hit_voxel"]), cells.index)
    assert np.array_equal(np.concatenate(tree["hit_energy"]), cells.energy)
    depth = cells.geometry.voxel_z[cells.index].astype(np.float32)
    assert np.array_equal(np.concatenate(tree["hit_z"]), depth)


def test_points_for_root(photons, tmp_path):
    uproot = pytest.importorskip("uproot")
    for showers in (photons, photons[:0]):
        data.write_root(tmp_path / "points.root", showers)
        with uproot.open(tmp_path / "points.root") as file:
            tree = file["showers"].arrays(library="np")
        assert len(tree["energy_inc"]) == len(showers)
        for name in PointShowers.columns:
            found = np.concatenate([*tree[f"hit_{name}"], []])
            assert np.array_equal(found, getattr(showers, name))
