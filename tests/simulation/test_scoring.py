"""Steps made by hand, and the voxels that they belong to."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from caloforge.geometry import CartesianLayer, Geometry, PolarLayer, SensorLayer
from caloforge.showers import VoxelShowers
from caloforge.simulation import Detector, Fixed, Gun, Plate, Steps, score, share_outside

GUN = Gun("e-", Fixed(1e3))
POLAR = PolarLayer((0.0, 10.0, 20.0), 4)
Layer = PolarLayer | CartesianLayer | SensorLayer
SQUARE = CartesianLayer((-10.0, 0.0, 10.0), (-20.0, -10.0, 0.0))


def detector(layer: Layer = POLAR, **options: object) -> Detector:
    geometry = Geometry("test", (layer,) * 3, (1.0, 2.0, 3.0), 0.5)
    plates = tuple(Plate("Si", 1.0, layer=i) for i in range(3))
    return Detector(plates, geometry, **options)  # type: ignore[arg-type]


def steps(*rows: tuple[int, int, float, float, float]) -> Steps:
    """Steps of (event, layer, x, y, energy)."""
    event, layer, x, y, energy = (np.array(column) for column in zip(*rows, strict=True))
    return Steps(event, layer, np.stack([x, y, layer + 0.5], axis=1), energy.astype(np.float64))


def inc(n: int) -> np.ndarray:
    return np.full(n, 1e3, np.float32)


def test_a_step_goes_to_the_voxel_around_it() -> None:
    # (-1, -1) lies in the first quarter, which begins at alpha = -pi; (1, 12) in the third one.
    made = score(steps((0, 0, -1.0, -1.0, 2.0), (0, 2, 1.0, 12.0, 3.0)), inc(1), detector(), GUN)
    expected = np.zeros((1, 3, 4, 2))
    expected[0, 0, 0, 0] = 2.0
    expected[0, 2, 2, 1] = 3.0
    np.testing.assert_array_equal(made.dense(), expected)


def test_steps_in_one_voxel_add_up_event_by_event() -> None:
    made = score(
        steps((0, 1, 5.0, 1.0, 1.0), (2, 1, 5.0, 1.0, 4.0), (0, 1, 6.0, 2.0, 2.0)),
        inc(3),
        detector(),
        GUN,
    )
    np.testing.assert_array_equal(made.layer_energies()[:, 1], [3.0, 0.0, 4.0])
    assert made.offset.tolist() == [0, 1, 1, 2]


def test_energies_are_divided_by_the_sampling_fraction_before_the_threshold() -> None:
    hits = steps((0, 0, 1.0, 1.0, 0.06), (0, 0, -1.0, 1.0, 0.04))
    made = score(hits, inc(1), detector(sampling_fraction=0.1), GUN)
    np.testing.assert_allclose(made.energy, [0.6])
    everything = score(hits, inc(1), detector(sampling_fraction=0.1, threshold=0.0), GUN)
    np.testing.assert_allclose(np.sort(everything.energy), [0.4, 0.6])


def test_the_threshold_applies_to_the_sum_of_a_voxel() -> None:
    hits = steps((0, 0, 1.0, 1.0, 0.3), (0, 0, 2.0, 1.0, 0.3))
    np.testing.assert_allclose(score(hits, inc(1), detector(), GUN).energy, [0.6])


def test_what_lies_outside_all_voxels_is_lost() -> None:
    hits = steps((0, 0, 20.0, 0.0, 1.0), (0, 0, 19.999, 0.0, 1.0), (0, 0, 300.0, 0.0, 1.0))
    assert score(hits, inc(1), detector(), GUN).total_energy().tolist() == [1.0]
    assert share_outside(hits, 2, detector(), GUN).tolist() == [2 / 3, 0.0]


def test_a_gap_between_sensors_lies_inside_the_volume_and_what_is_below_threshold_too() -> None:
    sensors = SensorLayer((-3.0, 1.0), (-2.0,), 2, 1.0)  # a gap from -1 to 1
    in_gap, soft, beside = (0, 0, 0, -1, 1.0), (0, 1, 1.5, -1, 0.1), (0, 2, 3.5, -1, 0.9)
    hits = steps(in_gap, soft, beside)
    gapped = detector(sensors, axis="detector")
    assert len(score(hits, inc(1), gapped, GUN).energy) == 0
    assert share_outside(hits, 1, gapped, GUN).tolist() == pytest.approx([0.45])


def test_no_steps_make_empty_showers() -> None:
    nothing = Steps(
        np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0, np.float64)
    )
    made = score(nothing, inc(4), detector(), GUN)
    assert len(made) == 4
    assert made.total_energy().tolist() == [0.0] * 4


def on_a_line(gun: Gun, x: float, y: float) -> Steps:
    """One step in each layer, x and y from the line of flight in the gun's transverse frame."""
    across, upward = gun.transverse_axes()
    flight = np.array(gun.position) + np.outer([20.0, 40.0, 60.0], gun.direction)
    return Steps(np.zeros(3, int), np.arange(3), flight + x * across + y * upward, np.ones(3))


@pytest.mark.parametrize("direction", [(0, 0, 1), (0.5, 0, 1), (-0.2, 0.7, 0.4)])
def test_voxels_around_the_particle_follow_its_flight(
    direction: tuple[float, float, float],
) -> None:
    gun = Gun("e-", Fixed(1e3), position=(3.0, -4.0, -1.0), direction=direction)
    made = score(on_a_line(gun, 1.0, 12.0), inc(1), detector(), gun)
    expected = np.zeros((1, 3, 4, 2))
    expected[0, :, 2, 1] = 1.0
    np.testing.assert_array_equal(made.dense(), expected)


def test_voxels_of_the_detector_stay_where_they_are() -> None:
    gun = Gun("e-", Fixed(1e3), position=(3.0, -12.0, -1.0), direction=(0.5, 0.0, 1.0))
    fixed = detector(SQUARE, axis="detector")
    hits = steps((0, 1, -5.0, -15.0, 1.0), (0, 1, 5.0, -5.0, 2.0))
    made = score(hits, inc(1), fixed, gun)
    np.testing.assert_array_equal(made.dense()[0, 1], [[1.0, 0.0], [0.0, 2.0]])
    moved = score(hits, inc(1), dataclasses.replace(fixed, axis="particle"), gun)
    assert not np.array_equal(moved.dense(), made.dense())
    for showers, direction in ((made, gun.direction), (moved, (0.0, 0.0, 1.0))):
        assert showers.direction == pytest.approx(np.array([direction]))
        assert showers.pdg.tolist() == [11]


def test_a_batch_scores_like_its_events_one_by_one(rng: np.random.Generator) -> None:
    n = 500
    many = Steps(
        rng.integers(0, 5, n), rng.integers(0, 3, n), rng.normal(0, 8, (n, 3)), rng.gamma(1, 1, n)
    )
    together = score(many, inc(5), detector(), GUN)
    alone = []
    for i in range(5):
        own = many.event == i
        part = Steps(many.event[own] * 0, many.layer[own], many.position[own], many.energy[own])
        alone.append(score(part, inc(1), detector(), GUN))
    np.testing.assert_allclose(together.dense(), VoxelShowers.concatenate(alone).dense(), rtol=1e-6)
