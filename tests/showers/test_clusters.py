"""Points that lie around one of high energy are one cluster, and nothing is lost in them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from caloforge.geometry import geometry_preset
from caloforge.showers import ClusteredShowers, PointShowers, clustered

GEOMETRY = geometry_preset("ild-ecal")


def cloud(x, y, layer, energy, offset=None) -> PointShowers:
    offset = [0, len(x)] if offset is None else offset
    x, y = np.asarray(x, dtype=np.float32), np.asarray(y, dtype=np.float32)
    return PointShowers([1e4] * (len(offset) - 1), offset, x, y, layer, energy, GEOMETRY)


def members_of(clusters: ClusteredShowers, number: int) -> np.ndarray:
    begin = clusters.first[number]
    return clusters.members[begin : begin + clusters.size[number]]


def test_points_follow_the_highest_within_reach():
    # energies rise to 5 and, after a valley, to 4; the last point is out of reach
    clusters = clustered(cloud(range(7), [0] * 7, [3] * 7, [1, 2, 5, 1, 4, 2, 0.5]), 1.1, 12)
    assert clusters.size.tolist() == [4, 3]
    assert members_of(clusters, 0)[:, 0].tolist() == [0, 1, 2, 3]
    assert clusters.energy.tolist() == [9, 6.5]
    assert clusters.x[0] == pytest.approx((2 + 10 + 3) / 9)
    assert clusters.layer.tolist() == [3, 3]


def test_other_layers_and_showers_are_not_seen():
    x = [0.0, 0.0, 0.0, 0.1]
    clusters = clustered(cloud(x, x, [0, 1, 0, 0], [1, 2, 3, 4], [0, 2, 4]), 5.0, 12)
    assert clusters.offset.tolist() == [0, 2, 3]
    assert clusters.energy.tolist() == [1, 2, 7]


def test_points_of_like_energy_find_one_head():
    clusters = clustered(cloud([0, 1, 2, 3], [0] * 4, [0] * 4, [1.0] * 4), 1.1, 12)
    assert clusters.size.sum() == 4
    assert len(clusters.size) == 1


def test_points_without_energy_lie_at_their_head():
    clusters = clustered(cloud([3.0, 9.0], [1.0, 1.0], [0, 0], [0.0, 0.0]), 1.0, 12)
    assert clusters.x.tolist() == [3, 9]
    assert clusters.energy.tolist() == [0, 0]


def test_an_empty_shower_stays_empty():
    empty = PointShowers([1e4], [0, 0], [], [], [], [], GEOMETRY)
    assert len(clustered(empty, 1.0, 12)) == 1
    assert len(clustered(empty[:0], 1.0, 12)) == 0


def test_clusters_of_too_many_members_are_split():
    points = cloud(range(7), [0] * 7, [3] * 7, [1, 2, 5, 1, 4, 2, 0.5])
    clusters = clustered(points, 1.1, 3)
    assert clusters.size.tolist() == [1, 1, 1, 1, 3]
    assert clusters.energy.tolist() == [1, 2, 5, 1, 6.5]


@pytest.mark.parametrize(
    ("reach", "largest"), [(0.0, 1), (-1.0, 1), (np.nan, 1), (np.inf, 1), (2, 0)]
)
def test_a_reach_that_is_no_distance_is_refused(reach, largest, bundled_points):
    with pytest.raises(ValueError, match="clusters need a reach above 0"):
        clustered(bundled_points, reach, largest)


PLACES = arrays(
    np.float32, st.tuples(st.integers(0, 40), st.just(2)), elements=st.floats(-5, 5, width=32)
)


@settings(deadline=None, max_examples=30)
@given(PLACES, st.floats(0.1, 5))
def test_every_point_is_a_member_of_one_cluster(places, reach):
    n = len(places)
    showers = cloud(*places.T, [n_ % 2 for n_ in range(n)], np.arange(n) % 5 + 1.0)
    clusters = clustered(showers, reach, 12)
    assert clusters.size.sum() == n
    columns = np.stack([showers.x, showers.y, showers.energy], 1)
    assert sorted(map(tuple, clusters.members)) == sorted(map(tuple, columns))
    assert clusters.total_energy() == pytest.approx(showers.total_energy(), rel=1e-5)


def test_real_clusters_keep_energies_and_centres_of_gravity(bundled_points):
    def sums_of_layers(showers, weight):
        plane = showers.event() * 30 + showers.layer
        return np.bincount(plane, showers.energy.astype(np.float64) * weight, 60 * 30)

    clusters = clustered(bundled_points, 2.0, 12)
    assert 0.5 < len(clusters.energy) / len(bundled_points.energy) < 0.65
    assert clusters.size.max() == 12
    for one, other in (
        (1, 1),
        (clusters.x, bundled_points.x),
        (clusters.y, bundled_points.y),
    ):
        kept, expected = sums_of_layers(clusters, one), sums_of_layers(bundled_points, other)
        assert kept == pytest.approx(expected, abs=1e-3, rel=1e-5)


def test_selected_and_joined_showers_find_their_members(bundled_points):
    clusters = clustered(bundled_points[:8], 2.0, 12)
    chosen = clusters[[5, 2]]
    again = clustered(bundled_points[[5, 2]], 2.0, 12)
    for number in (0, 40, len(chosen.size) - 1):
        assert np.array_equal(members_of(chosen, number), members_of(again, number))
    joined = ClusteredShowers.concatenate([clusters[3:4], again])
    behind = len(clusters[3:4].size)
    assert np.array_equal(members_of(joined, behind + 7), members_of(again, 7))
    assert len(joined) == 3


def test_runs_beyond_the_members_are_refused(bundled_points):
    clusters = clustered(bundled_points[:1], 2.0, 12)
    for change in ({"size": clusters.size * 0}, {"first": clusters.first + 10**6}):
        with pytest.raises(ValueError, match="every cluster needs 1 member or more among the"):
            dataclasses.replace(clusters, **change)


def test_showers_that_are_clustered_together_or_apart_are_the_same(bundled_points, monkeypatch):
    whole = clustered(bundled_points, 2.0, 12)
    monkeypatch.setattr("caloforge.showers.clusters.AT_ONCE", 10_000)
    parts = clustered(bundled_points, 2.0, 12)
    assert np.array_equal(parts.offset, whole.offset)
    for name in (*whole.columns, "members"):
        assert np.array_equal(getattr(parts, name), getattr(whole, name))
