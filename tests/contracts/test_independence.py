"""A shower depends on the seed and its number: not on its batch, its neighbours or the start."""

from __future__ import annotations

import numpy as np
import pytest

import caloforge as cf
from caloforge.cascade import System
from caloforge.showers import PointShowers, Showers

ENERGIES = np.geomspace(1.2e4, 9e4, 12).astype(np.float32)
TOLERANCE = 1e-5  # of a shower's energy: rounding in single precision


RUNS = ["run", "supercalo_run", "calodream_run", "caloclouds_run", "library_run", "quilt_run"]


@pytest.fixture(params=RUNS)
def system(request: pytest.FixtureRequest) -> System:
    return cf.load(request.getfixturevalue(request.param))


def agree(one: Showers, other: Showers) -> None:
    """Equal but for rounding, which may lift few voxels above the threshold."""
    if isinstance(one, PointShowers):
        one, other = one.project(one.geometry), other.project(other.geometry)
    a, b = (showers.dense().reshape(len(showers), -1) for showers in (one, other))
    changed = (a > 0) != (b > 0)
    assert np.count_nonzero(changed) <= 1e-4 * a.size
    scale = a.sum(1, keepdims=True).clip(1e-3)
    assert np.abs(np.where(changed, 0, a - b) / scale).max() < TOLERANCE


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_batch_size_changes_no_shower(system: System, batch_size: int) -> None:
    whole = system.generate(ENERGIES, seed=7, batch_size=100)
    agree(system.generate(ENERGIES, seed=7, batch_size=batch_size), whole)


def test_shards_make_the_whole(system: System) -> None:
    whole = system.generate(ENERGIES, seed=7)
    shards = [
        next(system.stream(ENERGIES[start : start + 4], seed=7, first=start))
        for start in range(0, 12, 4)
    ]
    agree(type(whole).concatenate(shards), whole)
