"""Point clouds: their own observables, and their projection into cells for a comparison."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import Projected, Sample, at_energy, fitting_metrics, point_features
from caloforge.evaluation.cache import content_hash
from caloforge.evaluation.catalogue import default_metrics
from caloforge.evaluation.clouds import Clouds
from caloforge.evaluation.metrics.caloclouds import PointDistance
from caloforge.evaluation.sample import pack, unpack
from caloforge.geometry import Geometry, SensorLayer, geometry_preset

pytestmark = [
    pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning"),
    pytest.mark.filterwarnings("ignore::caloforge.evaluation.SharedShowersWarning"),
]

# Two layers of two cells of 10 mm with a gap of 2 mm between, around the axis.
GAP = SensorLayer((-11.0, 1.0), (-5.0,), 1, 10.0)
GAPPED = Geometry("gapped", (GAP, GAP), (3.0, 7.0), 0.1)


@pytest.fixture(scope="module")
def two():
    """A cloud of three points, 1 MeV of 8 MeV in the gap, and an empty one."""
    return cf.PointShowers(
        np.float32([1e4, 2e4]),
        [0, 3, 3],
        np.float32([3.0, 3.0, 0.0]),
        np.float32([4.0, -4.0, 0.5]),
        np.uint8([0, 1, 1]),
        np.float32([2.0, 5.0, 1.0]),
        GAPPED,
    )


def moved(points, x):
    return dataclasses.replace(points, x=points.x + np.float32(x))


def test_the_observables_of_a_cloud_of_three_points(two):
    found = point_features(two)
    np.testing.assert_array_equal(found["n_points"], [3, 0])
    np.testing.assert_array_equal(found["visible_energy"], [8, 0])
    np.testing.assert_array_equal(found["layer_counts"], [[1, 2], [0, 0]])
    np.testing.assert_array_equal(found["layer_energies"], [[2, 6], [0, 0]])
    np.testing.assert_allclose(found["cog_x"], [21 / 8, np.nan])
    np.testing.assert_allclose(found["cog_y"], [(8 - 20 + 0.5) / 8, np.nan])
    np.testing.assert_allclose(found["cog_z"], [(2 * 3 + 6 * 7) / 8, np.nan])
    # Radii of 5, 5 and 0.5 mm: the third ring of 2 mm, and the first.
    rings = found["ring_energies"]
    assert rings.shape == (2, 51)
    np.testing.assert_array_equal(rings[0].nonzero()[0], [0, 2])
    np.testing.assert_array_equal(rings[0, [0, 2]], [1, 7])
    assert not rings[1].any()


def test_the_last_ring_has_no_end(two):
    far = point_features(moved(two, 1e6))
    np.testing.assert_array_equal(far["ring_energies"][:, -1], [8, 0])


def test_clouds_know_what_falls_into_gaps_and_what_their_points_have(two):
    clouds = Clouds.of(Projected(two, GAPPED))
    np.testing.assert_allclose(clouds.features["lost"], [1 / 8, 0])
    spectrum = clouds.spectrum
    assert spectrum.edges[[0, -1]] == pytest.approx([1e-3, 5.0])
    np.testing.assert_array_equal(spectrum.counts.sum(axis=1) + spectrum.n_above, [3, 0])
    softer = dataclasses.replace(two, energy=two.energy * np.float32([1, 1, 5e-4]))
    found = Clouds.of(Projected(softer, GAPPED), spectrum.edges).spectrum
    np.testing.assert_array_equal(found.counts.sum(axis=1) + found.n_above, [2, 0])
    np.testing.assert_array_equal(found.below.sum(axis=1), [1, 0])


def test_at_a_fixed_energy_showers_near_it_are_taken_in_proportion():
    incident = [44e3, 46e3, 50e3, 55e3]
    found = at_energy(50e3, [1.0, 4.6, 5.1, 5.5], incident)
    np.testing.assert_allclose(found, [np.nan, 5.0, 5.1, 5.0])
    found = at_energy(8e3, [2.0, 5.0], [12.5e3, 8e3], power=2)
    np.testing.assert_allclose(found, [2 * 0.64**2, 5])


def test_energies_and_hits_grow_as_the_powers_that_they_are_scaled_with(bundled_points):
    cells = bundled_points.project(bundled_points.geometry).above(0.1)
    incident = np.log(cells.energy_inc)
    for grows, power in ((cells.total_energy(), 0.96), (np.diff(cells.offset), 2 / 3)):
        slope, _ = np.polyfit(incident, np.log(grows), 1)
        assert slope == pytest.approx(power, abs=0.05)


def test_a_projected_source_reads_like_the_projected_showers(bundled_points):
    geometry = geometry_preset("ild-30")
    source, expected = Projected(bundled_points, geometry), bundled_points.project(geometry)
    assert len(source) == len(expected)
    for run in (slice(None), slice(7, 23), slice(5, 5)):
        np.testing.assert_array_equal(source[run].index, expected[run].index)
        np.testing.assert_array_equal(source[run].energy, expected[run].energy)
        np.testing.assert_array_equal(source[run].offset, expected[run].offset)


def test_points_are_projected_a_few_showers_at_a_time(bundled_points, monkeypatch):
    geometry = geometry_preset("ild-30")
    expected = bundled_points.project(geometry)
    monkeypatch.setattr("caloforge.evaluation.projection.RUN", 7)
    found = Projected(bundled_points, geometry)[:50]
    np.testing.assert_array_equal(found.index, expected[:50].index)
    np.testing.assert_array_equal(found.offset, expected[:50].offset)


def test_points_of_other_layers_are_refused(two):
    with pytest.raises(ValueError, match=r"those of ild-30, 2 layers against 30"):
        Projected(two, geometry_preset("ild-30"))


def test_cells_below_the_threshold_are_in_the_spectrum_below_and_nowhere_else(two):
    soft = dataclasses.replace(two, energy=two.energy * np.float32([0.02, 1, 1]))  # 0.04 MeV
    showers = cf.VoxelShowers.concatenate([soft[:1].project(GAPPED)] * 20)
    sample = Sample.of(showers)
    np.testing.assert_array_equal(sample.spectrum.below.sum(axis=1), np.ones(20))
    np.testing.assert_array_equal(sample.spectrum.counts.sum(axis=1), np.ones(20))
    np.testing.assert_array_equal(sample.caloclouds["n_hits"], np.ones(20))
    np.testing.assert_allclose(sample.caloclouds["cog_z"], 7)
    place = sample.spectrum.below.sum(axis=0).argmax()
    low, high = sample.spectrum.below_edges[place : place + 2]
    assert low <= 0.04 < high
    assert sample.spectrum.below_edges[-1] == pytest.approx(0.1)


@pytest.fixture(scope="module")
def scores(bundled_points):
    """As many other Geant4 clouds, and clouds moved by 1 mm, in the real cells."""
    first, second = bundled_points[:30], bundled_points[30:]
    return cf.evaluate(
        first, {"other": second, "moved": moved(first, 1.0)}, metrics=["caloclouds", "points"]
    )


def test_moved_clouds_are_moved_by_so_many_standard_deviations(bundled_points):
    geometry = geometry_preset("ild-30")
    known, shifted = bundled_points[:20], moved(bundled_points[:20], 1.0)
    reference = Sample.of(Projected(known, geometry))
    metric = PointDistance(reference, geometry.threshold)
    edges = reference.clouds.spectrum.edges
    sample = Sample.of(
        Projected(shifted, geometry), edges=reference.spectrum.edges, point_edges=edges
    )
    found = metric.compare(metric.columns(reference), metric.columns(sample), 0).values
    spread = point_features(known)["cog_x"].std(ddof=1)
    assert found["cog_x"] == pytest.approx(1 / spread, rel=1e-4)
    assert found["ring_energies"] > 0
    for same in ("cog_y", "cog_z", "n_points", "visible_energy", "layer_counts", "spectrum"):
        assert found[same] == pytest.approx(0, abs=1e-9)


def test_moved_clouds_leave_the_floor_where_they_are_looked_for(scores):
    for metric in ("points", "caloclouds"):
        assert scores[metric, "cog_x", "moved"].excess > 5
        assert scores[metric, "cog_y", "moved"].excess < 1


def test_other_clouds_stay_at_the_floor(scores):
    found = [s.excess for s in scores.values if s.candidate == "other" and np.isfinite(s.excess)]
    assert len(found) > 15
    assert np.median(np.abs(found)) < 2


def test_scores_of_points_are_those_of_their_cells_and_say_what_was_lost(scores, bundled_points):
    geometry = bundled_points.geometry
    cells = bundled_points[:30].project(geometry)
    found = cf.evaluate(
        cells, {"other": bundled_points[30:]}, geometry=geometry, metrics=["caloclouds"]
    )
    for value in found.values:
        assert value.value == pytest.approx(scores["caloclouds", value.observable, "other"].value)
    assert scores.reference.clouds is not None
    assert found.reference.clouds is None
    lost = scores.provenance["candidates"]["other"]
    assert lost["projected_into"] == "ild-ecal"
    other = bundled_points[30:]
    expected = other.lost(other.project(geometry)).mean()
    assert 0 < lost["energy_share_lost"] == pytest.approx(expected)


def test_metrics_suit_the_showers_without_being_asked(bundled_points):
    real, slabs = geometry_preset("ild-ecal"), geometry_preset("calochallenge-2")
    assert "points" in default_metrics(real, of_points=True)
    assert "caloclouds" in default_metrics(real)
    assert not {"points", "caloclouds"} & set(default_metrics(slabs))
    fitting = fitting_metrics(real)
    assert set(default_metrics(real)) <= set(fitting)
    assert not {"points", "calochallenge-low", "l2lflows-low", "adjacent-layers"} & set(fitting)
    assert set(fitting_metrics(slabs, of_points=True)) >= {"points", "calochallenge-low"}
    cells = bundled_points.project(real)
    for metric, reason in (("points", "compares point clouds"), ("calodream-low", "632,448")):
        with pytest.raises(ValueError, match=reason):
            cf.evaluate(cells, {"same": cells}, metrics=[metric])


def test_clouds_and_their_cells_are_kept_apart_and_come_back_whole(bundled_points):
    source = Projected(bundled_points[:5], geometry_preset("ild-30"))
    assert content_hash(source) != content_hash(source[:])
    assert content_hash(source) != content_hash(
        Projected(source.points, geometry_preset("ild-ecal"))
    )
    assert content_hash(source) == content_hash(dataclasses.replace(source))
    sample = Sample.of(source)
    again = unpack(pack(sample), source, sample.threshold)
    assert again.clouds is not None
    for name, values in sample.clouds.features.items():
        np.testing.assert_array_equal(again.clouds.features[name], values)
    for name, values in vars(sample.clouds.spectrum).items():
        np.testing.assert_array_equal(getattr(again.clouds.spectrum, name), values)
