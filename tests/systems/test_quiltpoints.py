"""Quilt makes clouds of points of the layers of others, turned by any angle."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import caloforge as cf
from caloforge.cascade.seeds import Seeds
from caloforge.showers import Particles, PointShowers
from caloforge.stages import pointpatterns
from caloforge.stages.patternbank import PatternBank
from caloforge.stages.patternrows import layers_of
from caloforge.stages.patternstates import PatternWeights
from caloforge.stages.quilting import TURN, write_points

BORDER = 0.02  # mm, of the rounding of positions


def bank(
    showers: PointShowers,
    neighbours: int = 1,
    *,
    symmetric: bool = True,
    steps: int = 0,
    mirror: int = 1,
) -> PatternBank:
    """A bank of showers, mirrored across the y axis and turned by so many steps of a turn."""
    rows = pointpatterns.rows(showers)
    rows["azimuth"] = (mirror * rows["azimuth"].astype(int) + steps).astype(np.int16)
    detector = pointpatterns.detector(rows, showers.geometry.n_layers, symmetric=symmetric)
    hits = layers_of(rows, "radius")
    return PatternBank(hits, showers.particles, detector, neighbours, PatternWeights())


def turned(showers: PointShowers, angle: float, mirror: int = 1) -> PointShowers:
    """The same showers, mirrored across the y axis and turned [radian]."""
    places, directions = (
        _turned(x, y, angle, mirror)
        for x, y in ((showers.x, showers.y), (showers.direction[:, 0], showers.direction[:, 1]))
    )
    direction = np.stack([*directions, showers.direction[:, 2]], 1)
    return replace(showers, x=places[0], y=places[1], direction=direction)


def _turned(x: np.ndarray, y: np.ndarray, angle: float, mirror: int) -> tuple[np.ndarray, ...]:
    z = (x + 1j * mirror * y.astype(float)) * np.exp(1j * angle)
    return z.real, z.imag


def remade(
    bank: PatternBank, energies: np.ndarray, particles: Particles, u: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Position [mm] and energy [MeV] of points, in the order of the bank's.

    Positions are those beside the line on which the particle flies.
    """
    numbers = np.full((len(energies), energies.shape[1] + 1), u, np.float32)
    showers, elements = bank.choose(energies, particles, numbers)
    counts = np.diff(bank.quilt.bank.first).reshape(-1, energies.shape[1])
    chosen = counts[showers, np.arange(energies.shape[1])] * (showers >= 0)
    made = np.zeros((chosen.sum(), 4))
    write_points(bank.quilt, energies.astype(float), showers, elements, made)
    return made[:, :2], made[:, 3]


def in_order(showers: PointShowers) -> PointShowers:
    """The same showers with points in the order of layers."""
    order = np.argsort(showers.plane(), kind="stable")
    return replace(showers, **{name: getattr(showers, name)[order] for name in showers.columns})


def test_positions_and_energies_are_kept_to_their_rounding(bundled_points: PointShowers) -> None:
    showers = in_order(bundled_points)
    place, energy = remade(
        bank(showers, symmetric=False), showers.layer_energies(), showers.particles
    )
    np.testing.assert_allclose(place, np.stack([showers.x, showers.y], 1), atol=BORDER)
    np.testing.assert_allclose(energy, showers.energy, rtol=5e-2)


def test_a_shower_of_the_bank_is_its_own_nearest(bundled_points: PointShowers) -> None:
    """Along all layers, as soon as the first is its own; turned as a whole."""
    showers = in_order(bundled_points)
    place, energy = remade(bank(showers), showers.layer_energies(), showers.particles, u=0.3)
    np.testing.assert_allclose(energy, showers.energy, rtol=5e-2)
    for begin, end in pairwise(showers.offset):
        made = place[begin:end] @ (1, 1j)
        known = showers.x[begin:end] + 1j * showers.y[begin:end]
        weight = showers.energy[begin:end]
        along = max(abs(np.sum(weight * made * image)) for image in (known, known.conj()))
        assert along == pytest.approx(np.sum(weight * abs(known) ** 2), rel=1e-2)


@pytest.mark.parametrize("mirror", [1, -1])
def test_a_turned_bank_makes_the_same_showers_turned(
    mirror: int, bundled_points: PointShowers
) -> None:
    straight = bank(bundled_points[:-20])
    other = bank(bundled_points[:-20], steps=12_345, mirror=mirror)
    alike = []
    for i in range(len(bundled_points) - 20, len(bundled_points)):
        asked = bundled_points[i : i + 1]
        energies = asked.layer_energies()
        place, energy = remade(straight, energies, asked.particles)
        there, same = remade(other, energies, asked.particles)
        moved = np.stack(_turned(*place.T, 2 * np.pi * 12_345 / TURN, mirror), 1)
        alike.append(
            len(same) == len(energy)
            and np.allclose(same, energy, rtol=1e-5)
            and np.mean(np.abs(there - moved) < 5 * BORDER) > 0.8
        )
    # Frames are rotated in whole steps: of two layers that fit alike another may be chosen, about
    # once in fifty layers. Where all that was before lies in line, the next layer may be on either
    # side of it. With a wrong frame no shower is the same.
    assert np.mean(alike) > 0.3


def test_layers_have_the_energies_that_were_asked_for(quilt_points_run: Path) -> None:
    system = cf.load(quilt_points_run)
    energies = np.geomspace(1.1e4, 9e4, 30).astype(np.float32)
    with torch.inference_mode():
        asked = system.quantities(energies, seeds=Seeds.of(1, range(30), "cpu"))
    made = system.generate(energies, seed=1).layer_energies()
    np.testing.assert_allclose(made, asked["layer_energies"], rtol=1e-5, atol=1e-6)


def inclined(showers: PointShowers) -> PointShowers:
    """The same showers along axes of their own, which leave it by up to half a radian."""
    random = np.random.default_rng(1)
    angle, azimuth = random.uniform(0.2, 0.5, len(showers)), random.uniform(-3, 3, len(showers))
    cos, sin, tan = np.cos(azimuth), np.sin(azimuth), np.tan(angle)
    direction = np.stack([np.sin(angle) * cos, np.sin(angle) * sin, np.cos(angle)], 1)
    event, z = showers.event(), np.asarray(showers.geometry.z)[showers.layer]
    x, y = showers.x + z * (tan * cos)[event], showers.y + z * (tan * sin)[event]
    return replace(showers, x=x, y=y, direction=direction)


def test_a_shower_is_turned_to_its_azimuth(bundled_points: PointShowers) -> None:
    showers = in_order(inclined(bundled_points))
    asked = turned(showers, 1.3)
    place, energy = remade(bank(showers), showers.layer_energies(), asked.particles, u=0.7)
    np.testing.assert_allclose(energy, showers.energy, rtol=5e-2)
    straight = turned(in_order(bundled_points), 1.3)
    np.testing.assert_allclose(place, np.stack([straight.x, straight.y], 1), atol=10 * BORDER)


def test_layers_are_of_particles_of_the_same_kind(bundled_points: PointShowers) -> None:
    """Those of electrons are marked: they lie elsewhere."""
    half = len(bundled_points) // 2
    pdg = np.repeat(np.array([22, 11], np.int32), half)
    electron = (pdg == 11)[bundled_points.event()]
    showers = replace(bundled_points, pdg=pdg, x=bundled_points.x + 1000 * electron)
    mixed = bank(showers, neighbours=8, symmetric=False)
    for code in (22, 11):
        asked = Particles(showers.energy_inc, pdg=code)
        place, _ = remade(mixed, showers.layer_energies(), asked, u=0.9)
        assert ((place[:, 0] > 500) == (code == 11)).all()
    with pytest.raises(ValueError, match="are of electrons and photons, got positrons: say which"):
        remade(mixed, showers.layer_energies(), Particles(showers.energy_inc, pdg="e+"))


def test_directions_and_kinds_are_refused_by_a_copula_and_known_to_similar_ones(
    bundled_points: PointShowers, tmp_path: Path
) -> None:
    showers = inclined(bundled_points)
    mixed = replace(bundled_points, pdg=np.arange(len(bundled_points)) % 2 + 11)
    copula = cf.build("quilt/points", showers.geometry)
    for sample in (showers, mixed):
        with pytest.raises(ValueError, match=r"one kind .* at one angle .*quilt/directed"):
            cf.train(copula, sample, run=tmp_path / "none")
    system = cf.build("quilt/directed-points", showers.geometry)
    cf.train(system, showers, run=tmp_path / "run")
    direction = showers.direction[::-1]
    made = system.generate(Particles(showers.energy_inc, direction=direction), seed=1)
    event, z = made.event(), np.asarray(made.geometry.z)[made.layer]
    for place, component in ((made.x, 0), (made.y, 1)):
        aside = place - z * (direction[:, component] / direction[:, 2])[event]
        centre = np.bincount(event, made.energy * aside) / made.total_energy()
        assert abs(centre).max() < 10  # mm beside the line, which moves up to 100 mm
    flat = replace(bundled_points, direction=np.array([1.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="fly into the depth"):
        cf.train(system, flat, run=tmp_path / "none")


SPOILED: dict[str, Callable[[Tensor], Tensor]] = {
    "pitch": lambda rows: -rows,
    "radius": lambda rows: -rows - 1,
    "azimuth": lambda rows: rows[:-1],
    "direction": lambda rows: 2 * rows,
    "pdg": lambda rows: rows[:-1],
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_bank_that_does_not_hold_together_is_refused(
    name: str, quilt_points_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(quilt_points_run, tmp_path / "run")
    path = tmp_path / "run" / "stages" / "patterns" / "weights.safetensors"
    rows = load_file(path)
    save_file({**rows, name: SPOILED[name](rows[name]).contiguous()}, path)
    with pytest.raises(ValueError, match=r"a bank of \d+ showers .*train it again"):
        cf.load(tmp_path / "run")
