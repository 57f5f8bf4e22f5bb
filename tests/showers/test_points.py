"""Points fall into the cells that hold them, are lost in gaps, and refused off the map."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from caloforge import data
from caloforge.geometry import Geometry, SensorLayer, geometry_preset, ild_ecal
from caloforge.showers import PointShowers, VoxelShowers

# Two sensors of 2 x 2 cells of 1 mm along x with a gap of 0.5 mm, one along y; and the same cells
# moved by 0.5 mm behind.
STAGGERED = Geometry(
    "staggered",
    (SensorLayer((0.0, 2.5), (0.0,), 2, 1.0), SensorLayer((0.5, 3.0), (0.0,), 2, 1.0)),
    (1.0, 2.0),
    0.0,
)


def _points(x, y, layer, energy=None) -> PointShowers:
    """One shower of a few points."""
    energy = np.ones(len(x)) if energy is None else energy
    return PointShowers([1e4], [0, len(x)], x, y, layer, energy, STAGGERED)


@pytest.fixture(scope="module")
def photons(bundled_points) -> PointShowers:
    return bundled_points[:20]


@pytest.mark.parametrize("name", ["ild-30", "ild-ecal"])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.7, -0.4)])
def test_projected_points_are_summed_in_the_voxel_that_holds_them(photons, name, shift):
    geometry, few = geometry_preset(name), photons[np.argsort(photons.energy_inc)[:2]]
    expected = np.zeros((len(few), geometry.n_voxels))
    for point, event in enumerate(few.event()):
        x, y = float(few.x[point]) + shift[0], float(few.y[point]) + shift[1]
        voxel = int(geometry.find_voxels([few.layer[point]], [x], [y])[0])
        if voxel >= 0:
            expected[event, voxel] += few.energy[point]
    projected = few.project(geometry, shift=shift)
    assert projected.dense().reshape(expected.shape) == pytest.approx(expected, rel=1e-6)
    assert np.array_equal(projected.energy_inc, few.energy_inc)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("calochallenge-1-pions", "30 layers against 7"),
        ("calochallenge-2", "30 layers against 45"),
    ],
)
def test_points_are_not_projected_into_the_layers_of_another_detector(photons, name, how):
    with pytest.raises(ValueError, match=how):
        photons.project(geometry_preset(name))


def test_layers_are_the_same_where_they_lie_at_the_same_depths(photons):
    cells = geometry_preset("ild-30")
    rounded = dataclasses.replace(cells, name="rounded", z=np.round(cells.z, 1))
    assert np.array_equal(photons.project(rounded).energy, photons.project(cells).energy)
    deeper = dataclasses.replace(cells, name="deeper", z=(*cells.z[:-1], cells.z[-1] + 1))
    with pytest.raises(ValueError, match=r"layer 29 lies at a depth of 201\.3 mm against 202\.3"):
        photons.project(deeper)


def test_projection_keeps_the_energy_of_all_points_inside(photons):
    geometry = geometry_preset("ild-30")
    inside = (abs(photons.x) < 75) & (abs(photons.y) < 75)
    energy = np.bincount(photons.event(), weights=photons.energy * inside)
    assert photons.project(geometry).total_energy() == pytest.approx(energy, rel=1e-6)
    layer = np.zeros((len(photons), 30))
    np.add.at(layer, (photons.event(), photons.layer), photons.energy * inside)
    assert photons.project(geometry).layer_energies() == pytest.approx(layer, rel=1e-6, abs=1e-9)


def test_a_shift_by_one_cell_moves_every_cell_by_one(photons):
    geometry = geometry_preset("ild-30")
    here = photons.project(geometry, shift=(0.2, 0.2)).dense()
    there = photons.project(geometry, shift=(5.2, 0.2)).dense()
    assert np.array_equal(there[:, :, 1:], here[:, :, :-1])


def test_points_select_and_join_as_voxels_do(photons):
    parts = [photons[:3], photons[[3, 4]], photons[np.arange(len(photons)) >= 5]]
    joined = PointShowers.concatenate(parts)
    for name in ("energy_inc", "offset", *PointShowers.columns):
        assert np.array_equal(getattr(joined, name), getattr(photons, name))


def test_points_far_from_every_voxel_leave_empty_showers(photons):
    projected = photons.project(geometry_preset("ild-30"), shift=(1e4, 0.0))
    assert len(projected) == len(photons)
    assert not projected.total_energy().any()


def test_sensors_have_gaps_and_layers_are_staggered():
    x = [0.5, 1.5, 2.25, 2.75, 3.25, 4.4]
    points = _points(x, [0.5] * 6, [0, 0, 0, 1, 1, 1], [1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    cells = points.project(STAGGERED)
    # x is the slow axis: four rows of two cells a layer
    expected = np.zeros(16)
    expected[[0, 2, 8 + 4, 8 + 6]] = [1.0, 2.0, 16.0, 32.0]
    assert cells.dense()[0].tolist() == expected.tolist()
    assert points.lost(cells).tolist() == [(4.0 + 8.0) / 63.0]


def test_a_point_off_the_map_is_refused():
    for x, y, axis in ((-0.1, 0.5, "x"), (4.5, 0.5, "x"), (1.0, -0.1, "y"), (1.0, 2.0, "y")):
        with pytest.raises(
            ValueError, match=rf"known from {axis} = 0.0 to .*shift the showers less"
        ):
            _points([1.0, x], [0.5, y], [0, 0]).project(STAGGERED)


def test_every_shower_may_have_a_shift_and_an_angle_of_its_own(photons):
    few, geometry = photons[:3], geometry_preset("ild-ecal")
    shift, angle = np.array([[0.0, 0.0], [3.0, -8.0], [20.0, 1.0]]), np.array([0.0, 1.0, -2.5])
    together = few.project(geometry, shift, angle)
    alone = [few[[i]].project(geometry, shift[i], angle[i]) for i in range(3)]
    joined = VoxelShowers.concatenate(alone)
    assert np.array_equal(together.offset, joined.offset)
    assert np.array_equal(together.index, joined.index)
    assert np.array_equal(together.energy, joined.energy)


def test_a_quarter_turn_leads_from_x_to_y(photons):
    cells = geometry_preset("ild-30")  # points lie on its borders, so not about its middle
    turned = photons.project(cells, (0.2, 0.2), np.pi / 2).dense()
    straight = photons.project(cells, (0.2, -0.2)).dense()
    assert np.allclose(turned, np.swapaxes(straight, 2, 3)[:, :, ::-1], rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"shift": (1.0, 2.0, 3.0)},
            r"shift .* shape \(2,\) for all showers or \(20, 2\) for each",
        ),
        ({"shift": (np.nan, 0.0)}, "shift must be finite"),
        ({"angle": np.zeros(3)}, r"angle .* shape \(\) for all showers or \(20,\) for each"),
    ],
)
def test_a_shift_or_an_angle_of_another_shape_is_refused(photons, change, message):
    with pytest.raises(ValueError, match=message):
        photons.project(geometry_preset("ild-30"), **change)


def test_the_real_cells_lose_what_falls_into_their_gaps(photons):
    """The sensors cover 96.7 % of the area; at the usual impact point, the core lies in no gap
    along Z', which leaves the gaps along X' with 1.1 %."""
    cells = photons.project(geometry_preset("ild-ecal"))
    lost = photons.lost(cells)
    assert 0.005 < lost.mean() < 0.015
    assert lost == pytest.approx(1 - cells.total_energy() / photons.total_energy(), abs=1e-6)
    whole = photons.within(75).project(geometry_preset("ild-30"))
    hits = [np.diff(s.above(0.1).offset).mean() for s in (cells, whole)]
    assert hits[0] == pytest.approx(hits[1], rel=0.03)  # cells of 5.09 and of 5 mm


def test_a_shower_moved_by_the_impact_point_is_one_moved_by_its_shift(photons):
    """The detector stays where it is: both fill the same cells."""
    here, there = ild_ecal(), ild_ecal((37.5, -36.1))
    by_shift = photons.project(here, (37.5, -76.1))
    by_impact = photons.project(there)
    assert by_impact.index.tolist() == by_shift.index.tolist()
    assert by_impact.energy == pytest.approx(by_shift.energy, rel=1e-6)
    middle = np.average(there.voxel_x[by_impact.index], weights=by_impact.energy)
    assert abs(middle) < 1.0  # positions count from the shower's axis


def test_points_within_a_box(photons):
    inner = photons.within(10.0)
    expected = (abs(photons.x) <= 10) & (abs(photons.y) <= 10)
    assert np.array_equal(inner.energy, photons.energy[expected])
    assert np.array_equal(np.diff(inner.offset), np.bincount(photons.event(), expected))


def test_showers_projected_from_others_are_refused(photons):
    cells = photons.project(geometry_preset("ild-30"))
    with pytest.raises(ValueError, match="expected 19 projected showers, got 20"):
        photons[1:].lost(cells)


def test_particles_fly_along_the_depth_unless_a_direction_is_given(photons):
    assert photons.direction.tolist() == [[0, 0, 1]] * len(photons)
    one = dataclasses.replace(photons, direction=np.array([0.6, 0.0, 0.8]))
    assert one.direction.tolist() == [[0.6, 0.0, 0.8]] * len(photons)


def test_directions_go_with_their_showers(photons):
    angle = np.linspace(0, 0.5, len(photons))
    direction = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1)
    inclined = dataclasses.replace(photons, direction=direction)
    chosen = [7, 3, 3]
    assert np.array_equal(inclined[chosen].direction, direction[chosen])
    assert np.array_equal(inclined[4:6].direction, direction[4:6])
    joined = PointShowers.concatenate([inclined[:2], photons[2:]])
    assert np.array_equal(joined.direction[:2], direction[:2])
    assert joined.direction[2:].tolist() == [[0, 0, 1]] * (len(photons) - 2)


def test_points_of_two_detectors_are_not_joined(photons):
    there = dataclasses.replace(photons, geometry=ild_ecal((37.5, -36.1)))
    with pytest.raises(ValueError, match=r"of ild-ecal and ild-ecal at .* cannot be joined"):
        PointShowers.concatenate([photons, there])


def test_points_are_counted_layer_by_layer(photons):
    counts = photons.layer_counts()
    assert counts.shape == (len(photons), 30)
    third = photons[[3]]
    assert counts[3].tolist() == [int((third.layer == i).sum()) for i in range(30)]
    assert counts.sum() == len(photons.energy)


def test_there_must_be_something_to_join():
    with pytest.raises(ValueError, match="at least one PointShowers, got none"):
        PointShowers.concatenate([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [1.0, float("nan"), 0.0]}, r"shower 1, point 0: x must be finite \[mm\], got nan"),
        ({"y": [1.0]}, r"y must have shape \(3,\) as offset says, got \(1,\)"),
        ({"layer": [0, 3, 1]}, "layers must lie in 0 … 2 for three, got 0 … 3: is it another geom"),
        ({"layer": [0, 256, 1]}, "layers must lie in 0 … 2 for three, got 0 … 256"),
        ({"layer": [0, -1, 1]}, "layers must lie in 0 … 2 for three, got -1 … 1"),
        ({"layer": [0.5, 1.0, 1.0]}, "layer must hold integers, got float64"),
        ({"energy": [1.0, -2.0, 3.0]}, "shower 1, point 0: energy must not be negative"),
        ({"energy_inc": [float("nan"), 1.0]}, "shower 0: energy_inc must be finite and above 0"),
        (
            {"direction": [1.0, 0.0]},
            r"direction must have shape \(3,\) .* or \(2, 3\) for each, got",
        ),
        ({"direction": [[0, 0, 1.0], [0, 0, 2.0]]}, "lengths from 1 to 2: divide them by their"),
        ({"direction": [0.0, 0.0, np.nan]}, "direction must hold vectors of length 1"),
    ],
)
def test_points_that_are_no_shower_are_refused(change, message):
    good = {"energy_inc": [1e3, 2e3], "offset": [0, 1, 3], "layer": [0, 1, 2]}
    good |= {name: [1.0, 2.0, 3.0] for name in ("x", "y", "energy")}
    good["geometry"] = dataclasses.replace(
        STAGGERED, name="three", layers=STAGGERED.layers[:1] * 3, z=(1, 2, 3), layer_ids=()
    )
    assert len(PointShowers(**good)) == 2
    with pytest.raises(ValueError, match=message):
        PointShowers(**{**good, **change})


def test_cells_around_another_impact_point_come_back_from_a_file(photons, tmp_path):
    cells = photons[:2].project(ild_ecal((37.5, -36.1)))
    data.write(tmp_path / "cells.h5", cells)
    read = data.read(tmp_path / "cells.h5")
    assert read.geometry == cells.geometry
    assert np.array_equal(read.index, cells.index)


def test_energies_of_layers_are_those_of_their_points(photons):
    layers = photons.layer_energies()
    assert layers.shape == (len(photons), 30)
    assert layers.sum(1) == pytest.approx(photons.total_energy())
    first = slice(photons.offset[3], photons.offset[4])
    chosen = photons.layer[first] == 12
    assert layers[3, 12] == pytest.approx(photons.energy[first][chosen].sum(), rel=1e-5)
