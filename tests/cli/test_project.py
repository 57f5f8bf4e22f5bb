"""Points on the command line: simulated, and projected into cells."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caloforge as cf
from caloforge.data import open_points
from caloforge.geometry import ild_ecal

Command = Callable[..., Any]  # arguments to exit code and what was printed


@pytest.fixture(scope="module")
def photons(shared_data: Path) -> cf.PointShowers:
    return cf.read_points(shared_data / "photons-10-100GeV_ild-ecal_points_test.h5")[:12]


@pytest.fixture(scope="module")
def points(photons: cf.PointShowers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("points") / "points.h5"
    cf.write(path, photons, attributes={"particle": "gamma"})
    return path


def assert_same(a: cf.VoxelShowers, b: cf.VoxelShowers) -> None:
    assert a.geometry == b.geometry
    for name in ("energy_inc", "offset", "index", "energy"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_points_are_projected_anywhere(
    photons: cf.PointShowers, points: Path, tmp_path: Path, caloforge: Command
) -> None:
    output = tmp_path / "cells.h5"
    options = ["--geometry", "ild-ecal", "--impact", "37.5,-36.1", "--shift", "-1.5,2"]
    result = caloforge("project", points, *options, "--angle", "0.3", "-o", output)
    assert (result.code, result.out) == (0, "")
    expected = photons.project(ild_ecal((37.5, -36.1)), (-1.5, 2), 0.3)
    assert_same(cf.read(output), expected)
    lost = photons.lost(expected)
    with cf.open_showers(output) as file:
        np.testing.assert_array_equal(file.column("lost"), lost)
        assert file.attributes["particle"] == "gamma"
        assert file.attributes["threshold_MeV"] == 0  # cells below it are there
        assert file[:].energy.min() < 0.1
    told = re.search(r"12 showers .* ([\d.]+)% of the energy lost, at most ([\d.]+)%", result.err)
    assert told is not None
    assert [float(share) for share in told.groups()] == pytest.approx(
        [100 * lost.mean(), 100 * lost.max()], abs=0.006
    )


def test_points_are_projected_into_their_own_detector_if_none_is_named(
    photons: cf.PointShowers, points: Path, tmp_path: Path, caloforge: Command
) -> None:
    output = tmp_path / "cells.h5"
    result = caloforge("project", points, "-o", output, "--json")
    cells = photons.project(photons.geometry)
    assert_same(cf.read(output), cells)
    facts = json.loads(result.out)
    assert facts["showers"] == 12
    assert facts["geometry"] == "ild-ecal"
    assert facts["hits"] == pytest.approx(len(cells.energy) / 12)
    assert facts["lost"]["mean"] == pytest.approx(photons.lost(cells).mean())
    assert facts["lost"]["max"] == pytest.approx(photons.lost(cells).max())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shift", "300,0"], "the sensors are known from x = "),
        (["--shift", "1"], "expected 2 numbers such as 1,2, got '1'"),
        (["--impact", "1,2,3"], "expected 2 numbers"),
        (["--geometry", "ild-30", "--impact", "0,40"], "move the showers with --shift"),
        (["--geometry", "calochallenge-1-pions"], "30 layers against 7"),
        (["--geometry", "cms"], "there is no geometry 'cms'"),
        (["--angle", "nan"], "angle must be finite"),
    ],
)
def test_a_projection_that_makes_no_sense_is_one_line_and_exit_code_2(
    options: list[str], message: str, points: Path, tmp_path: Path, caloforge: Command
) -> None:
    result = caloforge("project", points, *options, "-o", tmp_path / "cells.h5")
    assert result.code == 2
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_voxels_are_not_projected(
    photons: cf.PointShowers, tmp_path: Path, caloforge: Command
) -> None:
    cf.write(tmp_path / "cells.h5", photons.project(photons.geometry))
    result = caloforge("project", tmp_path / "cells.h5", "-o", tmp_path / "again.h5")
    assert result.code == 2
    assert "holds voxel showers" in result.err


def test_points_are_simulated(geant4_data: Path, tmp_path: Path, caloforge: Command) -> None:
    output = tmp_path / "points.h5"
    options = ["--geometry", "ild-ecal", "--points", "--energy", "fixed:1e3", "-n", "3"]
    result = caloforge("simulate", *options, "--pitch", "0", "--box", "50", "-o", output)
    assert result.code == 0
    made = cf.read_points(output)
    every = cf.simulate("ild-ecal", energy=1e3, n=3, points=True, pitch=None, box=50)
    np.testing.assert_array_equal(made.x, every.x)
    per_shower = f"{len(made.energy) / 3:,.0f} points a shower"
    assert per_shower in result.err
    assert re.search(r"[\d.]+% of the energy outside the box of 50 mm, at most", result.err)
    caloforge("project", output, "--geometry", "ild-30", "-o", tmp_path / "cells.h5")
    with open_points(output) as points, cf.open_showers(tmp_path / "cells.h5") as cells:
        np.testing.assert_array_equal(cells.column("outside"), points.column("outside"))


def test_a_simulation_says_what_its_voxels_lack(
    geant4_data: Path, tmp_path: Path, caloforge: Command
) -> None:
    options = ["--geometry", "calochallenge-2", "--energy", "fixed:300", "-n", "3"]
    result = caloforge("simulate", *options, "-o", tmp_path / "voxels.h5")
    assert result.code == 0
    with cf.open_showers(tmp_path / "voxels.h5") as file:
        outside = file.column("outside")
    assert outside is not None
    told = f"{outside.mean():.2%} of the energy outside its voxels, at most {outside.max():.2%}"
    assert told in result.err


def test_a_pitch_without_points_is_a_mistake(tmp_path: Path, caloforge: Command) -> None:
    options = ["--geometry", "ild-ecal", "--energy", "fixed:1e3", "-n", "1", "--pitch", "2"]
    result = caloforge("simulate", *options, "-o", tmp_path / "s.h5")
    assert result.code == 2
    assert "ask for points, or leave them out" in result.err
