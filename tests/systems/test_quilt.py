"""Quilt makes showers of the layers of others, with energies of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import caloforge as cf
from caloforge.cascade.seeds import Seeds
from caloforge.geometry import geometry_preset, voxel_images
from caloforge.showers import Particles, VoxelShowers
from caloforge.stages.expectedpatterns import ExpectedPatterns, Past
from caloforge.stages.layermoments import Moments, Upstream
from caloforge.stages.patternbank import PatternBank
from caloforge.stages.patterns import _rows
from caloforge.stages.patternstates import PatternWeights
from caloforge.stages.turning import TURN, Rotations, Turning, VoxelTurning
from caloforge.stages.voxelpatterns import VoxelPatterns, _scaled_bright


def bank(showers: VoxelShowers, neighbours: int = 1, *, symmetric: bool = True) -> PatternBank:
    rows = {"layer_energies": showers.layer_energies().astype(np.float32), **_rows(showers)}
    patterns = VoxelPatterns(rows, showers.geometry, symmetric=symmetric)
    return PatternBank(patterns, showers.particles, neighbours, PatternWeights())


def turned(showers: VoxelShowers, element: int) -> VoxelShowers:
    """The same showers moved by a symmetry of the voxels."""
    image = voxel_images(showers.geometry)[element]
    return VoxelShowers(
        showers.energy_inc, showers.offset, image[showers.index], showers.energy, showers.geometry
    )


def remade(
    bank: PatternBank, showers: VoxelShowers, u: float = 0.0, particles: Particles | None = None
) -> np.ndarray:
    energies = showers.layer_energies()
    numbers = np.full((len(showers), energies.shape[1] + 1), u, np.float32)
    dense = np.zeros((len(showers), showers.geometry.n_voxels), np.float32)
    layers = bank.sample(energies, particles or showers.particles, numbers)
    for start, hits in zip(showers.geometry.offsets, layers, strict=False):
        dense[hits.event, start + hits.voxel] = hits.energy
    return dense


TURNINGS: dict[str, Callable[[], Turning]] = {
    **{
        name: lambda name=name: VoxelTurning(geometry_preset(name), symmetric=True)
        for name in ("calochallenge-1-pions", "calochallenge-2", "ild-30")
    },
    "any angle": lambda: Rotations(symmetric=True),
}
ANGLE = 2 * np.pi / TURN  # what rotations are rounded to


@pytest.fixture(params=TURNINGS)
def turning(request: pytest.FixtureRequest) -> Turning:
    return TURNINGS[request.param]()


def test_the_symmetries_turn_any_point_into_one_sector(
    turning: Turning, rng: np.random.Generator
) -> None:
    x, y = rng.normal(size=(2, 500))
    none = np.zeros(500)
    for element in range(0, len(turning), len(turning) // 50 + 1):
        moved = turning.turned(x, y, np.full(500, element))
        here, there = (
            turning.turned(*point, turning.frame(*point, none, none)) for point in ((x, y), moved)
        )
        np.testing.assert_allclose(here, there, atol=5 * ANGLE)
    apart = np.ptp(np.arctan2(*here[::-1]))
    assert apart <= 2 * np.pi / len(turning) + ANGLE


def test_a_far_point_decides_which_side_is_mirrored(rng: np.random.Generator) -> None:
    turning = Rotations(symmetric=True)
    near, far = rng.normal(size=(2, 2, 500))
    frame = turning.frame(*near, *far)
    (x, y), (_, side) = (turning.turned(*point, frame) for point in (near, far))
    assert (x > 0).all()
    assert (abs(y) < 0.05).mean() > 0.9
    assert (side > -0.05).all()


def test_ratios_of_symmetries_undo_one_and_do_the_other(
    turning: Turning, rng: np.random.Generator
) -> None:
    x, y = rng.normal(size=(2, 500))
    frame, own = rng.integers(len(turning), size=(2, 500))
    there = turning.turned(*turning.turned(x, y, turning.between(frame, own)), frame)
    np.testing.assert_allclose(there, turning.turned(x, y, own), atol=1e-12)


def test_a_shower_of_the_bank_is_its_own_nearest(bundled: VoxelShowers) -> None:
    """Along all layers, as soon as the first is its own; turned as a whole."""
    showers = bundled[:300]
    made = remade(bank(showers), showers)
    energy = np.sort(made, 1)
    assert (
        np.mean(np.isclose(energy, np.sort(showers.dense().reshape(300, -1), 1), rtol=4e-3)) > 0.99
    )


def test_a_turned_bank_makes_the_same_showers_turned(bundled: VoxelShowers) -> None:
    # one hit may lie on the axis of a reflection: which of two sides it is on, rounding decides
    first = bundled.geometry.voxel_layer[bundled.index] == 0
    clear = bundled[np.bincount(bundled.event()[first], minlength=len(bundled)) > 1]
    showers, asked = clear[:300], clear[300:320]
    straight = remade(bank(showers), asked)
    images = voxel_images(showers.geometry)
    for element in (5, 21):
        other = remade(bank(turned(showers, element)), asked)
        # the first layer alone keeps the orientation of its source: all others follow it
        whole = np.zeros_like(straight)
        whole[:, images[element]] = straight
        np.testing.assert_allclose(other, whole, rtol=1e-5)


def test_a_shower_of_voxels_is_turned_to_a_direction_by_a_symmetry(bundled: VoxelShowers) -> None:
    showers, random = bundled[:100], np.random.default_rng(1)
    angle, azimuth = random.uniform(0.2, 0.5, 100), random.uniform(-3, 3, 100)
    across = np.sin(angle) * np.stack([np.cos(azimuth), np.sin(azimuth)])
    known = Particles(showers.energy_inc, np.stack([*across, np.cos(angle)], 1))
    straight = bank(showers)
    inclined = PatternBank(straight.patterns, known, 1, PatternWeights())
    element = 21
    x, y = straight.turning.turned(*across, np.full(100, element))
    asked = Particles(showers.energy_inc, np.stack([x, y, np.cos(angle)], 1))
    made = remade(inclined, showers, particles=asked)
    whole = turned(showers, element).dense().reshape(100, -1)
    np.testing.assert_allclose(made, whole, rtol=4e-3, atol=1e-3)


def test_without_symmetries_nothing_is_turned(bundled: VoxelShowers) -> None:
    showers = bundled[:200]
    made = remade(bank(showers, symmetric=False), showers, u=0.9)
    np.testing.assert_allclose(made, showers.dense().reshape(200, -1), rtol=4e-3, atol=1e-3)


def test_layers_have_the_energies_that_were_asked_for(quilt_run: Path) -> None:
    system = cf.load(quilt_run)
    energies = np.geomspace(1.5e3, 9e4, 60).astype(np.float32)
    with torch.inference_mode():
        made = system.quantities(energies, seeds=Seeds.of(1, range(60), "cpu"))
    sums = made["showers"].double().flatten(2).sum(2)
    torch.testing.assert_close(sums.float(), made["layer_energies"], rtol=1e-5, atol=0)
    assert float(made["showers"][made["showers"] > 0].min()) >= np.float32(
        system.geometry.threshold
    )


@pytest.mark.parametrize("factor", [0.9, 1.3])
def test_bright_hits_are_scaled_and_those_of_single_particles_kept(
    factor: float, bundled: VoxelShowers
) -> None:
    event, energy = bundled[:50].event(), bundled[:50].energy.astype(float)
    wanted, bright = factor * bundled[:50].total_energy(), 5.0
    ratio = _scaled_bright(energy, event, wanted, bright) / energy
    np.testing.assert_allclose(np.bincount(event, ratio * energy), wanted)
    assert np.abs(ratio[energy < 0.2 * bright] - 1).max() < 0.1 * abs(factor - 1)
    assert ((ratio > 1) == (factor > 1)).all()
    # where little is bright, all is scaled alike
    alike = _scaled_bright(np.array([1.0, 2.0]), np.array([0, 0]), np.array([9.0]), bright)
    np.testing.assert_allclose(alike, [3, 6])


def test_a_centre_of_gravity_is_expected_from_those_before() -> None:
    """Of layers that inherit a known share of it, at any energy, and of nothing else."""
    random, n = np.random.default_rng(3), 4_000
    energies = random.gamma(2.0, 50, (n, 3))
    before, layer = (
        Moments(
            energies[:, i],
            *random.uniform(2, 9, (1, n)),
            *random.normal(size=(2, n)),
            *np.ones((2, n)),
        )
        for i in (0, 1)
    )
    layer = replace(layer, x=layer.x + 0.5 * before.x, y=layer.y + 0.5 * before.y)
    past = Past.of(1, energies, energies.sum(1), before, Upstream.none(n).then(before), unit=1.0)
    x, y = ExpectedPatterns.fit(past, layer, unit=1.0).centres(past)
    np.testing.assert_allclose(x, 0.5 * before.x, atol=0.3)
    np.testing.assert_allclose(y, 0.5 * before.y, atol=0.3)


def test_what_is_expected_of_a_shower_is_the_same_alone_and_among_others(
    bundled: VoxelShowers,
) -> None:
    made = bank(bundled[:200], neighbours=4)
    asked = bundled[200:260]
    together = remade(made, asked, u=0.3)
    alone = np.concatenate([remade(made, asked[i : i + 1], u=0.3) for i in range(60)])
    assert np.array_equal(together, alone)


def test_layers_of_different_shapes_are_made(bundled_points: Any, tmp_path: Path) -> None:
    geometry = geometry_preset("calochallenge-1-photons")
    random = np.random.default_rng(1)
    dense = random.gamma(0.2, 100, (200, geometry.n_voxels)) * (
        random.random((200, geometry.n_voxels)) < 0.3
    )
    showers = VoxelShowers.from_dense(np.full(200, 1e5), dense.astype(np.float32), geometry)
    system = cf.train(cf.build("quilt/copula", geometry), showers, run=tmp_path / "run")
    made = system.generate(np.full(20, 1e5, np.float32), seed=1)
    assert np.isfinite(made.total_energy()).all()
    assert (made.total_energy() > 0).all()


SPOILED: dict[str, Callable[[Tensor], Tensor]] = {
    "offset": lambda rows: rows.flip(0),
    "voxel": lambda rows: rows + 10**3,
    "root": lambda rows: -rows,
    "energy_inc": lambda rows: rows[:-1],
    "layer_energies": lambda rows: rows * 0,
    "preferred": lambda rows: rows[:-1],
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_bank_that_does_not_hold_together_is_refused(
    name: str, quilt_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(quilt_run, tmp_path / "run")
    path = tmp_path / "run" / "stages" / "patterns" / "weights.safetensors"
    rows = load_file(path)
    save_file({**rows, name: SPOILED[name](rows[name]).contiguous()}, path)
    with pytest.raises(ValueError, match=r"a bank of \d+ showers .*train it again"):
        cf.load(tmp_path / "run")
