"""Generated showers are of the particles that are asked for, or of those of the training."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import caloforge as cf
from caloforge.cascade import ExtrapolationWarning, SamplingOptions, System
from caloforge.cascade.asked import asked_particles
from caloforge.cascade.usual import UsualParticle
from caloforge.geometry import Geometry
from caloforge.showers import Particles, VoxelShowers
from caloforge.training import RunFolder

ENERGIES = np.float32([2e3, 1e4, 5e4])
INCLINED = (0.6, 0.0, 0.8)


@pytest.fixture(scope="module")
def system(run: Path) -> System:
    return cf.load(run)


def test_energies_alone_are_of_the_particles_of_the_training(
    system: System, tmp_path: Path
) -> None:
    assert system.usual.pdg == 11
    showers = cf.generate(system, ENERGIES, seed=1)
    assert showers.pdg.tolist() == [11] * 3
    assert showers.particles.are_along_depth
    path = cf.generate(system, ENERGIES, seed=1, output=tmp_path / "fake.h5")
    with cf.open_showers(path) as file:
        assert file.particles.pdg.tolist() == [11] * 3
        assert file.attributes["particle"] == "e-"


def test_particles_are_kept_as_they_are_asked_for(system: System, slab: VoxelShowers) -> None:
    showers = cf.generate(system, slab.particles[:3], seed=1)
    for name in ("energy_inc", "direction", "pdg"):
        np.testing.assert_array_equal(getattr(showers, name), getattr(slab[:3], name))


def test_another_kind_than_that_of_the_training_is_said(system: System, tmp_path: Path) -> None:
    asked = Particles(ENERGIES, pdg=[11, 22, 0])
    with pytest.warns(ExtrapolationWarning, match=r"1 of 3 .* photons, .* trained on electrons"):
        path = cf.generate(system, asked, seed=1, output=tmp_path / "fake.h5")
    with cf.open_showers(path) as file:
        assert file.particles.pdg.tolist() == [11, 22, 11]
        assert "particle" not in file.attributes  # there are two kinds
        assert file.attributes["n_outside_trained"] == 1
    with pytest.raises(ValueError, match="1 of 3 showers are asked of photons"):
        system.generate(asked, seed=1, strict=True)


def test_a_direction_that_the_system_does_not_read_is_refused(system: System) -> None:
    with pytest.raises(ValueError, match=r"l2lflows samples showers of the direction .*, got"):
        cf.generate(system, Particles(ENERGIES, INCLINED), seed=1)


def test_coarse_showers_keep_their_particles(supercalo_run: Path, bundled: VoxelShowers) -> None:
    coarse = dataclasses.replace(bundled[:3], direction=np.float32(INCLINED), pdg=[11, 0, 11])
    twice = cf.upsample(cf.load(supercalo_run), coarse, seed=1, options=SamplingOptions(resample=2))
    assert twice.pdg.tolist() == [11, 11, 0, 0, 11, 11]
    assert np.array_equal(twice.direction, np.repeat(coarse.direction, 2, axis=0))


def test_a_sample_of_one_direction_is_learned_and_drawn_along_it(
    slab: VoxelShowers, small: dict[str, object], tmp_path: Path
) -> None:
    inclined = dataclasses.replace(slab, direction=np.float32(INCLINED), pdg="gamma")
    system = cf.build("l2lflows/tiny", slab.geometry, overrides=small)
    cf.train(system, inclined, run=tmp_path / "run", stages=["energies"])
    built = RunFolder(tmp_path / "run").build()
    for trained in (system, built):
        assert trained.usual == UsualParticle.of(inclined.particles)
        asked = asked_particles(trained, ENERGIES)
        assert asked.pdg.tolist() == [22] * 3
        assert asked.direction == pytest.approx(np.tile(INCLINED, (3, 1)))
    mixed = dataclasses.replace(slab, direction=np.float32([INCLINED, (0, 0, 1)] * 200))
    with pytest.raises(ValueError, match=r"200 of 400 particles .* reads no direction"):
        cf.train(system, mixed, run=tmp_path / "other")


def test_a_run_of_a_former_version_goes_on(
    run: Path, slab: VoxelShowers, small: dict[str, object], tmp_path: Path
) -> None:
    shutil.copytree(run, old := tmp_path / "old")
    config = yaml.safe_load((old / "config.yaml").read_text())
    del config["data"]["usual_particle"]
    config["geometry"] |= {"particle": "e-", "energy_range": [1e3, 1e6]}
    (old / "config.yaml").write_text(yaml.safe_dump(config))
    loaded = cf.load(old)
    assert loaded.geometry == slab.geometry == Geometry.from_dict(config["geometry"])
    assert loaded.usual == UsualParticle()
    system = cf.build("l2lflows/tiny", slab.geometry, seed=4, overrides=small)
    cf.train(system, slab, run=old, seed=4, resume=True)  # nothing is left, and nothing refused


@pytest.mark.parametrize("damage", [[], "e-", {"pdg": 11}, {"pdg": "e-", "direction": [0, 0, 1]}])
def test_a_damaged_record_of_the_particles_is_refused(
    run: Path, tmp_path: Path, damage: Any
) -> None:
    shutil.copytree(run, bad := tmp_path / "bad")
    config = yaml.safe_load((bad / "config.yaml").read_text())
    config["data"]["usual_particle"] = damage
    (bad / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match="not a direction and a kind"):
        cf.load(bad)
