"""What a system cannot learn from is refused before anything is trained or written.

The advice names settings of that very system.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import caloforge as cf
from caloforge.cascade import System, presets
from caloforge.cascade.registry import config_to_dict, default_geometry
from caloforge.cascade.sample import check_sample
from caloforge.cascade.stage import Learned
from caloforge.showers import PointShowers, Showers, VoxelShowers

EACH = pytest.mark.parametrize("preset", presets())
# what has no preferred side, whatever its settings
ROUND = ("parametric/profile", "parametric/points", "parametric/binned-points")
ENOUGH = 150  # showers, of which a preferred side shows


def built(preset: str, **overrides: Any) -> System:
    """The system without numbers: no test here needs any."""
    with torch.device("meta"):
        return cf.build(preset, geometry_of(preset), overrides=overrides)


outline = cache(built)  # building the largest takes a second


def geometry_of(preset: str) -> str:
    """The geometry that a preset is tested in."""
    return "ild-ecal" if preset.endswith("points") else default_geometry(preset)


@pytest.fixture
def sample(preset: str, request: pytest.FixtureRequest) -> Showers:
    """Geant4's showers of the geometry that a preset is for."""
    name = geometry_of(preset)
    if name == "calochallenge-2":
        showers: Showers = request.getfixturevalue("bundled")
    elif name == "calochallenge-3":
        folder: Path = request.getfixturevalue("shared_data")
        with cf.open_showers(folder / "electrons-1-100GeV_calochallenge-3_test.h5") as file:
            showers = file[:ENOUGH]
    else:
        points: PointShowers = request.getfixturevalue("bundled_points")
        if name == points.geometry.name:
            return points
        showers = points.project(cf.geometry_preset(name))
    return showers[:ENOUGH]


def refused(system: System, sample: Showers, folder: Path) -> str:
    """What training says of a sample; it leaves no files."""
    with pytest.raises(ValueError, match=r"\w") as error:
        cf.train(system, sample, run=folder)
    assert not folder.exists()
    return str(error.value)


def settings(advice: str) -> dict[str, Any]:
    """Names and values of the settings that an error advises."""
    found = re.findall(r"([a-z_]+(?:\.[a-z_]+)*)=(\w+)", advice)
    return {name: yaml.safe_load(value) for name, value in found}


def check_known(names: dict[str, Any], system: System) -> None:
    for name in names:
        value: Any = config_to_dict(system.config)
        for part in name.split("."):
            assert part in value, f"{system.name} has no setting {name}"
            value = value[part]


def leaning(showers: VoxelShowers) -> VoxelShowers:
    """As an inclined particle leaves them: more energy on one side."""
    dense = showers.dense().copy()
    dense[:, :, : dense.shape[2] // 2] *= 2
    return VoxelShowers.from_dense(showers.energy_inc, dense, showers.geometry)


@EACH
def test_a_sample_that_fits_is_not_refused(preset: str, sample: Showers) -> None:
    system = outline(preset)
    check_sample(system, sample, system.stages)


@EACH
def test_a_preferred_side_is_refused_where_showers_are_turned(
    preset: str, sample: Showers, tmp_path: Path
) -> None:
    """And not, once the advice is followed."""
    system = outline(preset)
    if isinstance(sample, PointShowers):
        inclined = dataclasses.replace(sample, direction=np.array([0.6, 0.0, 0.8]))
    else:
        inclined = leaning(sample)
    config = config_to_dict(system.config)
    parts = [config, *config.values()]
    turned = [
        part
        for part in parts
        if isinstance(part, dict)
        and (part.get("rotation") or part.get("reflection") or part.get("images"))
    ]
    is_known = system.is_directed and isinstance(sample, PointShowers)  # to it, as a direction
    is_turned = turned or isinstance(sample, PointShowers) or preset in ROUND
    if is_known or not is_turned:
        check_sample(system, inclined, system.stages)
        return
    said = refused(system, inclined, tmp_path / "run")
    if preset in ROUND:
        return
    advice = settings(said)
    assert advice
    check_known(advice, system)
    if "paper" in preset:  # of the same stages as the others, and longer in the making
        return
    check_sample(built(preset, **advice), inclined, system.stages)


WRONG: dict[str, tuple[Callable[[Showers], Showers], str]] = {
    "none": (lambda showers: showers[:0], "0 of 0 training showers hold energy"),
    "too few": (lambda showers: showers[:2], "2 showers cannot be split"),
    "without energy": (
        lambda showers: dataclasses.replace(showers, energy=0 * showers.energy),
        "0 of 150 training showers hold energy",
    ),
}


@EACH
def test_a_sample_to_learn_nothing_from_is_refused(
    preset: str, sample: Showers, tmp_path: Path
) -> None:
    system, many = outline(preset), sample[np.arange(ENOUGH) % len(sample)]
    wrong = dict(WRONG)
    if not any(isinstance(stage, Learned) for stage in system.stages.values()):
        # which holds nothing back, and is content with little
        del wrong["too few"]
    for spoil, message in wrong.values():
        advice = refused(system, spoil(many), tmp_path / "run")
        assert re.search(message, advice), advice
        check_known(settings(advice), system)


@pytest.mark.parametrize("preset", ["l2lflows/tiny", "calodream/tiny", "supercalo/tiny"])
def test_points_are_refused_where_voxels_are_learned(
    preset: str, sample: Showers, bundled_points: PointShowers, tmp_path: Path
) -> None:
    said = refused(outline(preset), bundled_points, tmp_path / "run")
    assert "learns from showers in voxels, got point clouds" in said


@pytest.mark.parametrize("preset", ["caloclouds/small", "caloclouds/paper"])
def test_clouds_of_one_size_calibrate_nothing(preset: str, sample: Showers, tmp_path: Path) -> None:
    """Known before hours of training."""
    system = outline(preset)
    advice = settings(refused(system, sample[np.zeros(50, int)], tmp_path / "run"))
    assert advice == {"calibration": None}
    check_known(advice, system)


@pytest.mark.parametrize(
    ("preset", "setting"),
    [("calodream/tiny", "shape"), ("calodream/tiny", "energies"), ("caloclouds/tiny", "points")],
)
def test_a_solver_that_there_is_not_is_refused_before_training(preset: str, setting: str) -> None:
    with pytest.raises(ValueError, match="there is no solver 'rk5-2'"):
        built(preset, **{f"{setting}.solver": "rk5-2"})
