"""Steps made by hand and simulated ones, and the points that they become."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import caloforge as cf
from caloforge import data
from caloforge.geometry import CartesianLayer, Geometry
from caloforge.simulation import Clustering, Detector, Fixed, Gun, Plate, Steps, cluster
from caloforge.simulation.clustering import points_of

SQUARE = CartesianLayer((-100.0, 0.0, 100.0), (-100.0, 0.0, 100.0))
ENERGY_INC = np.full(2, 1e3, np.float32)


def detector(**options: object) -> Detector:
    geometry = Geometry("test", (SQUARE,) * 2, (1.0, 2.0), 0.5)
    plates = tuple(Plate("Si", 1.0, layer=i) for i in range(2))
    return Detector(plates, geometry, **options)  # type: ignore[arg-type]


def steps(*rows: tuple[int, int, float, float, float]) -> Steps:
    """Steps of (event, layer, x, y, energy), in the plane z = 0."""
    event, layer, x, y, energy = (np.array(column) for column in zip(*rows, strict=True))
    position = np.stack([x, y, np.zeros(len(x))], axis=1)
    return Steps(event, layer, position, energy.astype(np.float64))


def points(*rows: tuple[int, int, float, float, float]) -> cf.PointShowers:
    return points_of(steps(*rows), ENERGY_INC, detector(), Gun("gamma", Fixed(1e3)))


def rows(found: cf.PointShowers) -> list[tuple[float, ...]]:
    columns = found.event(), found.layer, found.x, found.y, found.energy
    return [tuple(round(float(v), 6) for v in row) for row in zip(*columns, strict=True)]


@pytest.fixture(scope="module")
def clouds(geant4_data: Path) -> cf.PointShowers:
    """Every step of three photons."""
    return cf.simulate("ild-30", energy=5e3, n=3, points=True, pitch=None, box=np.inf, seed=3)


# ---------------------------------------------------------------- steps


def test_steps_come_shower_by_shower_and_layer_by_layer() -> None:
    found = points((1, 1, 3.0, 4.0, 0.5), (0, 1, 1.0, 0.0, 2.0), (0, 0, 5.0, 0.0, 1.0))
    assert rows(found) == [(0, 0, 5, 0, 1), (0, 1, 1, 0, 2), (1, 1, 3, 4, 0.5)]


def test_steps_without_energy_are_no_points() -> None:
    assert rows(points((0, 0, 1.0, 1.0, 0.0), (1, 0, 2.0, 2.0, 1.0))) == [(1, 0, 2, 2, 1)]


def test_energies_are_divided_by_the_sampling_fraction_and_not_cut() -> None:
    gun, found = Gun("gamma", Fixed(1e3)), steps((0, 0, 1.0, 1.0, 0.01))
    made = points_of(found, ENERGY_INC, detector(sampling_fraction=0.1), gun)
    assert made.energy == pytest.approx([0.1])  # the threshold of the voxels is 0.5


def test_positions_count_from_where_the_particle_meets_the_front() -> None:
    gun = Gun("gamma", Fixed(1e3), position=(3.0, -4.0, -2.0), direction=(0.5, 0.0, 1.0))
    placed = detector(axis="detector")
    made = points_of(steps((0, 0, 4.0, -4.0, 1.0)), ENERGY_INC, placed, gun)
    assert (made.x.tolist(), made.y.tolist()) == ([0.0], [0.0])
    np.testing.assert_allclose(made.direction, [gun.direction] * 2, rtol=1e-6)


def test_positions_of_voxels_that_follow_the_particle_count_from_its_flight() -> None:
    gun = Gun("gamma", Fixed(1e3), position=(3.0, -4.0, -1.0), direction=(0.5, 0.2, 1.0))
    across, upward = gun.transverse_axes()
    place = np.array(gun.position) + 20 * np.array(gun.direction) + 2 * across - 7 * upward
    made = points_of(
        Steps(np.zeros(1, int), np.zeros(1, int), place[None], np.ones(1)),
        ENERGY_INC,
        detector(),
        gun,
    )
    assert (*made.x, *made.y) == pytest.approx((2.0, -7.0))
    np.testing.assert_array_equal(made.direction, [[0, 0, 1]] * 2)


# ---------------------------------------------------------------- clusters


def test_points_of_one_grid_cell_are_one_in_its_middle() -> None:
    found = points((0, 0, 0.1, 0.1, 1.0), (0, 0, 0.9, 0.2, 2.0), (0, 0, -0.1, 0.1, 4.0))
    assert rows(cluster(found, 1.0)) == [(0, 0, -0.5, 0.5, 4), (0, 0, 0.5, 0.5, 3)]


def test_layers_and_showers_stay_apart() -> None:
    found = points(*((event, layer, 0.1, 0.1, 1.0) for event in (0, 1) for layer in (0, 1)))
    assert rows(cluster(found, 1.0)) == [
        (event, layer, 0.5, 0.5, 1) for event in (0, 1) for layer in (0, 1)
    ]


def test_a_grid_may_have_its_corner_elsewhere_in_every_shower() -> None:
    found = points((0, 0, 0.1, 0.1, 1.0), (1, 0, 0.1, 0.1, 1.0))
    made = cluster(found, 1.0, [(0.0, 0.0), (0.2, -0.3)])
    assert rows(made) == [(0, 0, 0.5, 0.5, 1), (1, 0, -0.3, 0.2, 1)]


def test_clustering_keeps_the_energy_of_every_layer(clouds: cf.PointShowers) -> None:
    clusters = cluster(clouds, 5 / 6)
    assert len(clusters.energy) < len(clouds.energy) / 2
    for layer in range(30):
        whole, kept = (
            np.bincount(p.event(), p.energy * (p.layer == layer), 3) for p in (clouds, clusters)
        )
        np.testing.assert_allclose(kept, whole, rtol=1e-5)


def test_a_point_lies_at_most_half_a_pitch_from_its_steps(clouds: cf.PointShowers) -> None:
    """So that centres of gravity move by less, and clustering twice changes nothing."""
    clusters = cluster(clouds, 5 / 6)
    for axis in ("x", "y"):
        middles = [
            np.bincount(p.event(), p.energy * getattr(p, axis)) / p.total_energy()
            for p in (clouds, clusters)
        ]
        assert np.abs(middles[0] - middles[1]).max() < 5 / 12
    again = cluster(clusters, 5 / 6)
    for name in ("offset", *cf.PointShowers.columns):
        np.testing.assert_array_equal(getattr(again, name), getattr(clusters, name))


def test_the_grid_is_that_of_the_sample_beside_the_repository(shared_data: Path) -> None:
    """Its points are the middles of cells, and alone in them."""
    with data.open_points(shared_data / "photons-10-100GeV_ild-ecal_points_test.h5") as file:
        few = file[:5]
    again = cluster(few, 5 / 6)
    assert len(again.energy) == len(few.energy)
    np.testing.assert_allclose(np.sort(again.x), np.sort(few.x), atol=1e-4)
    np.testing.assert_allclose(again.total_energy(), few.total_energy(), rtol=1e-6)


# ---------------------------------------------------------------- the box


def test_what_lies_outside_the_box_is_discarded_and_reported() -> None:
    found = points((0, 0, 9.0, 0.0, 3.0), (0, 1, 0.0, -11.0, 1.0))
    kept, outside = Clustering(None, box=10.0).apply(found, np.zeros((2, 2)))
    assert rows(kept) == [(0, 0, 9, 0, 3)]
    assert outside.tolist() == [0.25, 0.0]


def test_a_random_grid_is_another_one_in_every_shower(rng: np.random.Generator) -> None:
    corners = Clustering(0.5, random_grid=True).corners(100, rng)
    assert ((corners >= 0) & (corners < 0.5)).all()
    assert len(np.unique(corners)) == 200
    assert not Clustering(0.5).corners(100, rng).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pitch": 0.0}, "pitch must be the width of a cell"),
        ({"pitch": np.inf}, "pitch must be the width of a cell"),
        ({"box": -1.0}, "box must be half a width above 0"),
        ({"pitch": None, "random_grid": True}, "have no grid"),
    ],
)
def test_a_clustering_that_makes_no_sense_is_refused(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Clustering(), **change)  # type: ignore[arg-type]
