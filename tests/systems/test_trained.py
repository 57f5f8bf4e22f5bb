"""A system knows what it was trained on, and says where it is asked for more."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import caloforge as cf
from caloforge.cascade import ExtrapolationWarning, TrainedRange
from caloforge.cascade.asked import asked_particles, outside_trained
from caloforge.generation import training_energies
from caloforge.showers import PointShowers, VoxelShowers
from caloforge.training import RunFolder

Command = Callable[..., Any]  # arguments to exit code and what was printed
RANGE = TrainedRange(5000, (1e3, 1e5))


def test_the_ends_of_the_training_lie_inside_but_for_rounding() -> None:
    low, high = RANGE.energy_inc
    rounded = np.float32([low * (1 - 3e-7), high * (1 + 3e-7)])
    assert (rounded != np.float32([low, high])).all()
    assert not RANGE.outside(rounded).any()
    assert RANGE.outside(np.float32([low * 0.9999, high * 1.0001])).all()


def test_one_warning_says_how_many_lie_outside_and_where() -> None:
    energies = np.float32([1, 5e3, 2e5, 1e6])
    with pytest.warns(ExtrapolationWarning) as caught:
        outside = RANGE.check("l2lflows", energies)
    assert outside.tolist() == [True, False, True, True]
    (warning,) = caught
    for part in ("3 of 4 showers", "l2lflows", "1 to 1e+06 MeV", "5000 showers", "1000 to 100000"):
        assert part in str(warning.message)
    with pytest.raises(ValueError, match="3 of 4 showers lie outside"):
        RANGE.check("l2lflows", energies, strict=True)


def test_directions_lie_outside_as_energies_do(bundled_points: PointShowers) -> None:
    flown = np.float32([[0, 0, 1], [0.6, 0, 0.8], [0.28, 0, 0.96], [0, 0.6, 0.8], [-0.28, 0, 0.96]])
    showers = PointShowers(
        np.full(2, 5e4), [0, 0, 0], [], [], [], [], bundled_points.geometry, direction=flown[:2]
    )
    known = TrainedRange.of(showers.particles, directed=True)
    assert TrainedRange.from_dict(json.loads(json.dumps(known.to_dict()))) == known
    inside = np.full(5, 5e4)
    assert known.outside(inside, flown).tolist() == [False, False, False, True, True]
    assert not known.outside(inside).any()  # along the depth
    assert TrainedRange.of(showers.particles, directed=False).direction is None


def test_a_run_knows_the_showers_that_were_learned_from(run: Path, slab: VoxelShowers) -> None:
    known = RunFolder(run).trained_range()
    assert known is not None
    assert known == cf.load(run).trained
    assert known.n_showers == 360  # a tenth is kept for validation
    assert set(known.energy_inc) <= set(slab.energy_inc.tolist())
    assert slab.energy_inc.min() <= known.energy_inc[0] < 1100


def test_energies_of_the_training_are_inside(run: Path) -> None:
    """What is sampled by default never warns."""
    system = cf.load(run)
    assert system.trained is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        energies = training_energies(RunFolder(run).config(), 2000, seed=1)
        assert not outside_trained(system, asked_particles(system, energies)).any()


@pytest.mark.parametrize("draw", ["generate", "stream", "cf.generate"])
def test_what_is_asked_beyond_the_training_is_said_once_or_refused(run: Path, draw: str) -> None:
    system, energies = cf.load(run), np.float32([5e3, 2e5, 5e3, 200.0])

    def asked(**options: Any) -> Any:
        options |= {"seed": 1, "batch_size": 1}
        if draw == "cf.generate":
            return cf.generate(system, energies, **options)
        return list(getattr(system, draw)(energies, **options))

    with pytest.warns(ExtrapolationWarning, match="2 of 4 showers") as caught:
        assert len(list(asked())) == 4
    assert len(caught) == 1
    with pytest.raises(ValueError, match=r"2 of 4 showers .* 200 to 200000 MeV"):
        asked(strict=True)


def test_coarse_showers_beyond_the_training_are_said(
    supercalo_run: Path, bundled: VoxelShowers
) -> None:
    system, coarse = cf.load(supercalo_run), bundled[:3]
    far = VoxelShowers(np.full(3, 5e5), coarse.offset, coarse.index, coarse.energy, coarse.geometry)
    with pytest.warns(ExtrapolationWarning, match="3 of 3 showers"):
        cf.upsample(system, far, seed=1)
    with pytest.raises(ValueError, match="3 of 3 showers"):
        cf.upsample(system, far, seed=1, strict=True)


def test_a_file_says_what_lies_outside(run: Path, tmp_path: Path) -> None:
    system = cf.load(run)
    assert system.trained is not None
    with pytest.warns(ExtrapolationWarning):
        cf.generate(system, [5e3, 2e5], seed=1, output=tmp_path / "fake.h5")
    with cf.open_showers(tmp_path / "fake.h5") as file:
        assert file.attributes["n_outside_trained"] == 1
        assert file.attributes["trained_energy_inc_MeV"].tolist() == list(system.trained.energy_inc)


def test_older_runs_do_not_know(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, old := tmp_path / "old")
    config = yaml.safe_load((old / "config.yaml").read_text())
    del config["data"]["trained"]
    (old / "config.yaml").write_text(yaml.safe_dump(config))
    system = cf.load(old)
    assert system.trained is None
    cf.generate(system, [2e5], seed=1, output=tmp_path / "fake.h5", strict=True)
    with cf.open_showers(tmp_path / "fake.h5") as file:
        assert "n_outside_trained" not in file.attributes


@pytest.mark.parametrize(
    "damage",
    [{"energy_inc": [1, 2]}, {"n_showers": 3, "energy_inc": [2, 1]}, {"n_showers": 3}, "all", []],
)
def test_a_damaged_range_is_refused(run: Path, tmp_path: Path, damage: Any) -> None:
    shutil.copytree(run, bad := tmp_path / "bad")
    config = yaml.safe_load((bad / "config.yaml").read_text())
    config["data"]["trained"] = damage
    (bad / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match="not a trained range"):
        cf.load(bad)
