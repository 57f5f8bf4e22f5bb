"""Bins of one layer: half-open, alpha from -pi, r or y fastest."""

from __future__ import annotations

import numpy as np
import pytest

from caloforge.geometry import CartesianLayer, PolarLayer

RINGS = PolarLayer((0.0, 1.0, 3.0), 4)
CELLS = CartesianLayer((-2.0, 0.0, 1.0), (0.0, 1.0, 2.0, 4.0))


def _polar(r: float, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array([r * np.cos(alpha)]), np.array([r * np.sin(alpha)])


def test_polar_bins_run_through_r_first_and_then_from_minus_pi_through_alpha():
    # The four quadrants from -pi; two rings each.
    order = [(0.5, -0.75), (2.0, -0.75), (0.5, -0.25), (2.0, -0.25), (0.5, 0.25), (2.0, 0.25)]
    found = [RINGS.find(*_polar(r, turn * np.pi))[0] for r, turn in order]
    assert found == [0, 1, 2, 3, 4, 5]


def test_cartesian_cells_run_through_y_first():
    x, y = CELLS.centres()
    assert x.tolist() == [-1, -1, -1, 0.5, 0.5, 0.5]
    assert y.tolist() == [0.5, 1.5, 3, 0.5, 1.5, 3]
    assert CELLS.find(x, y).tolist() == [0, 1, 2, 3, 4, 5]


def test_polar_centres_lie_in_the_middle_of_r_and_alpha():
    x, y = RINGS.centres()
    assert np.hypot(x, y) == pytest.approx(np.tile([0.5, 2.0], 4))
    assert RINGS.radii() == pytest.approx(np.tile([0.5, 2.0], 4))
    alpha = np.repeat(np.pi * np.array([-0.75, -0.25, 0.25, 0.75]), 2)
    assert np.arctan2(y, x) == pytest.approx(alpha)


def test_a_bin_holds_its_lower_border_and_not_its_upper_one():
    zero = np.zeros(1)
    assert RINGS.find(np.array([1.0]), zero) - RINGS.find(np.array([0.999]), zero) == 1
    assert RINGS.find(np.array([3.0]), zero) == -1
    below = np.nextafter(3.0, 0.0)
    assert RINGS.find(np.array([below]), zero) >= 0
    assert CELLS.find(
        np.array([-2.0, 0.0, 1.0, -2.0]), np.array([0.0, 1.0, 0.0, 4.0])
    ).tolist() == [
        0,
        4,
        -1,
        -1,
    ]


def test_alpha_of_pi_is_alpha_of_minus_pi():
    x = np.array([-0.5, -0.5])
    assert RINGS.find(x, np.array([0.0, -0.0])).tolist() == [0, 0]


@pytest.mark.parametrize("layer", [RINGS, CELLS])
def test_what_is_no_place_is_outside(layer):
    x, y = np.array([np.nan, 0.5, np.inf, -np.inf]), np.array([0.5, np.nan, 0.5, 0.5])
    assert layer.find(x, y).tolist() == [-1, -1, -1, -1]


def test_cartesian_radii_are_measured_from_the_impact_point():
    assert CELLS.radii() == pytest.approx(np.hypot(*CELLS.centres()))


def test_the_middle_cells_keep_their_borders():
    layer = CartesianLayer(range(-3, 4), (-4.0, -2.0, 0.0, 5.0))
    assert layer.crop(2, 1) == CartesianLayer((-1, 0, 1), (-2, 0))
    assert layer.crop(*layer.shape) == layer


@pytest.mark.parametrize("size", [(3, 3), (2, 2), (8, 3), (0, 1), (6, 5), (-2, 1)])
def test_cells_that_have_no_place_in_the_middle_are_refused(size):
    layer = CartesianLayer(range(-3, 4), (-4.0, -2.0, 0.0, 5.0))
    with pytest.raises(ValueError, match=r"no place in the middle of 6 x 3: choose numbers that"):
        layer.crop(*size)


@pytest.mark.parametrize("edges", [(), (1.0,), (0.0, 0.0), (0.0, 2.0, 1.0), (0.0, float("nan"))])
def test_edges_must_increase(edges):
    with pytest.raises(ValueError, match=r"r_edges must be at least two increasing numbers \[mm\]"):
        PolarLayer(edges, 1)
    with pytest.raises(ValueError, match="y_edges must be at least two increasing numbers"):
        CartesianLayer((0.0, 1.0), edges)


@pytest.mark.parametrize("n_alpha", [0, -1, 1.5])
def test_alpha_is_cut_into_a_whole_number_of_bins(n_alpha):
    with pytest.raises(ValueError, match="n_alpha must be a whole number, 1 or more, got"):
        PolarLayer((0.0, 1.0), n_alpha)


def test_a_radius_is_never_negative():
    with pytest.raises(ValueError, match="must not be negative"):
        PolarLayer((-1.0, 1.0), 1)


def test_layers_of_the_same_numbers_are_equal_whatever_type_the_numbers_had():
    assert PolarLayer(np.array([0, 1, 3]), np.int64(4)) == RINGS  # type: ignore[arg-type]
