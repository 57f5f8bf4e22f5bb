"""A library gives back training showers, rotated, mirrored and rescaled."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import caloforge as cf
from caloforge.cascade import Learned, ShowerQuantities, build
from caloforge.data import open_source
from caloforge.geometry import voxel_images
from caloforge.showers import PointShowers, VoxelShowers


@pytest.fixture(scope="module")
def clouds(bundled_points: PointShowers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("library") / "points"
    cf.train(build("library/points", bundled_points.geometry), bundled_points, run=run)
    return run


def test_it_learns_nothing_and_has_no_parameters(library_run: Path) -> None:
    system = cf.load(library_run)
    assert system.n_parameters == {"bank": 0}
    assert not any(isinstance(stage, Learned) for stage in system.stages.values())


def test_every_shower_is_the_image_of_a_training_shower(
    library_run: Path, bundled: VoxelShowers
) -> None:
    system = cf.load(library_run)
    energies = bundled.energy_inc[200:220]
    made = system.generate(energies, seed=1).dense().reshape(20, -1)
    images = voxel_images(bundled.geometry)
    for energy, shower in zip(energies, made, strict=True):
        near = np.argsort(np.abs(np.log(bundled.energy_inc[:200] / energy)))[:8]
        scale = energy / bundled.energy_inc[near]
        sources = bundled[near].dense().reshape(8, -1) * scale[:, None]
        sources[sources < np.float32(bundled.geometry.threshold)] = 0
        back = shower[images]  # every symmetry undone, shape (n_symmetries, n_voxels)
        distance = np.abs(back[:, None] - sources).max(2)
        assert distance.min() < 1e-5 * energy


def test_a_bank_is_filled_from_files_as_from_memory(
    library_run: Path, bundled: VoxelShowers, tmp_path: Path
) -> None:
    """Block by block, where the sample is not held in memory."""
    for number in range(2):
        cf.write(tmp_path / f"{number}.h5", bundled[100 * number : 100 * number + 100])
    source = open_source(tmp_path / "*.h5")
    bank = build("library", bundled.geometry).stages["bank"]
    bank.fit(ShowerQuantities(source, ("energy_inc",), budget=0), {}, torch.Generator())
    known = cf.load(library_run).stages["bank"].state_dict()
    assert all(values.equal(known[name]) for name, values in bank.state_dict().items())


def test_images_can_be_left_out(bundled: VoxelShowers, tmp_path: Path) -> None:
    plain = {"images": False, "neighbours": 1, "rescale": False}
    system = build("library", bundled.geometry, overrides=plain)
    cf.train(system, bundled[:50], run=tmp_path / "run")
    made = system.generate(bundled.energy_inc[:50], seed=1)
    np.testing.assert_array_equal(made.dense(), bundled[:50].dense())


def test_points_keep_radii_and_shares(clouds: Path, bundled_points: PointShowers) -> None:
    made = cf.load(clouds).generate(bundled_points.energy_inc, seed=3)
    radii = [
        np.sort(np.hypot(one.x, one.y))
        for one in (made[0], *(s for s in bundled_points.batches(1)))
    ]
    assert any(len(r) == len(radii[0]) and np.allclose(r, radii[0], rtol=1e-4) for r in radii[1:])
    ratio = made.total_energy() / made.energy_inc
    whole = bundled_points.total_energy() / bundled_points.energy_inc
    assert ratio.min() >= whole.min() * (1 - 1e-5)
    assert ratio.max() <= whole.max() * (1 + 1e-5)


@pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning")
def test_inclined_points_follow_the_azimuth(bundled_points: PointShowers, tmp_path: Path) -> None:
    """A bank of showers along +x, asked for showers along +y, rotates them by 90 degrees."""
    import dataclasses

    along = np.tile(np.float32([0.6, 0.0, 0.8]), (len(bundled_points), 1))
    bank = dataclasses.replace(bundled_points, direction=along)
    settings = {"neighbours": 1, "images": False}
    system = build("library/points", bank.geometry, overrides=settings)
    cf.train(system, bank, run=tmp_path / "run")
    made = system.generate(cf.Particles(bank.energy_inc[:5], [0.0, 0.6, 0.8]), seed=1)
    for one, source in zip(made.batches(1), bank[:5].batches(1), strict=True):
        np.testing.assert_allclose(one.x, -source.y, atol=1e-3)
        np.testing.assert_allclose(one.y, source.x, atol=1e-3)


def test_a_system_of_another_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from caloforge.cascade import registry

    foreign = EntryPoint("shelf", "caloforge.systems.library.system:Library", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [foreign])
    registry._modules.cache_clear()
    try:
        assert "shelf" in registry.system_names()
        assert registry.system_class("shelf").name == "library"
        taken = EntryPoint("library", "somewhere:Library", registry.GROUP)
        monkeypatch.setattr(registry, "entry_points", lambda group: [taken])
        registry._modules.cache_clear()
        with pytest.raises(ValueError, match="another package has a system library"):
            registry.system_names()
    finally:
        registry._modules.cache_clear()


@pytest.mark.parametrize(
    ("name", "spoiled"),
    [
        ("offset", lambda rows: rows.flip(0)),
        ("offset", lambda rows: rows[:-1]),
        ("index", lambda rows: rows + 10**6),
        ("index", lambda rows: rows + 0.5),
        ("energy", lambda rows: rows[1:]),
        ("energy_inc", lambda rows: -rows),
    ],
)
def test_a_bank_that_does_not_hold_together_is_refused(
    name: str, spoiled: Callable[[Tensor], Tensor], library_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(library_run, tmp_path / "run")
    path = tmp_path / "run" / "stages" / "bank" / "weights.safetensors"
    rows = load_file(path)
    save_file({**rows, name: spoiled(rows[name]).contiguous()}, path)
    with pytest.raises(ValueError, match=r"a bank of \d+ showers .*train it again"):
        cf.load(tmp_path / "run")
