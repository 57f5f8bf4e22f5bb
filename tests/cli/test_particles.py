"""Commands take and keep the incident particles of files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caloforge as cf
from caloforge.showers import PointShowers, VoxelShowers

Command = Callable[..., Any]

INCLINED = (0.6, 0.0, 0.8)


@pytest.mark.filterwarnings("always::caloforge.cascade.ExtrapolationWarning")
def test_the_command_takes_the_particles_of_a_file(
    run: Path, slab: VoxelShowers, tmp_path: Path, caloforge: Command
) -> None:
    kinds = np.resize([11, -11], 8)
    like = dataclasses.replace(slab[:8], direction=np.float32(INCLINED), pdg=kinds)
    cf.write(tmp_path / "like.h5", like)
    result = caloforge("generate", run, "--like", tmp_path / "like.h5", "-o", tmp_path / "fake.h5")
    assert result.code == 0
    assert "4 of 8 showers are asked of positrons" in result.err
    fake = cf.read(tmp_path / "fake.h5")
    assert np.array_equal(fake.energy_inc, like.energy_inc)
    assert np.array_equal(fake.pdg, kinds)
    assert fake.particles.are_along_depth  # which is all that this system knows


def test_a_directed_system_takes_directions_from_a_file_and_the_command_line(
    bundled_points: PointShowers,
    small_caloclouds: dict[str, object],
    tmp_path: Path,
    caloforge: Command,
) -> None:
    clouds = dataclasses.replace(bundled_points, direction=np.float32(INCLINED))
    settings = {**small_caloclouds, "directed": True}
    system = cf.build("caloclouds/tiny", clouds.geometry, overrides=settings)
    cf.train(system, clouds, run=tmp_path / "run")
    data = tmp_path / "data.h5"
    cf.write(data, clouds[:5])
    fake = tmp_path / "fake.h5"
    for options in (["--like", data], ["-n", 5], ["-n", 5, "--direction", "3,0,4"]):
        result = caloforge("generate", tmp_path / "run", *options, "-o", fake)
        assert result.code == 0, result.err
        sampled = cf.read(fake)
        assert sampled.direction == pytest.approx(clouds[:5].direction)
        assert sampled.pdg.tolist() == [22] * 5


def test_coarse_and_projected_showers_keep_their_particles(
    slab: VoxelShowers, bundled_points: PointShowers, tmp_path: Path, caloforge: Command
) -> None:
    kinds = np.resize([11, 22, 0], 6)
    fine = dataclasses.replace(slab[:6], direction=np.float32(INCLINED), pdg=kinds)
    clouds = dataclasses.replace(bundled_points[:6], direction=np.float32(INCLINED), pdg=kinds)
    cf.write(tmp_path / "fine.h5", fine)
    cf.write(tmp_path / "clouds.h5", clouds)
    made = tmp_path / "made.h5"
    for words in (
        ("coarsen", tmp_path / "fine.h5", "--factors", "2,4,3"),
        ("project", tmp_path / "clouds.h5", "--geometry", "ild-30"),
    ):
        result = caloforge(*words, "-o", made)
        assert result.code == 0, result.err
        showers = cf.read(made)
        assert np.array_equal(showers.pdg, kinds)
        assert np.array_equal(showers.direction, fine.direction)
