"""Cells of condition: of equally many showers, without gaps, in words."""

from __future__ import annotations

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation.conditions import angles, find_cells


@pytest.fixture
def particles(rng):
    """Electrons and photons, of a continuous spectrum, at three angles."""
    angle = rng.choice([0, 0.2, 0.4], 6000)
    direction = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=1)
    energy = np.exp(rng.uniform(7, 11, 6000))
    return cf.Particles(energy, direction, rng.choice([11, 22], 6000))


ALL = {"kind": 1, "direction": 4, "energy": 5}


def test_every_particle_is_in_one_cell(particles):
    cells = find_cells(particles, ALL, fewest=100)
    assert len(cells) == 2 * 3 * 5
    rows = np.concatenate([cell.rows(particles) for cell in cells])
    assert np.array_equal(np.sort(rows), np.arange(6000))
    counts = np.array([len(cell.rows(particles)) for cell in cells]).reshape(6, 5)
    assert np.all(np.ptp(counts, axis=1) <= 1)  # equally many of a kind and angle


def test_particles_beyond_the_reference_are_in_the_outermost_cells(particles):
    cells = find_cells(particles[:100], {"energy": 3}, fewest=10)
    beyond = cf.Particles([1e-3, 1e9])
    assert [cell.rows(beyond).tolist() for cell in cells] == [[0], [], [1]]


def test_there_are_fewer_ranges_where_too_few_would_be_left(particles):
    assert len(find_cells(particles[:90], {"energy": 8}, fewest=20)) == 4
    assert len(find_cells(particles[:9], {"energy": 8}, fewest=20)) == 1


def test_each_of_few_different_energies_has_a_cell():
    particles = cf.Particles(np.repeat([1e4, 5e4, 9e4], [10, 90, 50]))
    cells = find_cells(particles, {"energy": 8}, fewest=5)
    assert [cell.label for cell in cells] == ["10 GeV", "50 GeV", "90 GeV"]
    assert [len(cell.rows(particles)) for cell in cells] == [10, 90, 50]


def test_cells_say_what_is_in_them(particles):
    label = find_cells(particles, ALL, fewest=100)[5].label
    assert label.startswith("electrons, 11.5°, ")
    assert find_cells(particles, {"energy": 1}, fewest=1)[0].label.endswith(" GeV")


def test_angles_are_those_to_the_depth(particles):
    x, _, z = particles.direction.T
    assert angles(particles) == pytest.approx(np.degrees(np.arctan(x / z)), abs=1e-4)
