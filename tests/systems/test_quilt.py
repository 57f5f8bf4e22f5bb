"""Quilt makes showers of the layers of others, with energies of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
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
from caloforge.stages import quilting, voxelpatterns
from caloforge.stages.expectedpatterns import ExpectedPatterns, Past, tables
from caloforge.stages.patternarrays import Turning, Work
from caloforge.stages.patternbank import PatternBank
from caloforge.stages.patternrows import FITTED, layers_of, sizes
from caloforge.stages.patternstates import PatternWeights
from caloforge.stages.quilting import TURN
from caloforge.stages.thinning import spread
from caloforge.stages.turning import any_angle, of_voxels


def bank(
    showers: VoxelShowers,
    neighbours: int = 1,
    *,
    symmetric: bool = True,
    particles: Particles | None = None,
) -> PatternBank:
    hits = layers_of(voxelpatterns.rows(showers), "voxel")
    detector = voxelpatterns.detector(showers.geometry, symmetric=symmetric)
    known = particles or showers.particles
    return PatternBank(hits, known, detector, neighbours, PatternWeights())


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
    chosen = bank.choose(energies, particles or showers.particles, numbers)
    made = np.zeros((len(showers), showers.geometry.n_voxels), np.float32)
    quilting.write_voxels(bank.quilt, energies.astype(float), *chosen, made)
    return made


TURNINGS: dict[str, Callable[[], Turning]] = {
    **{
        name: lambda name=name: of_voxels(geometry_preset(name), symmetric=True)
        for name in ("calochallenge-1-pions", "calochallenge-2", "ild-30")
    },
    "any angle": lambda: any_angle(symmetric=True),
}
ANGLE = 2 * np.pi / TURN  # what rotations are rounded to


@pytest.fixture(params=TURNINGS)
def turning(request: pytest.FixtureRequest) -> Turning:
    return TURNINGS[request.param]()


def moved(turning: Turning, element: int, points: np.ndarray) -> np.ndarray:
    return np.array([quilting.turned(turning, element, x, y) for x, y in points])


def into_sector(turning: Turning, points: np.ndarray, far: np.ndarray) -> np.ndarray:
    frames = [quilting.into_sector(turning, *p, *q) for p, q in zip(points, far, strict=True)]
    return np.array([quilting.turned(turning, f, *p) for f, p in zip(frames, points, strict=True)])


def test_the_symmetries_turn_any_point_into_one_sector(
    turning: Turning, rng: np.random.Generator
) -> None:
    points, none = rng.normal(size=(200, 2)), np.zeros((200, 2))
    here = into_sector(turning, points, none)
    for element in range(0, turning.size, turning.size // 50 + 1):
        there = into_sector(turning, moved(turning, element, points), none)
        np.testing.assert_allclose(here, there, atol=5 * ANGLE)
    apart = np.ptp(np.arctan2(here[:, 1], here[:, 0]))
    assert apart <= 2 * np.pi / turning.size + ANGLE


def test_a_far_point_decides_which_side_is_mirrored(rng: np.random.Generator) -> None:
    turning = any_angle(symmetric=True)
    near, far = rng.normal(size=(2, 500, 2))
    frames = [quilting.into_sector(turning, *p, *q) for p, q in zip(near, far, strict=True)]
    (x, y), (_, side) = (
        np.array([quilting.turned(turning, f, *p) for f, p in zip(frames, of, strict=True)]).T
        for of in (near, far)
    )
    assert (x > 0).all()
    assert (abs(y) < 0.05).mean() > 0.9
    assert (side > -0.05).all()


def test_ratios_of_symmetries_undo_one_and_do_the_other(
    turning: Turning, rng: np.random.Generator
) -> None:
    points = rng.normal(size=(10, 2))
    for frame, own in rng.integers(turning.size, size=(50, 2)):
        back = moved(turning, quilting.between(turning, frame, own), points)
        there = moved(turning, frame, back)
        np.testing.assert_allclose(there, moved(turning, own, points), atol=1e-12)


def test_the_nearest_states_are_the_nearest(bundled: VoxelShowers) -> None:
    quilt, layer = bank(bundled[:400]).quilt, 9
    space = quilt.space
    work = quilting.work_for(quilt, 8)
    inside = space.shower[layer] != quilting.NOBODY
    states, showers = space.state[layer].transpose(0, 2, 1)[inside], space.shower[layer][inside]
    assert sorted(showers) == np.flatnonzero(quilt.bank.energies[:, layer] > 0).tolist()
    for state in states[::20]:
        work.state[:] = 1.01 * state
        assert quilting.nearest(quilt.space, layer, 8, work) == 8
        away = ((states - work.state) ** 2).sum(1)
        np.testing.assert_allclose(work.away, np.sort(away)[:8], rtol=1e-5)
        assert work.near[0] == showers[away.argmin()]


def test_a_byte_holds_the_share_of_a_hit(bundled: VoxelShowers) -> None:
    kept = voxelpatterns.rows(bundled)
    roots = layers_of(kept, "voxel").roots
    share = (roots**2)[bundled.geometry.voxel_layer[bundled.index], kept["share"]]
    energies = np.repeat(bundled.layer_energies().ravel(), kept["count"].ravel())
    off = np.log(share * energies / bundled.energy)
    assert np.abs(off).max() <= np.log(1 / kept["least"]).max() / 510 + 1e-4
    assert kept["voxel"].dtype == kept["share"].dtype == kept["count"].dtype == np.uint8


def test_a_shower_of_the_bank_is_its_own_nearest(bundled: VoxelShowers) -> None:
    """Along all layers, as soon as the first is its own; turned as a whole."""
    showers = bundled[:300]
    made = remade(bank(showers), showers)
    energy = np.sort(made, 1)
    assert (
        np.mean(np.isclose(energy, np.sort(showers.dense().reshape(300, -1), 1), rtol=5e-2)) > 0.99
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
    inclined, element = bank(showers, particles=known), 21
    x, y = moved(inclined.quilt.detector.turning, element, across.T).T
    asked = Particles(showers.energy_inc, np.stack([x, y, np.cos(angle)], 1))
    made = remade(inclined, showers, particles=asked)
    whole = turned(showers, element).dense().reshape(100, -1)
    np.testing.assert_allclose(made, whole, rtol=5e-2, atol=1e-3)


def test_without_symmetries_nothing_is_turned(bundled: VoxelShowers) -> None:
    showers = bundled[:200]
    made = remade(bank(showers, symmetric=False), showers, u=0.9)
    np.testing.assert_allclose(made, showers.dense().reshape(200, -1), rtol=5e-2, atol=1e-3)


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
    threshold, bright = float(np.float32(bundled.geometry.threshold)), 5.0
    for shower in (bundled[i : i + 1] for i in range(50)):
        energy, wanted = shower.energy, factor * float(shower.energy.sum(dtype=float))
        scaled = scaled_hits(energy, wanted, bright, 0.0)
        np.testing.assert_allclose(scaled.sum(dtype=float), wanted, rtol=1e-6)
        ratio = scaled / energy
        assert np.abs(ratio[energy < 0.2 * bright] - 1).max() < 0.1 * abs(factor - 1)
        assert ((ratio > 1) == (factor > 1))[energy > 0.1 * bright].all()
        left = scaled_hits(energy, wanted, bright, threshold)
        assert left.min() >= threshold
        np.testing.assert_allclose(left.sum(dtype=float), wanted, rtol=1e-6)


def test_layers_of_which_little_is_bright_are_scaled_as_a_whole() -> None:
    np.testing.assert_allclose(scaled_hits([1.0, 2.0], 9.0, 5.0, 0.0), [3, 6])


def test_a_layer_with_energy_has_a_hit() -> None:
    assert scaled_hits([0.02], 5.0, 4.4, 0.015).tolist() == [5.0]
    assert scaled_hits([0.016, 0.017, 0.015], 0.016, 4.4, 0.015).tolist() == [np.float32(0.016)]


def scaled_hits(energy: Any, wanted: float, bright: float, threshold: float) -> np.ndarray:
    """What becomes of hits of these energies."""
    n, none = len(energy), np.zeros(1)
    hits = np.arange(n), np.zeros(n, np.int64), np.array(energy, np.float32)
    work = Work(*hits, *[none] * (len(Work._fields) - 3))
    left = quilting.scale(n, wanted, bright, threshold, work)
    return np.array(work.energy[:left])


def test_a_centre_of_gravity_is_expected_from_those_before() -> None:
    """Of layers that inherit a known share of it, at any energy, and of nothing else."""
    random, n = np.random.default_rng(3), 4_000
    energies, near = np.log(random.gamma(2.0, 50, (n, 2))), random.normal(size=(n, 2))
    past = random.uniform(1, 2, (n, 14))
    past[:, 2], past[:, [10, 12]], past[:, [11, 13]] = energies[:, 0], near, near
    centre = 0.5 * near + random.normal(size=(n, 2))
    layer = np.stack([np.exp(energies[:, 0]), *np.ones((1, n)), *centre.T, *np.ones((2, n))], 1)
    expected = tables(ExpectedPatterns.fit(Past.of(past), layer, unit=1.0).row()[None])
    quilt = SimpleNamespace(expected=expected)
    for at, axis in ((10, 0), (12, 1)):
        found = [quilting.expected_centre.py_func(quilt, 0, row, at) for row in past]
        np.testing.assert_allclose(found, 0.5 * near[:, axis], atol=0.3)


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


def test_showers_are_the_same_in_any_batch_and_thread(quilt_run: Path) -> None:
    system = cf.load(quilt_run)
    energies = np.geomspace(1.5e3, 9e4, 40).astype(np.float32)
    with ThreadPoolExecutor(4) as threads:
        made = threads.map(lambda size: system.generate(energies, seed=1, batch_size=size), (40, 7))
        others = list(made)
    alone = system.generate(energies, seed=1, batch_size=1)
    for other in others:
        np.testing.assert_array_equal(other.index, alone.index)
        np.testing.assert_allclose(other.energy, alone.energy, rtol=1e-5)


def test_a_bank_that_was_kept_makes_the_same_showers(bundled: VoxelShowers) -> None:
    """What was fitted is kept as it was used."""
    showers, asked = bundled[:200], bundled[200:230]
    made = bank(showers, 4)
    hits, detector = made.quilt.bank, made.quilt.detector
    again = PatternBank(hits, showers.particles, detector, 4, PatternWeights(), made.fitted)
    np.testing.assert_array_equal(remade(again, asked, 0.3), remade(made, asked, 0.3))


def test_a_small_bank_has_showers_of_all_energies_and_depths(bundled: VoxelShowers) -> None:
    size = sizes(bundled, 2)
    assert len(spread(bundled, size, size.sum())) == len(bundled)
    kept = spread(bundled, size, 0.2 * size.sum())
    assert 0.195 * size.sum() < size[kept].sum() <= 0.2 * size.sum()
    share = np.bincount(kept, minlength=len(bundled))
    energy = np.argsort(bundled.energy_inc)
    by_energy = np.array([share[part].mean() for part in np.array_split(energy, 10)])
    assert (np.diff(by_energy) < 0.02).all()  # the larger a shower is, the fewer
    depth = bundled.layer_energies() @ np.arange(45) / bundled.total_energy()
    for part in np.array_split(energy, 5):
        rank = np.argsort(np.argsort(depth[part]))[share[part] > 0] / len(part)
        assert abs(rank.mean() - 0.5) < 1 / np.sqrt(12 * len(rank))  # nearer than at random
    with pytest.raises(ValueError, match="no room for a shower"):
        spread(bundled, size, 100.0)


@pytest.mark.parametrize(
    ("preset", "sample"), [("copula", "bundled"), ("copula-points", "bundled_points")]
)
def test_a_bank_takes_the_space_that_it_may(
    preset: str, sample: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    showers = request.getfixturevalue(sample)[:600]
    changed = {"patterns": {"megabytes": 0.3}}
    system = cf.build(f"quilt/{preset}", showers.geometry, overrides=changed)
    cf.train(system, showers, run=tmp_path / "run")
    path = tmp_path / "run" / "stages" / "patterns" / "weights.safetensors"
    fitted = sum(system.stages["patterns"].get_buffer(name).nbytes for name in FITTED)
    assert 0.26e6 < path.stat().st_size - fitted < 0.31e6


SPOILED: dict[str, Callable[[Tensor], Tensor]] = {
    "count": lambda rows: rows.flip(0),
    "voxel": lambda rows: rows + 150,
    "share": lambda rows: rows.to(torch.int16),
    "least": lambda rows: -rows,
    "scales": lambda rows: -rows,
    "expected": lambda rows: rows[:-1],
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
