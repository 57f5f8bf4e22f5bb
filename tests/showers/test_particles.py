"""Incident particles: what they may be, and that they stay with their showers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import caloforge as cf
from caloforge.geometry import Coarsening, geometry_preset
from caloforge.pdg import PDG_CODES, kinds_of, particle_name, pdg_code
from caloforge.showers import ImpossibleShowerError, Particles, clustered

ENERGIES = np.float32([1e3, 2e3, 5e4])


def mixed(showers):
    """The same showers as if each were of another kind and direction."""
    angle = np.linspace(0, 0.7, len(showers), dtype=np.float32)
    direction = np.stack([0 * angle, np.sin(angle), np.cos(angle)], axis=1)
    codes = np.resize(list(PDG_CODES.values()), len(showers))
    return dataclasses.replace(showers, direction=direction, pdg=codes)


def assert_same(particles, expected):
    for name in ("energy", "direction", "pdg"):
        np.testing.assert_array_equal(getattr(particles, name), getattr(expected, name))


def test_energies_alone_are_of_particles_along_the_depth_of_no_known_kind():
    particles = Particles(ENERGIES)
    assert particles.direction.tolist() == [[0, 0, 1]] * 3
    assert particles.pdg.tolist() == [0, 0, 0]
    assert (particles.kinds, particles.are_along_depth) == ((), True)
    assert Particles.of(particles) is particles
    assert_same(Particles.of(ENERGIES.tolist()), particles)


def test_one_direction_and_one_kind_are_those_of_all():
    particles = Particles(ENERGIES, direction=[0.6, 0.0, 0.8], pdg="gamma")
    assert particles.direction == pytest.approx(np.tile([0.6, 0.0, 0.8], (3, 1)))
    assert particles.pdg.tolist() == [22, 22, 22]
    assert (particles.kinds, particles.are_along_depth) == ((22,), False)
    assert repr(particles) == "Particles(3 photons of 1000 to 5e+04 MeV)"


def test_rows_are_selected_and_joined():
    particles = Particles(ENERGIES, np.eye(3, dtype=np.float32), [11, 22, -211])
    assert_same(Particles.concatenate([particles[:1], particles[[1]], particles[2:]]), particles)
    assert_same(particles[particles.pdg < 0], particles[2])
    with pytest.raises(IndexError):
        particles[3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy": [[1e3]]}, r"energy_inc must have shape \(n,\)"),
        ({"energy": [1e3, 0.0, 1.0]}, "shower 1: energy_inc must be finite and above 0"),
        ({"direction": [0.0, 1.0]}, r"direction must have shape \(3,\)"),
        ({"direction": [0.0, 0.0, 2.0]}, "vectors of length 1, got lengths from 2 to 2"),
        ({"direction": [0.0, 0.0, np.nan]}, "vectors of length 1"),
        ({"pdg": [11, 22]}, r"pdg must have shape \(\) for all showers or \(3,\)"),
        ({"pdg": 11.5}, "whole numbers"),
        ({"pdg": np.nan}, "whole numbers"),
        ({"pdg": 2**40}, "whole numbers"),
        ({"pdg": "boson"}, "no particle 'boson' here: .* e-, e\\+"),
    ],
)
def test_impossible_particles_are_refused(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        Particles(**{"energy": ENERGIES, **change})
    assert isinstance(caught.value, ImpossibleShowerError) == ("shower 1" in message)


def test_names_and_codes_of_particles():
    assert {"e-": 11, "e+": -11, "mu-": 13, "gamma": 22, "pi+": 211}.items() <= PDG_CODES.items()
    assert {"pi-": -211, "kaon+": 321, "proton": 2212}.items() <= PDG_CODES.items()
    for name, code in PDG_CODES.items():
        assert (particle_name(code), pdg_code(name), pdg_code(str(code))) == (name, code, code)
    assert particle_name(1000020040) == "1000020040"  # an alpha particle
    with pytest.raises(ValueError, match="not known"):
        particle_name(0)


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        ([11], "electrons"),
        ([22, 11, 22], "electrons and photons"),
        ([0, 11], "electrons and particles of no known kind"),
        ([0], "particles"),
        ([], "particles"),
        ([1000020040], "particles of code 1000020040"),
        (PDG_CODES.values(), "particles of 16 kinds"),
    ],
)
def test_the_words_for_many_particles(codes, words):
    assert kinds_of(codes) == words


def test_particles_stay_with_their_voxels(bundled):
    showers = mixed(bundled[:20])
    chosen = [7, 3, 19]
    assert_same(showers[chosen].particles, showers.particles[chosen])
    assert_same(showers[4:9].particles, showers.particles[4:9])
    joined = type(showers).concatenate([showers[:3], bundled[:2]])
    assert_same(joined.particles[:3], showers.particles[:3])
    assert_same(joined.particles[3:], bundled.particles[:2])
    coarsening = Coarsening(showers.geometry, (5, 2, 1))
    assert_same(showers.coarsen(coarsening).particles, showers.particles)
    assert_same(showers.above(1.0).particles, showers.particles)
    again = type(showers).from_dense(
        dense=showers.dense(), geometry=showers.geometry, **showers.of_particles()
    )
    assert_same(again.particles, showers.particles)


def test_particles_stay_with_their_points(bundled_points):
    clouds = mixed(bundled_points[:6])
    cells = clouds.project(geometry_preset("ild-30"))
    core, _ = cells.crop(geometry_preset("ild-core"))
    for made in (cells, core, clouds.within(20.0), clustered(clouds, 2.0, 8)):
        assert_same(made.particles, clouds.particles)


def test_a_shower_that_is_turned_has_its_direction_turned(bundled_points):
    clouds, angle = mixed(bundled_points[:6]), np.linspace(0, 3, 6)
    turned = clouds.project(geometry_preset("ild-30"), angle=angle).direction
    _, sin, cos = clouds.direction.T
    expected = np.stack([-sin * np.sin(angle), sin * np.cos(angle), cos], axis=1)
    assert turned == pytest.approx(expected, abs=1e-6)


def test_the_bundled_showers_know_their_particles(bundled, bundled_points):
    assert (bundled.particles.kinds, bundled_points.particles.kinds) == ((11,), (22,))
    assert cf.Particles is Particles
